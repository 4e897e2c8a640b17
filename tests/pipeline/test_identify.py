"""Faces get the names of those who are enrolled, nobody twice in one photograph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from colours import BLUE, DARK_RED, GREEN, GREY, RED, paint_two
from stand_ins import LANDMARKS, MeanEmbedder, ScriptedDetector, paint

from lightface.errors import GalleryError
from lightface.gallery import Gallery
from lightface.matching import DecisionBands
from lightface.pipeline import FaceGates, FacePipeline, IdentifiedFace, IdentifiedPhoto, enroll_photos, identify_photos
from lightface.records import DetectedFace, FaceSelection, Status

BANDS = DecisionBands(threshold=0.9, review_threshold=0.6)


@pytest.fixture
def enrolled(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> Gallery:
    """Ruby is red, Gwen is green."""
    enroll_photos(pipeline, gallery, "Ruby", [paint(tmp_path / "enrolled" / "red.png", RED)])
    enroll_photos(pipeline, gallery, "Gwen", [paint(tmp_path / "enrolled" / "green.png", GREEN)])
    return gallery


def identify_one(pipeline: FacePipeline, gallery: Gallery, path: Path, **options: object) -> IdentifiedPhoto:
    (result,) = identify_photos(pipeline, gallery, [path], **{"bands": BANDS, **options})  # type: ignore[arg-type]
    return result


def name_of(face: IdentifiedFace) -> str | None:
    return face.match.person_name if face.match else None


@pytest.mark.parametrize(
    ("colour", "name", "status"),
    [
        (DARK_RED, "Ruby", Status.MATCHED),
        ((200, 150, 10), "Ruby", Status.REVIEW),
        (BLUE, None, None),
    ],
)
def test_a_face_is_matched_shown_for_review_or_unknown(
    pipeline: FacePipeline,
    enrolled: Gallery,
    tmp_path: Path,
    colour: tuple[int, int, int],
    name: str | None,
    status: Status | None,
) -> None:
    (face,) = identify_one(pipeline, enrolled, paint(tmp_path / "probe.png", colour)).faces
    assert name_of(face) == name
    assert (face.match.status if face.match else None) == status


def test_paths_may_be_texts(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    red = paint(tmp_path / "red.png", RED)
    assert [one.path for one in enroll_photos(pipeline, gallery, "Ruby", [str(red)])] == [red]
    (found,) = identify_photos(pipeline, gallery, [str(red)], bands=DecisionBands(0.9))
    assert (found.path, name_of(found.faces[0])) == (red, "Ruby")


def test_candidates_come_best_first_whether_they_pass_or_not(
    pipeline: FacePipeline, enrolled: Gallery, tmp_path: Path
) -> None:
    path = paint(tmp_path / "probe.png", DARK_RED)
    (face,) = identify_one(pipeline, enrolled, path).faces
    assert [(one.person_name, one.status) for one in face.candidates] == [
        ("Ruby", Status.MATCHED),
        ("Gwen", Status.UNKNOWN),
    ]
    assert face.candidates[0] == face.match
    assert -1 <= face.candidates[1].similarity < face.candidates[0].similarity <= 1
    (face,) = identify_one(pipeline, enrolled, path, limit=1).faces
    assert [one.person_name for one in face.candidates] == ["Ruby"]


def test_nobody_is_named_twice_in_one_photograph(pipeline: FacePipeline, enrolled: Gallery, tmp_path: Path) -> None:
    result = identify_one(pipeline, enrolled, paint_two(tmp_path / "two.png", DARK_RED, RED))
    assert [name_of(face) for face in result.faces] == [None, "Ruby"]
    # Who was given to another face is still shown as a candidate.
    assert result.faces[0].candidates[0].person_name == "Ruby"
    both = identify_one(pipeline, enrolled, paint_two(tmp_path / "both.png", GREEN, RED))
    assert [name_of(face) for face in both.faces] == ["Gwen", "Ruby"]


def test_the_threshold_itself_passes(pipeline: FacePipeline, enrolled: Gallery, tmp_path: Path) -> None:
    path = paint(tmp_path / "probe.png", GREY)
    (face,) = identify_one(pipeline, enrolled, path, bands=DecisionBands(threshold=-1.0)).faces
    assert face.match is not None
    similarity = face.match.similarity
    (at,) = identify_one(pipeline, enrolled, path, bands=DecisionBands(threshold=similarity)).faces
    (above,) = identify_one(pipeline, enrolled, path, bands=DecisionBands(threshold=similarity + 1e-12)).faces
    assert at.match == replace(face.match, threshold=similarity)
    assert above.match is None


def test_each_photograph_has_a_result_also_without_a_face(
    pipeline: FacePipeline, enrolled: Gallery, tmp_path: Path
) -> None:
    paths = [
        paint(tmp_path / "red.png", RED),
        paint(tmp_path / "black.png", (0, 0, 0)),
        tmp_path / "missing.png",
        paint(tmp_path / "green.png", GREEN),
    ]
    heard: list[IdentifiedPhoto] = []
    results = identify_photos(pipeline, enrolled, paths, bands=BANDS, progress=heard.append)
    assert heard == results
    assert [result.path for result in results] == paths
    assert [[name_of(face) for face in result.faces] for result in results] == [["Ruby"], [], [], ["Gwen"]]
    assert [result.error.reason for result in results if result.error] == ["face_not_found", "missing_file"]


def test_a_face_that_a_gate_refuses_is_told_with_its_reason(
    embedder: MeanEmbedder, enrolled: Gallery, tmp_path: Path
) -> None:
    large, small = (DetectedFace((0.0, 0.0, side, side), LANDMARKS * side, 0.99) for side in (80.0, 10.0))
    gates = FaceGates(min_quality=0, min_face_size_px=20)
    picky = FacePipeline(ScriptedDetector(large, small), embedder, gates=gates)
    result = identify_one(picky, enrolled, paint(tmp_path / "red.png", RED))
    assert [name_of(face) for face in result.faces] == ["Ruby"] and result.error is None
    assert [(one.detection, one.error.reason) for one in result.refused] == [(small, "face_too_small")]
    nobody = identify_one(
        FacePipeline(ScriptedDetector(small, small), embedder, gates=gates), enrolled, tmp_path / "red.png"
    )
    assert nobody.faces == () and nobody.error is not None and nobody.error.reason == "face_too_small"
    assert len(nobody.refused) == 2


def test_the_selection_limits_who_is_looked_at(pipeline: FacePipeline, enrolled: Gallery, tmp_path: Path) -> None:
    path = paint_two(tmp_path / "both.png", GREEN, RED)
    result = identify_one(pipeline, enrolled, path, selection=FaceSelection.LARGEST)
    assert [name_of(face) for face in result.faces] == ["Gwen"]
    assert (result.not_selected, result.refused) == (1, ())


def test_a_person_is_scored_by_all_their_samples(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    paths = [paint(tmp_path / "red.png", RED), paint(tmp_path / "green.png", GREEN)]
    enroll_photos(pipeline, gallery, "Iris", paths)
    probe = paint(tmp_path / "probe.png", RED)
    similarity = {}
    for scoring in ("best", "mean"):
        (face,) = identify_one(pipeline, gallery, probe, scoring=scoring).faces
        similarity[scoring] = face.candidates[0].similarity
    assert similarity["best"] == pytest.approx(1)
    assert similarity["mean"] == pytest.approx(2**-0.5, abs=0.05)  # the template lies half-way between the two


def test_an_empty_gallery_is_an_error(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="lightface enroll"):
        identify_photos(pipeline, gallery, [paint(tmp_path / "red.png", RED)], bands=BANDS)
