"""What an audit finds, on made-up embeddings whose cosines are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import make_sample

from lightface.errors import GalleryError, PersonNotFoundError, ThresholdError
from lightface.gallery import Gallery, audit_gallery
from lightface.gallery.audit import find_parts_of
from lightface.records import FloatArray

THRESHOLD = 0.4


def along(axis: int, *, towards: int | None = None, share: float = 0.0, own: int = 0) -> FloatArray:
    """A unit row of cosine `share` to axis `towards`; the rest along `axis`, a tenth of it along `own` + 100."""
    row = np.zeros(256, np.float64)
    row[axis], row[100 + own] = 1, 0.1 if own else 0
    row /= np.linalg.norm(row)
    if towards is not None:
        row = row * np.sqrt(1 - share**2)
        row[towards] += share
    return row.astype(np.float32)


def enroll(gallery: Gallery, name: str, first_photo: int, *vectors: FloatArray, **changes: Any) -> None:
    for number, vector in enumerate(vectors):
        gallery.enroll(name, [make_sample(first_photo + number, vector=vector, **changes)])


@pytest.fixture
def sound(gallery: Gallery) -> Gallery:
    """Ada and Bo with three photographs each, whose cosines are 0.5 within and 0 between the two."""
    for name, axis, photo in (("Ada", 1, 10), ("Bo", 2, 20)):
        rows = [along(axis, towards=50 + photo + n, share=0.7071) for n in range(3)]
        enroll(gallery, name, photo, *rows)
    return gallery


def test_nothing_is_said_of_a_sound_gallery(sound: Gallery) -> None:
    audit = audit_gallery(sound, threshold=THRESHOLD)
    assert (audit.person_count, audit.sample_count, audit.doubts) == (2, 6, 0)
    assert not (audit.mislabelled or audit.mixed or audit.repeated or audit.close_people or audit.low_quality)
    assert audit.single_sample == audit.without_samples == audit.crowded == ()
    assert (audit.threshold, audit.model_id, audit.location) == (THRESHOLD, "model-a", sound.location)


def test_nobody_is_enrolled(gallery: Gallery) -> None:
    audit = audit_gallery(gallery, threshold=THRESHOLD)
    assert (audit.person_count, audit.sample_count, audit.doubts) == (0, 0, 0)


def test_a_sample_under_the_wrong_name(sound: Gallery) -> None:
    stray = along(1, towards=90, share=0.6)  # 0.8 along Ada's axis
    sound.enroll("Bo", [make_sample(30, vector=stray)])
    (found,) = audit_gallery(sound, threshold=THRESHOLD).mislabelled
    assert (found.sample.source_path, found.sample.person_name) == ("/photos/30.jpg", "Bo")
    # Ada's template has 1 / sqrt(1 + 1/3) along her axis.
    assert found.other_similarity == pytest.approx(0.8 * np.sqrt(3) / 2, abs=1e-4)
    assert found.own_similarity == pytest.approx(0, abs=1e-6)
    assert found.nearest_other.person_name == "Ada"
    assert found.nearest_own.person_name == "Bo" and found.nearest_own.id != found.sample.id
    assert audit_gallery(sound, threshold=THRESHOLD).mixed == ()  # it is told once


@pytest.mark.parametrize(("similarity", "found"), [(0.41, 1), (0.39, 0)])
def test_the_other_person_must_reach_the_threshold(sound: Gallery, similarity: float, found: int) -> None:
    share = similarity / (np.sqrt(3) / 2)
    sound.enroll("Bo", [make_sample(30, vector=along(200, towards=1, share=share))])
    assert len(audit_gallery(sound, threshold=THRESHOLD).mislabelled) == found


@pytest.mark.parametrize(("own", "found"), [(0.29, 1), (0.31, 0)])
def test_the_other_person_must_be_nearer_by_half_the_threshold(sound: Gallery, own: float, found: int) -> None:
    row = np.zeros(256)
    row[[1, 2]] = 0.5 / (np.sqrt(3) / 2), own / (np.sqrt(3) / 2)
    row[200] = np.sqrt(1 - (row**2).sum())
    sound.enroll("Bo", [make_sample(30, vector=row.astype(np.float32))])
    (one,) = audit_gallery(sound, threshold=0).mislabelled or (None,)
    assert one is not None and one.own_similarity == pytest.approx(own, abs=1e-4)
    assert len(audit_gallery(sound, threshold=THRESHOLD).mislabelled) == found


def test_somebody_enrolled_twice(sound: Gallery) -> None:
    enroll(sound, "Ada L.", 30, *(along(1, towards=80 + n, share=0.7071) for n in range(2)))
    audit = audit_gallery(sound, threshold=THRESHOLD)
    (found,) = audit.close_people
    assert [(one.name, one.sample_count) for one in (found.a, found.b)] == [("Ada", 3), ("Ada L.", 2)]
    # The lesser of 0.7071 times each template's share of the axis.
    assert found.similarity == pytest.approx(0.7071 * 0.7071 / np.sqrt(0.5 + 0.5 / 2), abs=1e-3)
    assert (found.sample_a.person_name, found.sample_b.person_name) == ("Ada", "Ada L.")
    assert audit.close_people_total == audit.doubts == 1
    assert audit.mislabelled == ()  # her photographs are as near to herself as to herself


def test_a_stranger_among_a_persons_samples(sound: Gallery) -> None:
    enroll(sound, "Ada", 30, along(7))
    audit = audit_gallery(sound, threshold=THRESHOLD)
    (found,) = audit.mixed
    assert (found.person.name, found.person.sample_count, found.is_tie) == ("Ada", 4, False)
    assert [len(part.samples) for part in found.parts] == [3, 1]
    stranger = found.parts[1]
    assert [sample.source_path for sample in stranger.samples] == ["/photos/30.jpg"]
    assert stranger.similarity == pytest.approx(0, abs=1e-6)
    assert stranger.resembles is None and stranger.resembles_similarity is None
    assert (audit.doubts, audit.mislabelled) == (1, ())


def test_two_people_under_one_name(sound: Gallery) -> None:
    """One of them is like somebody else who is enrolled, and not by so much that each sample tells it."""
    enroll(sound, "Cleo", 30, *(along(5, towards=80 + n, share=0.7071) for n in range(2)))
    rows = np.zeros((2, 256), np.float32)
    rows[:, [2, 6]] = 0.45 / (np.sqrt(3) / 2), 0.6
    rows[[0, 1], [90, 91]] = np.sqrt(1 - (rows[0] ** 2).sum())
    enroll(sound, "Cleo", 40, *rows)
    audit = audit_gallery(sound, threshold=THRESHOLD)
    (found,) = audit.mixed
    assert found.person.name == "Cleo" and not found.is_tie
    assert [[sample.source_path for sample in part.samples] for part in found.parts] == [
        ["/photos/30.jpg", "/photos/31.jpg"],
        ["/photos/40.jpg", "/photos/41.jpg"],
    ]
    likeness = [(part.resembles and part.resembles.name, part.resembles_similarity) for part in found.parts]
    assert likeness == [(None, None), ("Bo", pytest.approx(0.45, abs=1e-3))]
    assert audit.doubts == 1


def test_the_greater_part_may_be_somebody_else(sound: Gallery) -> None:
    """Three of Cleo's four samples are Bo's: it is not hers that is the stranger."""
    rows = np.zeros((3, 256), np.float32)
    rows[:, [2, 6]] = 0.45 / (np.sqrt(3) / 2), 0.6
    rows[[0, 1, 2], [90, 91, 92]] = np.sqrt(1 - (rows[0] ** 2).sum())
    enroll(sound, "Cleo", 30, *rows)
    enroll(sound, "Cleo", 40, along(5))
    (found,) = audit_gallery(sound, threshold=THRESHOLD).mixed
    assert not found.is_tie
    assert [len(part.samples) for part in found.parts] == [1, 3]
    assert [part.resembles and part.resembles.name for part in found.parts] == [None, "Bo"]


def test_two_samples_that_do_not_agree(gallery: Gallery) -> None:
    enroll(gallery, "Ada", 1, along(1), along(2))
    (found,) = audit_gallery(gallery, threshold=THRESHOLD).mixed
    assert found.is_tie and [len(part.samples) for part in found.parts] == [1, 1]


def test_a_person_with_one_photograph_is_never_mislabelled_but_may_be_somebody_else(sound: Gallery) -> None:
    enroll(sound, "A. L.", 30, along(1, towards=80, share=0.6))
    audit = audit_gallery(sound, threshold=THRESHOLD)
    assert audit.mislabelled == ()
    assert [one.name for one in audit.single_sample] == ["A. L."]
    (found,) = audit.close_people
    assert {found.a.name, found.b.name} == {"A. L.", "Ada"}


def test_one_picture_twice(sound: Gallery) -> None:
    original = sound.samples("Ada")[0].vector
    again = np.sqrt(1 - 0.97**2) * along(77) + 0.97 * original
    enroll(sound, "Ada", 30, again.astype(np.float32))
    audit = audit_gallery(sound, threshold=THRESHOLD)
    (found,) = audit.repeated
    assert (found.a.source_path, found.b.source_path) == ("/photos/10.jpg", "/photos/30.jpg")
    assert found.similarity == pytest.approx(0.97, abs=1e-5)
    assert not found.same_file
    assert (audit.repeated_total, audit.doubts) == (1, 0)


def test_one_picture_under_two_names_is_a_doubt(sound: Gallery) -> None:
    enroll(sound, "Cleo", 30, sound.samples("Ada")[0].vector, along(60))
    audit = audit_gallery(sound, threshold=THRESHOLD)
    (found,) = audit.repeated
    assert {found.a.person_name, found.b.person_name} == {"Ada", "Cleo"}
    assert found.similarity == pytest.approx(1)
    assert audit.doubts >= 1


@pytest.mark.parametrize(("name", "cosine", "found"), [("Ada", 0.0, 1), ("Bo", 0.0, 0), ("Bo", 0.5, 1)])
def test_two_faces_of_one_file(sound: Gallery, name: str, cosine: float, found: int) -> None:
    """Fine for two people, unless the faces are alike; not for one."""
    photo = sound.samples("Ada")[0]
    vector = (np.sqrt(1 - cosine**2) * along(77) + cosine * photo.vector).astype(np.float32)
    beside = make_sample(30, image_sha256=photo.image_sha256, box_px=(300.0, 20.0, 400.0, 140.0), vector=vector)
    sound.enroll(name, [beside])
    repeated = audit_gallery(sound, threshold=THRESHOLD).repeated
    assert [one.same_file for one in repeated] == [True] * found


def test_quality_people_without_photographs_and_crowds(sound: Gallery) -> None:
    enroll(sound, "Cleo", 30, along(60), quality=0.1)
    enroll(sound, "Cleo", 31, along(61), quality=None)
    enroll(sound, "Dan", 40, along(62))
    sound.remove_samples([sound.samples("Dan")[0].id or 0])
    enroll(sound, "Eve", 50, *(along(5, towards=200 + n, share=0.8) for n in range(15)))
    audit = audit_gallery(sound, threshold=THRESHOLD)
    assert [(one.person_name, one.quality) for one in audit.low_quality] == [("Cleo", 0.1)]
    assert [one.name for one in audit.without_samples] == ["Dan"]
    assert [(one.name, one.sample_count) for one in audit.crowded] == [("Eve", 15)]
    assert [one.quality for one in audit_gallery(sound, threshold=0.4, min_quality=0.05).low_quality] == []


def test_photographs_that_are_gone(gallery: Gallery, tmp_path: Path) -> None:
    there = tmp_path / "there.jpg"
    there.write_bytes(b"")
    enroll(gallery, "Ada", 1, along(1), source_path=str(there))
    enroll(gallery, "Ada", 2, along(2), source_path=str(tmp_path / "gone.jpg"))
    audit = audit_gallery(gallery, threshold=THRESHOLD)
    assert [one.source_path for one in audit.gone] == [str(tmp_path / "gone.jpg")]


def test_an_audit_changes_nothing(sound: Gallery, tmp_path: Path) -> None:
    sound.export_to(tmp_path / "before.jsonl")
    audit_gallery(sound, threshold=THRESHOLD)
    sound.export_to(tmp_path / "after.jsonl")
    assert (tmp_path / "after.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()


def test_samples_are_split_off_into_a_new_person(sound: Gallery) -> None:
    first, *others = [sample.id or 0 for sample in sound.samples("Ada")]
    assert sound.split_person("Ada", others, "Ada 2").name == "Ada 2"
    assert [sample.id for sample in sound.samples("Ada")] == [first]
    assert [sample.id for sample in sound.samples("Ada 2")] == others
    for ids, name, reason in (([others[0]], "Cleo", "no sample"), ([first], "bo", "there is a 'bo' already")):
        with pytest.raises(GalleryError, match=reason):
            sound.split_person("Ada", ids, name)
    assert [person.name for person in sound.people()] == ["Ada", "Ada 2", "Bo"]


def test_a_sample_moves_with_everything_that_is_known_of_it(sound: Gallery) -> None:
    moved = sound.samples("Ada")[1]
    assert moved.id is not None
    assert sound.move_sample(moved.id, "bo").name == "Bo"
    assert [sample.source_path for sample in sound.samples("Ada")] == ["/photos/10.jpg", "/photos/12.jpg"]
    (found,) = [sample for sample in sound.samples("Bo") if sample.id == moved.id]
    assert np.array_equal(found.vector, moved.vector)
    assert (found.source_path, found.box_px, found.created_at) == (moved.source_path, moved.box_px, moved.created_at)
    with pytest.raises(GalleryError, match="no sample 99"):
        sound.move_sample(99, "Bo")
    with pytest.raises(PersonNotFoundError):
        sound.move_sample(moved.id, "Cleo")


def test_samples_are_given_to_several_people_in_one_change(sound: Gallery) -> None:
    first, second, third = [sample.id for sample in sound.samples("Ada")]
    before = [(sample.id, sample.person_id) for sample in sound.samples()]
    for targets, reason in (
        ({"Bo": [second], "Ada": [third]}, "has these samples already"),
        ({"Bo": [second], "Cleo": [99]}, "has no sample 99"),
        ({"Cleo": [second], "BO": [third]}, "look like one name"),
    ):
        with pytest.raises(GalleryError, match=reason):
            sound.give_samples("Ada", targets)
        assert [(sample.id, sample.person_id) for sample in sound.samples()] == before
        assert [person.name for person in sound.people()] == ["Ada", "Bo"]
    assert [person.name for person in sound.give_samples("Ada", {"Bo": [second], "Cleo": [third]})] == ["Bo", "Cleo"]
    assert [sample.id for sample in sound.samples("Ada")] == [first]
    assert second in [sample.id for sample in sound.samples("Bo")]
    assert [sample.id for sample in sound.samples("Cleo")] == [third]


def test_the_parts_of_a_person_are_those_that_the_audit_lists(sound: Gallery) -> None:
    assert find_parts_of(sound, "Ada", threshold=THRESHOLD) is None
    sound.merge_people("Bo", "Ada")
    (mixed,) = audit_gallery(sound, threshold=THRESHOLD).mixed
    assert find_parts_of(sound, "Ada", threshold=THRESHOLD) == mixed
    with pytest.raises(PersonNotFoundError):
        find_parts_of(sound, "Bo", threshold=THRESHOLD)
    with pytest.raises(ThresholdError):
        find_parts_of(sound, "Ada", threshold=float("nan"))
