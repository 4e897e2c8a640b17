"""A gallery moves to other weights whole, or stays as it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from colours import DARK_RED, GREEN, RED, paint_two
from stand_ins import MeanEmbedder, ScriptedDetector, make_pipeline, paint

from lightface.errors import GalleryError
from lightface.faces import AlignedFace, FaceSelection, FloatArray
from lightface.gallery import Gallery, StoredThreshold
from lightface.pipeline import FaceGates, FacePipeline, PhotoFaces, Trouble, enroll_photos, reembed_gallery
from lightface.pipeline.shift import PairFlips


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    return {"Ruby": paint(tmp_path / "red.png", RED), "Gwen": paint_two(tmp_path / "two.png", GREEN, RED)}


@pytest.fixture
def enrolled(pipeline: FacePipeline, gallery: Gallery, photos: dict[str, Path]) -> Gallery:
    for name, path in photos.items():
        enroll_photos(pipeline, gallery, name, [path], selection=FaceSelection.LARGEST)
    gallery.set_threshold(StoredThreshold(0.001, 0.4, "a test"))
    return gallery


@pytest.fixture
def other() -> FacePipeline:
    return make_pipeline(MeanEmbedder("other"))


def test_every_sample_is_embedded_by_the_new_model(
    other: FacePipeline, enrolled: Gallery, photos: dict[str, Path]
) -> None:
    before = enrolled.samples()
    heard: list[PhotoFaces] = []
    report = reembed_gallery(other, enrolled, progress=heard.append)
    assert (report.model_id_before, report.model_id_after, report.embedded) == ("stand-in", "other", 2)
    assert report.unusable == ()
    assert [photo.path for photo in heard] == list(photos.values())
    after = enrolled.samples()
    assert {sample.model_id for sample in after} == {"other"}
    assert [(one.id, one.person_id, one.box_px) for one in after] == [
        (one.id, one.person_id, one.box_px) for one in before
    ]
    assert all(np.allclose(new.vector, old.vector) for new, old in zip(after, before, strict=True))
    assert enrolled.thresholds() == []  # they were the old model's


def test_a_gallery_of_these_weights_is_left_alone(enrolled: Gallery) -> None:
    same = make_pipeline(MeanEmbedder("stand-in"))
    heard: list[PhotoFaces] = []
    report = reembed_gallery(same, enrolled, progress=heard.append)
    assert (report.embedded, report.moved, heard) == (0, False, [])
    assert len(enrolled.thresholds()) == 1  # still those of its weights


def test_a_dry_run_changes_nothing(other: FacePipeline, enrolled: Gallery) -> None:
    report = reembed_gallery(other, enrolled, dry_run=True)
    assert report.embedded == 2
    assert enrolled.model_id == "stand-in"
    assert len(enrolled.thresholds()) == 1


@pytest.mark.parametrize(
    ("change", "trouble", "reason"),
    [
        ("removed", Trouble.GONE, "does not exist|cannot read"),
        ("altered", Trouble.CHANGED, "has changed since"),
        ("broken", Trouble.UNREADABLE, "not a picture|cannot"),
    ],
)
def test_a_photograph_that_is_not_what_it_was(
    other: FacePipeline, enrolled: Gallery, photos: dict[str, Path], change: str, trouble: Trouble, reason: str
) -> None:
    photos["Ruby"].unlink()
    if change == "altered":
        paint(photos["Ruby"], GREEN)
    if change == "broken":
        photos["Ruby"].write_bytes(b"no picture")
    with pytest.raises(GalleryError, match=r"1 of 2 samples .*--drop-unusable"):
        reembed_gallery(other, enrolled)
    assert enrolled.model_id == "stand-in"
    assert len(enrolled.samples()) == 2

    report = reembed_gallery(other, enrolled, dry_run=True)
    (unusable,) = report.unusable
    assert unusable.sample.source_path == str(photos["Ruby"])
    assert (unusable.person_name, unusable.trouble) == ("Ruby", trouble)
    assert re.search(reason, str(unusable.error))
    assert not report.moved

    report = reembed_gallery(other, enrolled, drop_unusable=True)
    assert (report.embedded, len(report.unusable), report.moved) == (1, 1, True)
    (left,) = enrolled.samples()
    assert left.person_id == enrolled.find_person("Gwen").id
    assert enrolled.model_id == "other"


def test_a_face_that_is_not_found_again(enrolled: Gallery) -> None:
    blind = FacePipeline(ScriptedDetector(), MeanEmbedder("other"), gates=FaceGates())
    with pytest.raises(GalleryError, match="2 of 2 samples"):
        reembed_gallery(blind, enrolled)
    report = reembed_gallery(blind, enrolled, dry_run=True)
    assert [one.trouble for one in report.unusable] == [Trouble.FACE_NOT_FOUND] * 2


def test_what_is_gone_is_told_before_anything_is_embedded(
    other: FacePipeline, enrolled: Gallery, photos: dict[str, Path]
) -> None:
    photos["Gwen"].unlink()
    heard: list[PhotoFaces] = []
    with pytest.raises(GalleryError, match=r"1 of 2 samples .*two\.png \(it is gone\); --dry-run lists them"):
        reembed_gallery(other, enrolled, progress=heard.append)
    assert heard == []


def test_gates_do_not_hold_for_who_was_let_in(enrolled: Gallery) -> None:
    strict = make_pipeline(MeanEmbedder("other"), min_quality=1.0, det_threshold=1.0, min_face_size_px=1000.0)
    assert reembed_gallery(strict, enrolled).embedded == 2


def test_the_right_one_of_two_faces_is_taken(other: FacePipeline, enrolled: Gallery) -> None:
    reembed_gallery(other, enrolled)
    (sample,) = enrolled.samples("Gwen")
    assert np.argmax(sample.vector) == 1


class SwappedEmbedder(MeanEmbedder):
    """Takes red for green and green for red where there is much of the one, and so confuses people."""

    def embed(self, faces: Sequence[AlignedFace]) -> FloatArray:
        rows = super().embed(faces)
        strong = rows[:, 0] > 0.995
        rows[strong, 0], rows[strong, 1] = rows[strong, 1], rows[strong, 0].copy()
        return rows


def test_who_is_named_otherwise_is_listed_by_name(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    for name, colours in {"Ruby": (RED, DARK_RED), "Gwen": (GREEN, (20, 150, 20))}.items():
        for number, colour in enumerate(colours):
            enroll_photos(pipeline, gallery, name, [paint(tmp_path / name / f"{number}.png", colour)])
    gallery.set_threshold(StoredThreshold(0.001, 0.9, "a test"))
    swapped = FacePipeline(pipeline.detector, SwappedEmbedder("swapped"), gates=pipeline.gates)
    report = reembed_gallery(swapped, gallery, dry_run=True)
    shift = report.shift
    assert shift.threshold_before is not None and shift.threshold_after is not None
    assert (shift.threshold_before.threshold, shift.threshold_before.source) == (0.9, "calibrated")
    record = swapped.record
    assert shift.threshold_after.threshold == record.thresholds["1e-3"]
    assert shift.same is not None and shift.same.pairs == 2 and shift.same.mean_before > 0.95
    assert shift.named_right_before == 4
    (flip, *_) = report.flipped
    assert (flip.person_name, flip.name_before, flip.name_after) == ("Ruby", "Ruby", "Gwen")
    assert flip.source_path == str(tmp_path / "Ruby" / "0.png")
    given = reembed_gallery(swapped, gallery, dry_run=True, threshold=-1.0).shift
    assert given.threshold_before == given.threshold_after and given.threshold_after is not None
    assert given.threshold_after.source == "as given"
    assert given.pair_flips == PairFlips(0, 0, 0, 0)


def test_an_empty_gallery_has_nothing_to_embed(other: FacePipeline, gallery: Gallery) -> None:
    assert reembed_gallery(other, gallery).embedded == 0
