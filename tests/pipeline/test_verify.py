"""Two photographs are of one person, or not; a list of pairs embeds each photograph once."""

from __future__ import annotations

from pathlib import Path

import pytest
from colours import BLUE, DARK_RED, GREEN, RED, paint_two
from stand_ins import MeanEmbedder, paint

from lightface.errors import FaceNotFoundError, ImageError, MultipleFacesError
from lightface.pipeline import FacePipeline, PhotoFaces, verify_pairs, verify_photos
from lightface.records import FaceSelection, Status


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return paint(tmp_path / "red.png", RED)


@pytest.fixture
def dark_red(tmp_path: Path) -> Path:
    return paint(tmp_path / "dark red.png", DARK_RED)


@pytest.fixture
def green(tmp_path: Path) -> Path:
    return paint(tmp_path / "green.png", GREEN)


def test_one_person_and_two(pipeline: FacePipeline, red: Path, dark_red: Path, green: Path) -> None:
    same = verify_photos(pipeline, red, dark_red, threshold=0.5)
    different = verify_photos(pipeline, red, green, threshold=0.5)
    assert (same.status, different.status) == (Status.SAME, Status.DIFFERENT)
    assert same.similarity == pytest.approx(float(same.face_a.vector @ same.face_b.vector))
    assert same.similarity > 0.9 > 0.2 > different.similarity
    assert same.threshold == 0.5


def test_the_threshold_itself_passes(pipeline: FacePipeline, red: Path, dark_red: Path) -> None:
    similarity = verify_photos(pipeline, red, dark_red, threshold=0.5).similarity
    assert verify_photos(pipeline, red, dark_red, threshold=similarity).status is Status.SAME
    assert verify_photos(pipeline, red, dark_red, threshold=similarity + 1e-12).status is Status.DIFFERENT


def test_two_poor_faces_must_be_more_alike(pipeline: FacePipeline, red: Path, dark_red: Path) -> None:
    """Uniform paint has no detail at all: the quality of both is 0."""
    given = verify_photos(pipeline, red, dark_red, threshold=0.5)
    similarity = given.similarity
    raised = verify_photos(pipeline, red, dark_red, threshold=similarity - 0.1, poor_raise=0.2)
    assert (given.face_a.quality, given.face_b.quality) == (0, 0)
    assert raised.status is Status.DIFFERENT
    assert raised.threshold == pytest.approx(min(1.0, similarity + 0.1))
    assert raised.poor_raise == pytest.approx(raised.threshold - similarity + 0.1)
    assert "of it because both faces are poor" in str(raised) and "poor" not in str(given)


def test_paths_may_be_texts(pipeline: FacePipeline, red: Path, dark_red: Path, tmp_path: Path) -> None:
    assert verify_photos(pipeline, str(red), str(dark_red), threshold=0.5).status is Status.SAME
    (pair,) = verify_pairs(pipeline, [(str(red), str(tmp_path / "none.jpg"))], threshold=0.5)
    assert (pair.path_a, pair.failed_path) == (red, tmp_path / "none.jpg")


def test_a_photograph_against_itself(pipeline: FacePipeline, embedder: MeanEmbedder, red: Path) -> None:
    assert verify_photos(pipeline, red, red, threshold=0.999).similarity == pytest.approx(1)
    assert embedder.count == 1


def test_of_several_faces_the_selection_takes_one_or_the_most_similar(
    pipeline: FacePipeline, green: Path, tmp_path: Path
) -> None:
    two = paint_two(tmp_path / "two.png", RED, GREEN)
    assert verify_photos(pipeline, two, green, threshold=0.5).status is Status.DIFFERENT  # the first of two as large
    verification = verify_photos(pipeline, two, green, threshold=0.5, selection=FaceSelection.ALL)
    assert verification.status is Status.SAME
    assert verification.face_a.detection is not None
    assert verification.face_a.detection.box_px == (80, 0, 160, 80)
    with pytest.raises(MultipleFacesError):
        verify_photos(pipeline, two, green, threshold=0.5, selection=FaceSelection.REQUIRE_ONE)


def test_a_photograph_that_cannot_be_compared(pipeline: FacePipeline, red: Path, tmp_path: Path) -> None:
    with pytest.raises(FaceNotFoundError):
        verify_photos(pipeline, red, paint(tmp_path / "black.png", (0, 0, 0)), threshold=0.5)
    with pytest.raises(ImageError, match=r"missing\.png"):
        verify_photos(pipeline, tmp_path / "missing.png", red, threshold=0.5)


def test_each_photograph_of_a_list_is_embedded_once(
    pipeline: FacePipeline, embedder: MeanEmbedder, red: Path, dark_red: Path, green: Path, tmp_path: Path
) -> None:
    missing, black = tmp_path / "missing.png", paint(tmp_path / "black.png", (0, 0, 0))
    blue = paint(tmp_path / "blue.png", BLUE)
    pairs = [(red, dark_red), (red, green), (dark_red, red), (red, missing), (black, red), (green, blue), (red, red)]
    heard: list[PhotoFaces] = []
    results = verify_pairs(pipeline, pairs, threshold=0.5, progress=heard.append)
    assert [(result.path_a, result.path_b) for result in results] == pairs
    assert [result.status.value for result in results] == [
        *["same", "different", "same", "error", "error", "different", "same"]
    ]
    assert [(result.failed_path, result.error.reason) for result in results if result.error] == [
        (missing, "missing_file"),
        (black, "face_not_found"),
    ]
    assert [photo.path for photo in heard] == [red, dark_red, green, missing, black, blue]
    assert embedder.count == 4


def test_no_pairs_are_no_results(pipeline: FacePipeline) -> None:
    assert verify_pairs(pipeline, [], threshold=0.5) == []
