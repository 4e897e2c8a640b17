"""What is fine is enrolled and stays, what is not is listed with its reason."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from colours import BLUE, DARK_RED, GREEN, RED, paint_two
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.errors import (
    ConfigError,
    FaceNotFoundError,
    GalleryError,
    ImageError,
    ModelMismatchError,
    ThresholdError,
)
from lightface.gallery import Gallery, StoredThreshold, open_gallery
from lightface.pipeline import EnrolledPhoto, FacePipeline, enroll_people, enroll_photos, find_people
from lightface.records import AlignedFace, FaceSelection, FloatArray, Status


def outline(results: list[EnrolledPhoto]) -> list[tuple[str, str | None]]:
    return [(result.path.name, result.error.reason if result.error else None) for result in results]


def test_each_photograph_is_enrolled_or_rejected_with_its_reason(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    enroll_photos(pipeline, gallery, "Bob", [paint(tmp_path / "bob.png", GREEN)])
    red = paint(tmp_path / "red.png", RED)
    paths = [
        red,
        paint(tmp_path / "black.png", (0, 0, 0)),
        paint_two(tmp_path / "two.png", RED, GREEN),
        Path(shutil.copy(red, tmp_path / "copy.png")),
        tmp_path / "bob.png",
        tmp_path / "missing.png",
        paint(tmp_path / "red again.png", (201, 10, 10)),
    ]
    heard: list[EnrolledPhoto] = []
    results = enroll_photos(pipeline, gallery, "Ada", paths, progress=heard.append)
    assert outline(results) == [
        ("red.png", None),
        ("black.png", "face_not_found"),
        ("two.png", "multiple_faces"),
        ("copy.png", "duplicate"),
        ("bob.png", "identity_conflict"),
        ("missing.png", "missing_file"),
        ("red again.png", None),
    ]
    assert heard == results
    assert {result.status for result in results if result.error is None} == {Status.ENROLLED}
    assert {result.status for result in results if result.error is not None} == {Status.REJECTED}
    assert len(gallery.samples("Ada")) == 2


def test_what_is_enrolled_already_is_not_embedded_again(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = paint(tmp_path / "red.png", RED)
    enroll_photos(pipeline, gallery, "Ada", [red])
    embedded: list[int] = []
    embed = pipeline.embedder.embed

    def count(faces: Sequence[AlignedFace]) -> FloatArray:
        embedded.append(len(faces))
        return embed(faces)

    monkeypatch.setattr(pipeline.embedder, "embed", count)
    results = enroll_photos(pipeline, gallery, "Ada", [red, paint(tmp_path / "green.png", GREEN), red])
    assert outline(results) == [("red.png", "duplicate"), ("green.png", None), ("red.png", "duplicate")]
    assert sum(embedded) == 1


def test_names_that_look_alike_are_refused_before_anything_is_embedded(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, color in (("Ann Lee", RED), ("ann lee", GREEN)):
        (tmp_path / "people" / name).mkdir(parents=True)
        paint(tmp_path / "people" / name / "1.png", color)
    with pytest.raises(GalleryError, match=r"'Ann Lee'.*look like one name"):
        enroll_people(pipeline, gallery, tmp_path / "people")
    assert gallery.people() == []
    enroll_photos(pipeline, gallery, "Ann Lee", [tmp_path / "people" / "Ann Lee" / "1.png"])
    monkeypatch.setattr(pipeline, "embed_paths", None)
    with pytest.raises(GalleryError, match="look like one name"):
        enroll_photos(pipeline, gallery, "ann lee", [tmp_path / "people" / "ann lee" / "1.png"])


def test_a_sample_tells_where_it_came_from(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = paint(tmp_path / "red.png", RED)
    monkeypatch.chdir(tmp_path)
    (result,) = enroll_photos(pipeline, gallery, "Ada", [Path("red.png")], metadata={"team": "engines"})
    (sample,) = gallery.samples("Ada")
    assert sample.source_path == str(path)
    assert sample.image_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sample.box_px == (0, 0, 80, 80)
    assert (sample.det_score, sample.model_id) == (0.99, "stand-in")
    assert result.face is not None
    assert (sample.vector == result.face.vector).all()
    assert [person.metadata for person in gallery.people() if person.name == "Ada"] == [{"team": "engines"}]


def test_the_selection_decides_which_of_several_faces(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    path = paint_two(tmp_path / "two.png", RED, GREEN)
    (result,) = enroll_photos(pipeline, gallery, "Ada", [path], selection=FaceSelection.LARGEST)
    assert result.status is Status.ENROLLED
    with pytest.raises(ConfigError, match="not all one person"):
        enroll_photos(pipeline, gallery, "Ada", [path], selection=FaceSelection.ALL)


def test_nobody_is_made_where_every_photograph_is_rejected(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    enroll_photos(pipeline, gallery, "Ada", [paint(tmp_path / "black.png", (0, 0, 0))])
    assert gallery.people() == []
    assert gallery.model_id is None


def test_an_impossible_name_is_refused_before_any_work(
    pipeline: FacePipeline, gallery: Gallery, embedder: MeanEmbedder, tmp_path: Path
) -> None:
    with pytest.raises(GalleryError):
        enroll_photos(pipeline, gallery, "  ", [paint(tmp_path / "red.png", RED)])
    assert embedder.count == 0


def test_what_was_enrolled_before_an_interruption_stays(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    paths = [paint(tmp_path / f"{number}.png", (200, number, 10)) for number in range(5)]
    heard = []

    def interrupt(result: EnrolledPhoto) -> None:
        heard.append(result)
        if len(heard) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enroll_photos(pipeline, gallery, "Ada", paths, progress=interrupt)
    assert [Path(sample.source_path) for sample in gallery.samples("Ada")] == paths[:3]


def test_another_models_gallery_is_refused(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    enroll_photos(pipeline, gallery, "Ada", [paint(tmp_path / "red.png", RED)])
    other = make_pipeline(MeanEmbedder("other"))
    with open_gallery(Path(gallery.location)) as unpinned, pytest.raises(ModelMismatchError, match="gallery reembed"):
        enroll_photos(other, unpinned, "Ada", [paint(tmp_path / "redder.png", (250, 10, 10))])


def test_a_people_folder_is_a_folder_a_person(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    paint(folder / "Bob" / "1.png", GREEN)
    paint(folder / "Ada" / "1.png", RED)
    paint(folder / "Ada" / "older" / "2.png", (150, 20, 20))
    paint(folder / "nobody.png", (9, 9, 9))
    (folder / "Empty").mkdir()
    (folder / ".hidden").symlink_to(folder / "Ada")
    assert {name: [path.name for path in paths] for name, paths in find_people(folder).items()} == {
        "Ada": ["1.png", "2.png"],
        "Bob": ["1.png"],
    }
    results = enroll_people(pipeline, gallery, folder)
    assert [(result.person_name, result.status) for result in results] == [
        *[("Ada", Status.ENROLLED), ("Ada", Status.ENROLLED), ("Bob", Status.ENROLLED)]
    ]
    assert [person.name for person in gallery.people()] == ["Ada", "Bob"]


def test_a_person_may_be_a_link_to_a_folder(tmp_path: Path) -> None:
    photo = paint(tmp_path / "all" / "Ada" / "1.png", RED)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "Ada").symlink_to(photo.parent)
    assert find_people(tmp_path / "some") == {"Ada": [tmp_path / "some" / "Ada" / "1.png"]}


def test_a_folder_without_people(tmp_path: Path) -> None:
    paint(tmp_path / "nobody.png", RED)
    with pytest.raises(FaceNotFoundError, match="a folder a person"):
        find_people(tmp_path)
    with pytest.raises(ImageError, match="does not exist"):
        find_people(tmp_path / "missing")


# --- who resembles whom -----------------------------------------------------------------------------


def test_a_face_that_resembles_somebody_else_is_refused(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    enroll_photos(pipeline, gallery, "Ruby", [paint(tmp_path / "red.png", RED)])
    again = [paint(tmp_path / "green.png", GREEN), paint(tmp_path / "dark.png", DARK_RED)]
    enrolled, refused = enroll_photos(pipeline, gallery, "Gwen", again)
    assert (refused.status, enrolled.status) == (Status.REJECTED, Status.ENROLLED)
    assert refused.error is not None and refused.error.reason == "identity_conflict"
    assert str(refused.error).startswith(f"{again[1]} resembles 'Ruby' more than 'Gwen' (similarity 0.9")
    assert refused.alike is not None and refused.alike.person_name == "Ruby" and refused.face is not None
    assert enrolled.alike is None
    assert {person.name: len(gallery.samples(person.id)) for person in gallery.people()} == {"Ruby": 1, "Gwen": 1}


def test_a_new_person_who_is_somebody_already_is_not_made(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    enroll_photos(pipeline, gallery, "Ruby", [paint(tmp_path / "red.png", RED)])
    dark = [paint(tmp_path / f"{number}.png", (150 + number, 20, 20)) for number in range(10)]
    assert {one.error and one.error.reason for one in enroll_photos(pipeline, gallery, "R.", dark)} == {
        "identity_conflict"
    }
    assert [person.name for person in gallery.people()] == ["Ruby"]
    results = enroll_photos(pipeline, gallery, "R.", dark, even_if_alike=True)
    assert {result.status for result in results} == {Status.ENROLLED}
    assert len(gallery.samples("R.")) == 10
    more = [paint(tmp_path / "more.png", (145, 20, 20))]
    assert enroll_photos(pipeline, gallery, "R.", more)[0].status is Status.ENROLLED  # nearer to R. than to Ruby


def test_the_threshold_that_decides_is_the_gallerys_unless_one_is_given(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    enroll_photos(pipeline, gallery, "Ruby", [paint(tmp_path / "red.png", RED)])
    gallery.set_threshold(StoredThreshold(0.001, 0.999, "a test"))
    dark = paint(tmp_path / "dark.png", DARK_RED)
    assert outline(enroll_photos(pipeline, gallery, "R.", [dark], threshold=0.9)) == [("dark.png", "identity_conflict")]
    assert outline(enroll_photos(pipeline, gallery, "R.", [dark])) == [("dark.png", None)]


def test_without_a_known_threshold_nothing_is_compared(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.embedder.record = replace(pipeline.record, thresholds={})
    enroll_photos(pipeline, gallery, "Ruby", [paint(tmp_path / "red.png", RED)])
    assert "no threshold is known" in caplog.text
    (result,) = enroll_photos(pipeline, gallery, "R.", [paint(tmp_path / "dark.png", DARK_RED)])
    assert result.status is Status.ENROLLED
    with pytest.raises(ThresholdError):
        enroll_photos(pipeline, gallery, "R.", [tmp_path / "dark.png"], threshold=float("nan"))


def test_a_face_that_is_unlike_the_persons_own_is_told(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    red = paint(tmp_path / "red.png", RED)
    paths = [paint(tmp_path / "green.png", GREEN), red, paint(tmp_path / "dark.png", DARK_RED)]
    stray, *rest = enroll_photos(pipeline, gallery, "Ruby", paths)  # though it comes first
    assert stray.status is Status.ENROLLED and stray.unlike is not None
    assert stray.unlike.similarity == pytest.approx(0.2, abs=0.05)
    assert stray.unlike.source_path == str(tmp_path / "dark.png")
    assert [one.unlike for one in rest] == [None, None]
    blue = paint(tmp_path / "blue.png", (5, 10, 240))
    (stranger,) = enroll_photos(pipeline, gallery, "Ruby", [blue])
    assert stranger.unlike is not None and 0 < stranger.unlike.similarity < 0.24
    assert len(gallery.samples("Ruby")) == 4


@pytest.mark.parametrize("names", [("Ada", "Bob"), ("Zoe", "Bob")])
def test_a_stray_photograph_is_found_whoevers_folder_comes_first(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = names
    for name, colours in ((first, [BLUE, (20, 20, 180), RED]), (second, [DARK_RED, (220, 20, 20)])):
        for number, colour in enumerate(colours):
            paint(tmp_path / "people" / name / f"{number}.png", colour)
    looked_at: list[Path] = []
    results = enroll_people(pipeline, gallery, tmp_path / "people", looked_at=looked_at.append)
    refused = [one for one in results if one.error is not None]
    assert [(one.person_name, one.path.name, one.alike and one.alike.person_name) for one in refused] == [
        (first, "2.png", second)
    ]
    assert looked_at == [one.path for one in results]


def test_a_copy_of_a_photograph_is_no_witness(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    enroll_photos(pipeline, gallery, "Ruby", [paint(tmp_path / "red.png", RED)])
    enroll_photos(pipeline, gallery, "Gwen", [paint(tmp_path / "green.png", GREEN)])
    dark = paint(tmp_path / "dark.png", DARK_RED)
    copy = Path(shutil.copy(dark, tmp_path / "copy.png"))
    assert [reason for _, reason in outline(enroll_photos(pipeline, gallery, "Gwen", [dark, copy]))] == [
        *["identity_conflict"] * 2
    ]


def test_what_is_embedded_at_an_interruption_is_stored(
    pipeline: FacePipeline, gallery: Gallery, tmp_path: Path
) -> None:
    for name, colour in (("Ada", RED), ("Bob", BLUE), ("Cleo", GREEN)):
        paint(tmp_path / "people" / name / "1.png", colour)

    def interrupt(path: Path) -> None:
        if path.parent.name == "Bob":
            raise KeyboardInterrupt

    heard: list[EnrolledPhoto] = []
    with pytest.raises(KeyboardInterrupt):
        enroll_people(pipeline, gallery, tmp_path / "people", looked_at=interrupt, progress=heard.append)
    assert [one.person_name for one in heard] == [person.name for person in gallery.people()] == ["Ada", "Bob"]


def test_what_one_call_enrolls_is_one_change(pipeline: FacePipeline, gallery: Gallery, tmp_path: Path) -> None:
    enroll_photos(pipeline, gallery, "Ada", [paint(tmp_path / "old.png", RED)])
    people = {
        "Ada": [paint(tmp_path / "new.png", DARK_RED)],
        "Bo": [paint(tmp_path / f"{number}.png", (10, 200 - number, 10)) for number in range(3)],
    }
    enroll_people(pipeline, gallery, people)
    change = gallery.last_change()
    assert change is not None and (change.people_removed, change.samples_removed) == (1, 4)
    gallery.undo(change)
    assert [sample.source_path for sample in gallery.samples()] == [str(tmp_path / "old.png")]
