"""A gallery moves to other weights whole, or stays as it was."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from colours import GREEN, RED, paint_two
from stand_ins import MeanEmbedder, ScriptedDetector, make_pipeline, paint

from lightface.errors import GalleryError
from lightface.faces import FaceSelection
from lightface.gallery import Gallery, StoredThreshold
from lightface.pipeline import FaceGates, FacePipeline, PhotoFaces, enroll_photos, reembed_gallery


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


def test_a_dry_run_changes_nothing(other: FacePipeline, enrolled: Gallery) -> None:
    report = reembed_gallery(other, enrolled, dry_run=True)
    assert report.embedded == 2
    assert enrolled.model_id == "stand-in"
    assert len(enrolled.thresholds()) == 1


@pytest.mark.parametrize(
    ("change", "reason"), [("removed", "does not exist|cannot read"), ("altered", "has changed since")]
)
def test_a_photograph_that_is_not_what_it_was(
    other: FacePipeline, enrolled: Gallery, photos: dict[str, Path], change: str, reason: str
) -> None:
    photos["Ruby"].unlink()
    if change == "altered":
        paint(photos["Ruby"], GREEN)
    with pytest.raises(GalleryError, match=r"1 of 2 samples .*--drop-unusable"):
        reembed_gallery(other, enrolled)
    assert enrolled.model_id == "stand-in"
    assert len(enrolled.samples()) == 2

    report = reembed_gallery(other, enrolled, dry_run=True)
    (unusable,) = report.unusable
    assert unusable.sample.source_path == str(photos["Ruby"])
    assert re.search(reason, str(unusable.error))

    report = reembed_gallery(other, enrolled, drop_unusable=True)
    assert (report.embedded, len(report.unusable)) == (1, 1)
    (left,) = enrolled.samples()
    assert left.person_id == enrolled.find_person("Gwen").id
    assert enrolled.model_id == "other"


def test_a_face_that_is_not_found_again(enrolled: Gallery) -> None:
    blind = FacePipeline(ScriptedDetector(), MeanEmbedder("other"), gates=FaceGates())
    with pytest.raises(GalleryError, match="2 of 2 samples"):
        reembed_gallery(blind, enrolled)


def test_the_right_one_of_two_faces_is_taken(other: FacePipeline, enrolled: Gallery) -> None:
    reembed_gallery(other, enrolled)
    (sample,) = enrolled.samples("Gwen")
    assert np.argmax(sample.vector) == 1


def test_an_empty_gallery_has_nothing_to_embed(other: FacePipeline, gallery: Gallery) -> None:
    assert reembed_gallery(other, gallery).embedded == 0
