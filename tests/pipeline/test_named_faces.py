"""Faces that somebody has marked and named: matched to those that are found, and enrolled under the usual rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from colours import GREEN, RED, paint_two
from stand_ins import LANDMARKS, MeanEmbedder, ScriptedDetector, make_pipeline, paint

from lightface.errors import GalleryError
from lightface.gallery import Gallery
from lightface.pipeline import EnrolledPhoto, FaceGates, FacePipeline
from lightface.pipeline.enroll import enroll_named_faces, enroll_photos
from lightface.pipeline.named_faces import NamedFace
from lightface.records import BoxPx, DetectedFace

LEFT, RIGHT = (0.0, 0.0, 80.0, 80.0), (80.0, 0.0, 160.0, 80.0)  # where the two faces of `paint_two` are found


def outline(results: list[EnrolledPhoto]) -> list[tuple[str, str | None]]:
    return [(one.person_name, None if one.error is None else one.error.reason) for one in results]


def enroll(
    pipeline: FacePipeline, gallery: Gallery, photo: Path, *named: NamedFace, threshold: float = 0.99
) -> list[tuple[str, str | None]]:
    return outline(enroll_named_faces(pipeline, gallery, {photo: named}, threshold=threshold))


def test_each_name_gets_the_face_that_is_at_its_mark(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    marks = NamedFace("Grün", (85.0, 10.0, 150.0, 70.0)), NamedFace("Rot", (-10.0, 5.0, 70.0, 85.0))
    assert enroll(pipeline, gallery, photo, *marks) == [("Grün", None), ("Rot", None)]
    boxes = {name: gallery.samples(name)[0].box_px for name in ("Grün", "Rot")}
    assert boxes == {"Grün": RIGHT, "Rot": LEFT}
    # The same as if each had been enrolled from a photograph of their own.
    green = enroll_photos(pipeline, gallery, "Other", [paint(tmp_path / "green.png", GREEN)], threshold=0.99)
    assert green[0].alike is not None and green[0].alike.person_name == "Grün"


def test_a_photograph_is_embedded_once_and_not_again(
    embedder: MeanEmbedder, pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    marks = NamedFace("Rot", LEFT), NamedFace("Grün", RIGHT)
    enroll(pipeline, gallery, photo, *marks)
    assert embedder.count == 2
    assert enroll(pipeline, gallery, photo, *marks) == [("Rot", "duplicate"), ("Grün", "duplicate")]
    assert embedder.count == 2


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ((10.0, 10.0, 70.0, 70.0), None),
        ((-20.0, -20.0, 100.0, 100.0), None),  # drawn around the head
        ((30.0, 30.0, 50.0, 50.0), "face_not_found"),  # an eye
        ((40.0, 0.0, 120.0, 80.0), "face_not_found"),  # between the two
        ((300.0, 0.0, 400.0, 80.0), "face_not_found"),
    ],
)
def test_how_far_a_mark_may_be_off(
    mark: BoxPx, reason: str | None, pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    assert enroll(pipeline, gallery, photo, NamedFace("Rot", mark)) == [("Rot", reason)]


def test_two_names_for_one_face_are_refused_and_others_are_not(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    marks = [NamedFace("Ada", LEFT), NamedFace("Eva", (2.0, 2.0, 82.0, 82.0)), NamedFace("Bob", RIGHT)]
    results = enroll_named_faces(pipeline, gallery, {photo: marks}, threshold=0.99)
    assert outline(results) == [("Ada", "identity_conflict"), ("Eva", "identity_conflict"), ("Bob", None)]
    assert "one face is named 'Ada' and 'Eva'" in str(results[0].error)


def test_one_name_for_two_faces_is_refused_and_twice_for_one_is_not(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    marks = [NamedFace("Ada", LEFT), NamedFace("Ada", RIGHT)]
    assert enroll(pipeline, gallery, photo, *marks) == [("Ada", "multiple_faces")]
    marks = [NamedFace("Ada", LEFT), NamedFace("Ada", (4.0, 4.0, 84.0, 84.0))]  # in a file and in its sidecar
    assert enroll(pipeline, gallery, photo, *marks) == [("Ada", None)]


def test_a_face_is_given_to_the_mark_that_fits_best(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    marks = [NamedFace("Wide", (-60.0, -30.0, 130.0, 110.0)), NamedFace("Ada", LEFT)]
    assert enroll(pipeline, gallery, photo, *marks) == [("Wide", "face_not_found"), ("Ada", None)]


def test_what_a_gate_says_of_a_face_that_is_too_poor(embedder: MeanEmbedder, gallery: Gallery, tmp_path: Path) -> None:
    small = DetectedFace((10.0, 10.0, 25.0, 25.0), LANDMARKS * 15 + np.float32(10), 0.99)
    large = DetectedFace(LEFT, LANDMARKS * 80, 0.99)
    gates = FaceGates(min_quality=0.0, min_face_size_px=40)
    pipeline = FacePipeline(ScriptedDetector(large, small), embedder, gates=gates)
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    assert enroll(pipeline, gallery, photo, NamedFace("Kid", small.box_px)) == [("Kid", "face_too_small")]
    alone = FacePipeline(ScriptedDetector(small), embedder, gates=gates)
    assert enroll(alone, gallery, photo, NamedFace("Kid", small.box_px)) == [("Kid", "face_too_small")]


def test_the_rules_of_enroll_hold(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    enroll_photos(pipeline, gallery, "Bob", [paint(tmp_path / "green.png", GREEN)])
    photo = paint_two(tmp_path / "two.png", RED, GREEN)
    results = enroll_named_faces(
        pipeline, gallery, {photo: [NamedFace("Ada", LEFT), NamedFace("Eva", RIGHT)]}, threshold=0.99
    )
    assert outline(results) == [("Ada", None), ("Eva", "identity_conflict")]
    assert results[1].alike is not None and results[1].alike.person_name == "Bob"
    with pytest.raises(GalleryError, match="look like one name"):
        enroll(pipeline, gallery, photo, NamedFace("ada", LEFT))
    gone = tmp_path / "gone.png"
    (tmp_path / "text.png").write_text("no picture")
    assert enroll(pipeline, gallery, gone, NamedFace("Ada", LEFT)) == [("Ada", "missing_file")]
    assert enroll(pipeline, gallery, tmp_path / "text.png", NamedFace("Ada", LEFT)) == [("Ada", "invalid_image")]
    black = paint(tmp_path / "black.png", (0, 0, 0))
    assert enroll(pipeline, gallery, black, NamedFace("Ada", LEFT)) == [("Ada", "face_not_found")]


def test_many_photographs_go_in_parts(embedder: MeanEmbedder, gallery: Gallery, tmp_path: Path) -> None:
    pipeline = make_pipeline(embedder)
    photos = {
        paint_two(tmp_path / f"{at}.png", RED, (0, 255 - at % 200, at // 200 * 50)): [
            NamedFace("Rot", LEFT),
            NamedFace("Blau" if at % 2 else "Grün", RIGHT),
        ]
        for at in range(200)
    }
    results = enroll_named_faces(pipeline, gallery, photos, even_if_alike=True)
    assert len(results) == 400 and {one.error for one in results} == {None}
    assert {person.name: len(gallery.samples(person.id)) for person in gallery.people()} == {
        "Rot": 200,
        "Blau": 100,
        "Grün": 100,
    }
    assert enroll_named_faces(pipeline, gallery, {tmp_path / "1.png": []}) == []
