"""The last change is taken back whole, or not at all; nothing that was removed comes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from made_up import find, make_sample, make_vector

from lightface.errors import GalleryError
from lightface.gallery import Gallery, KeyFile, StoredThreshold, open_gallery
from lightface.gallery.records import Event, Expired
from lightface.gallery.store import UNDO


@pytest.fixture
def people(gallery: Gallery) -> Gallery:
    """Ada with samples 1 to 3, Bo with 4 and 5."""
    gallery.enroll("Ada", [make_sample(n) for n in (1, 2, 3)], metadata={"team": "engines"})
    gallery.enroll("Bo", [make_sample(n) for n in (4, 5)])
    gallery.retention.set_days(30_000)  # a change that is none of people
    return gallery


@pytest.fixture
def export(people: Gallery, tmp_path: Path) -> Callable[[], str]:
    """All that the gallery holds."""

    def run() -> str:
        people.export_to(tmp_path / "export.jsonl")
        return (tmp_path / "export.jsonl").read_text()

    return run


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An export with one of Ada's samples, a new one of Bo's and a new person."""
    with open_gallery(tmp_path / "elsewhere.sqlite", create=True) as other:
        other.enroll("Ada", [make_sample(2)], metadata={"shoes": "41"})
        other.enroll("Bo", [make_sample(6)])
        other.enroll("Cy", [make_sample(7)])
        other.set_threshold(StoredThreshold(1e-3, 0.6, "a test"))
        other.export_to(tmp_path / "elsewhere.jsonl")
    return tmp_path / "elsewhere.jsonl"


def take_back(gallery: Gallery) -> None:
    change = gallery.last_change()
    assert change is not None
    gallery.undo(change)


CHANGES: list[Callable[[Gallery], object]] = [
    lambda it: it.enroll("Cy", [make_sample(6)]),
    lambda it: it.enroll("Ada", [make_sample(6), make_sample(7)], metadata={"shoes": "41"}),
    lambda it: it.move_sample(2, "Bo"),
    lambda it: it.give_samples("Ada", {"Bo": [1], "Cy": [2, 3]}),
    lambda it: it.split_person("Ada", [2], "Ada 2"),
    lambda it: it.merge_people("Ada", "Bo"),
    lambda it: it.relocate_samples({1: ("/photos/1.jpg", "/new/1.jpg"), 4: ("/photos/4.jpg", "/new/4.jpg")}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_taken_back_whole_and_once(
    people: Gallery, export: Callable[[], str], change: Callable[[Gallery], object]
) -> None:
    before, matrix = export(), people.matrix()
    change(people)
    assert export() != before
    take_back(people)
    assert export() == before
    assert np.array_equal(people.matrix().vectors, matrix.vectors)
    assert np.array_equal(people.matrix().person_index, matrix.person_index)
    assert people.last_change() is None
    change(people)  # and may be done again


def test_an_import_is_taken_back(people: Gallery, export: Callable[[], str], elsewhere: Path) -> None:
    before = export()
    assert people.import_from(elsewhere).people_added == 1
    change = people.last_change()
    assert change is not None
    assert (change.people_removed, change.samples_removed, change.people_restored) == (1, 2, 1)
    take_back(people)
    assert export() == before


def test_the_first_enrolment_leaves_an_empty_gallery_of_any_model(gallery: Gallery, elsewhere: Path) -> None:
    gallery.enroll("Ada", [make_sample(1)])
    take_back(gallery)
    assert (gallery.people(), gallery.model_id, gallery.is_empty) == ([], None, True)
    gallery.import_from(elsewhere, allow_looser=True)
    take_back(gallery)
    assert (gallery.people(), gallery.thresholds()) == ([], [])


def test_what_is_enrolled_together_is_one_change(people: Gallery, export: Callable[[], str]) -> None:
    before = export()
    with people.enrolling_together():
        for number in (6, 7, 8):
            people.enroll("Cy", [make_sample(number)], metadata={f"key {number}": "new"})
            people.enroll("Ada", [make_sample(number + 10)])
    change = people.last_change()
    assert change is not None and (change.people_removed, change.samples_removed) == (1, 6)
    take_back(people)
    assert export() == before


@pytest.mark.parametrize(
    "final",
    [
        lambda it: it.remove_person("Bo"),
        lambda it: it.remove_samples([1]),
        lambda it: it.rename_person("Bo", "Bob"),
        lambda it: it.set_metadata("Bo", {"consent": "form 7"}),
        lambda it: it.enroll("Ada", [make_sample(9)], metadata={"team": "other"}),
        lambda it: it.replace_embeddings("model-b", {n: make_vector(n + 50) for n in (1, 2, 3, 4, 5)}),
        lambda it: it.retention.remove(Expired(datetime.now(UTC), (), {1: 1})),
    ],
)
def test_what_must_leave_no_trace_is_final_and_clears_what_is_kept(
    people: Gallery, final: Callable[[Gallery], object]
) -> None:
    people.merge_people("Ada", "Bo")
    take_back(people)
    people.move_sample(1, "Bo")
    kept = people.last_change()
    assert kept is not None
    people.move_sample(1, "Ada")
    final(people)
    assert people.last_change() is None
    assert people._store.setting(UNDO) is None
    with pytest.raises(GalleryError, match="nothing was taken back"):
        people.undo(kept)


@pytest.mark.parametrize("other", [lambda it: it.move_sample(1, "Bo"), lambda it: it.log.set_days(9)])
def test_what_another_has_changed_since_is_not_taken_back(
    people: Gallery, place: Path | str, export: Callable[[], str], other: Callable[[Gallery], object]
) -> None:
    people.merge_people("Bo", "Ada")
    kept = people.last_change()
    assert kept is not None
    with open_gallery(place) as second:
        second.enroll("Bo", [make_sample(9)])
        other(second)
        before = export()
    with pytest.raises(GalleryError, match="changed since; nothing was taken back"):
        people.undo(kept)
    assert export() == before


def test_a_change_that_another_has_interrupted_is_final(people: Gallery, place: Path | str) -> None:
    with people.enrolling_together(), open_gallery(place) as second:
        people.enroll("Cy", [make_sample(6)])
        second.enroll("Di", [make_sample(7)])
        people.enroll("Cy", [make_sample(8)])
        assert people.last_change() is None
    people.enroll("Cy", [make_sample(9)])
    change = people.last_change()
    assert change is not None and change.samples_removed == 1


def test_undo_is_logged(people: Gallery) -> None:
    people.log.set_days(0)
    people.move_sample(2, "Bo")
    take_back(people)
    told = [(one.event, one.person_id, one.target_id, one.sample_id) for one in people.log.entries()][1:]
    assert told == [
        (Event.MOVED, 1, 2, 2),
        (Event.MOVED, 2, 1, 2),
        (Event.UNDONE, None, None, None),
    ]


def files_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_what_is_kept_leaves_no_trace_when_it_goes(gallery_path: Path) -> None:
    with open_gallery(gallery_path, model_id="model-a", create=True) as gallery:
        gallery.enroll("Somebody Unusual", [make_sample(1)], metadata={"note": "quaint"})
        gallery.enroll("Ada", [make_sample(2)])
        gallery.merge_people("Somebody Unusual", "Ada")
        assert b"Somebody Unusual" in files_of(gallery_path)  # until the next change
        gallery.enroll("Bo", [make_sample(3)])
        assert b"Somebody Unusual" not in files_of(gallery_path)
        gallery.merge_people("Bo", "Ada")
        gallery.remove_person("Ada")
        assert b"quaint" not in files_of(gallery_path) and b"Bo" not in files_of(gallery_path)
        gallery.enroll("Eve Peculiar", [make_sample(4)])
        gallery.enroll("Fay", [make_sample(5)])
        gallery.merge_people("Eve Peculiar", "Fay")
        gallery.forget_last_change()
        assert gallery.last_change() is None
        assert b"Eve Peculiar" not in files_of(gallery_path)


def test_what_is_kept_is_encrypted_as_the_rest(gallery_path: Path, key_file: KeyFile) -> None:
    with open_gallery(gallery_path, model_id="model-a", create=True) as gallery:
        gallery.encrypt(key_file)
        gallery.enroll("Somebody Unusual", [make_sample(1)])
        gallery.enroll("Ada", [make_sample(2)])
        gallery.merge_people("Somebody Unusual", "Ada")
    assert b"Somebody" not in files_of(gallery_path)
    with open_gallery(gallery_path, key=key_file) as gallery:
        take_back(gallery)
        assert [sample.person_id for sample in gallery.samples("Somebody Unusual")] == [1]
        assert find(gallery, 1).name == "Somebody Unusual"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"what": 1, "numbers": [1], "flags": [], "people": 3}', "9" * 5000])
def test_what_lightface_has_not_written_is_refused(people: Gallery, text: str) -> None:
    with people._store.writing():
        people._store.set_setting(UNDO, text)
    with pytest.raises(GalleryError, match="is damaged"):
        people.last_change()
    people.enroll("Cy", [make_sample(6)])  # another change takes its place
    assert people.last_change() is not None
