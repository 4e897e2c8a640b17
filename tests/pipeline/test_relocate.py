"""Photographs of a moved folder: samples name them where they lie now, if their contents say so."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from colours import BLUE, GREEN, RED, paint_two
from stand_ins import MeanEmbedder, paint

from lightface.errors import GalleryError
from lightface.gallery import Gallery
from lightface.pipeline import FacePipeline, enroll_people, enroll_photos
from lightface.pipeline.relocate import Relocation, relocate_samples
from lightface.records import FaceSelection


@pytest.fixture
def club(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> Path:
    """The folder that three people were enrolled from, which is elsewhere now: one file gone, one another."""
    old, new = tmp_path / "club", tmp_path / "archive" / "club"
    for name, colour in {"Ada": RED, "Bo": GREEN, "Cy": BLUE}.items():
        paint(old / name / "1.png", colour)
    paint(tmp_path / "club 2" / "Di.png", (100, 100, 10))
    enroll_people(pipeline, gallery, old)
    enroll_photos(pipeline, gallery, "Di", [tmp_path / "club 2" / "Di.png"], even_if_alike=True)
    new.parent.mkdir()
    old.rename(new)
    (new / "Bo" / "1.png").unlink()
    paint(new / "Cy" / "1.png", RED)
    return new


def paths_of(gallery: Gallery) -> dict[str, str]:
    names = {person.id: person.name for person in gallery.people()}
    return {names[sample.person_id]: sample.source_path for sample in gallery.samples()}


def test_only_photographs_with_the_same_contents_are_relocated(gallery: Gallery, club: Path, tmp_path: Path) -> None:
    before, heard = paths_of(gallery), list[tuple[int, int]]()
    tried = relocate_samples(gallery, tmp_path / "club", club, dry_run=True)
    assert paths_of(gallery) == before
    found = relocate_samples(gallery, tmp_path / "club", club, looked_at=lambda *counts: heard.append(counts))
    assert found == tried
    assert [(one.person_name, one.status) for one in found] == [
        ("Ada", Relocation.RELOCATED),
        ("Bo", Relocation.MISSING),
        ("Cy", Relocation.DIFFERENT),
    ]
    assert heard == [(1, 3), (2, 3), (3, 3)]
    # A folder whose name only begins so, "club 2", is another one.
    assert paths_of(gallery) == {**before, "Ada": str(club / "Ada" / "1.png")}
    assert found[0].to_dict()["status"] == "relocated"


def test_relative_paths_and_single_photographs(
    gallery: Gallery, club: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (one,) = relocate_samples(gallery, "archive/../club/Ada/", "archive/club/Ada")
    assert (one.new_path, one.status) == (str(club / "Ada" / "1.png"), Relocation.RELOCATED)
    moved = club / "ada.png"
    (club / "Ada" / "1.png").rename(moved)
    (one,) = relocate_samples(gallery, club / "Ada" / "1.png", moved)
    assert paths_of(gallery)["Ada"] == str(moved)


def test_a_folder_that_nobody_was_enrolled_from_is_told(gallery: Gallery, club: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "clu", "s3://bucket/club"):
        with pytest.raises(GalleryError, match=r"no sample of .* was enrolled from a photograph in"):
            relocate_samples(gallery, place, club)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_stays_as_it_was(gallery: Gallery, club: Path, tmp_path: Path) -> None:
    (club / "Ada" / "1.png").chmod(0)
    assert relocate_samples(gallery, tmp_path / "club", club)[0].status is Relocation.UNREADABLE


def test_enrolling_from_the_new_place_updates_the_path_of_what_is_gone(
    pipeline: FacePipeline, gallery: Gallery, club: Path, embedder: MeanEmbedder, tmp_path: Path
) -> None:
    old, embedded = paths_of(gallery)["Ada"], embedder.count
    (one,) = enroll_photos(pipeline, gallery, "Ada", [club / "Ada" / "1.png"])
    assert (one.moved_from, embedder.count) == (old, embedded)
    assert one.to_dict()["moved_from"] == old
    assert paths_of(gallery)["Ada"] == str(club / "Ada" / "1.png")
    copy = tmp_path / "copy.png"
    copy.write_bytes((club / "Ada" / "1.png").read_bytes())
    (one,) = enroll_photos(pipeline, gallery, "Ada", [copy])  # of a photograph that is where it was
    assert one.moved_from is None
    assert paths_of(gallery)["Ada"] == str(club / "Ada" / "1.png")


def test_two_people_of_one_photograph_have_the_new_path(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    both = paint_two(tmp_path / "both.png", RED, GREEN)
    enroll_photos(pipeline, gallery, "Ada", [both], selection=FaceSelection.LARGEST)
    (ada,) = gallery.samples("Ada")
    assert ada.box_px is not None
    shifted = (ada.box_px[0] + 500, ada.box_px[1], ada.box_px[2] + 500, ada.box_px[3])
    gallery.enroll("Bo", [replace(ada, box_px=shifted)])
    moved = both.rename(tmp_path / "moved.png")
    enroll_photos(pipeline, gallery, "Ada", [moved], selection=FaceSelection.LARGEST)
    assert paths_of(gallery) == {"Ada": str(moved), "Bo": str(moved)}
