"""The search index gives what the samples give, whatever happens to the gallery or to the index."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import make_sample, make_vector

from lightface.errors import ModelMismatchError
from lightface.faces import FloatArray
from lightface.gallery import Gallery, GalleryMatrix, open_gallery, people_index
from lightface.gallery.index_file import read_index
from lightface.matching import person_scores, rank_people

PROBES = np.stack([make_vector(seed) for seed in (3, 7, 1000)])
K = 3


@pytest.fixture(autouse=True)
def always_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes go into a file however few people there are."""
    monkeypatch.setattr(people_index, "FILED_FROM", 1)


@pytest.fixture
def place(gallery_path: Path) -> Path:
    return gallery_path


@pytest.fixture
def index_path(gallery_path: Path) -> Path:
    return gallery_path.with_name(f"{gallery_path.name}.index")


@pytest.fixture
def crowd(gallery: Gallery) -> Gallery:
    """Forty people with one to three samples each."""
    for number in range(40):
        gallery.enroll(f"person {number}", [make_sample(3 * number + turn) for turn in range(1 + number % 3)])
    return gallery


@pytest.fixture
def reader(crowd: Gallery, gallery_path: Path) -> Iterator[Gallery]:
    """The crowd as another process has it open."""
    with open_gallery(gallery_path, model_id="model-a") as opened:
        yield opened


def nearest(matrix: GalleryMatrix, probes: FloatArray, k: int) -> list[list[tuple[str, float]]]:
    scores = person_scores(probes, matrix.vectors, matrix.person_index, len(matrix.people), how="mean")
    return [
        [(matrix.people[index].name, round(float(row[index]), 5)) for index in rank_people(row, k)] for row in scores
    ]


def check(gallery: Gallery, probes: FloatArray = PROBES, k: int = K) -> None:
    """The nearest are those of the whole matrix, with the same similarities."""
    near = gallery.matrix_near(probes, k)
    assert nearest(near, probes, k) == nearest(gallery.matrix(), probes, k)
    assert list(near.people) == sorted(near.people, key=lambda person: person.id)
    assert near.model_id == gallery.model_id


def test_few_are_compared_and_the_nearest_are_among_them(crowd: Gallery) -> None:
    check(crowd)
    for k in (1, 40, 50):
        check(crowd, k=k)
    assert len(crowd.matrix_near(PROBES[:1], 1).people) < 10


def test_an_empty_gallery_has_nobody_near(gallery: Gallery) -> None:
    assert gallery.matrix_near(PROBES, K).people == ()
    gallery.enroll("Ada", [make_sample(1)])
    check(gallery)


def test_a_later_search_takes_the_file(
    crowd: Gallery, gallery_path: Path, index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(crowd)
    assert stat.S_IMODE(index_path.stat().st_mode) == 0o600
    monkeypatch.setattr(people_index, "write_index", lambda *_: pytest.fail("made again"))
    with open_gallery(gallery_path, model_id="model-a") as later:
        check(later)


def test_small_galleries_have_no_file(crowd: Gallery, index_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_index, "FILED_FROM", 41)
    check(crowd)
    assert not index_path.exists()


def test_what_is_added_is_found_without_making_the_index_anew(
    crowd: Gallery, reader: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(reader)
    monkeypatch.setattr(people_index, "write_index", lambda *_: pytest.fail("made again"))
    crowd.enroll("somebody new", [make_sample(1000)])
    crowd.enroll("person 5", [make_sample(1001)])  # whose template moves
    check(reader)
    assert nearest(reader.matrix_near(PROBES, 1), PROBES, 1)[2] == [("somebody new", 1.0)]
    check(reader, probes=np.stack([make_vector(15), make_vector(1001)]), k=1)
    crowd.rename_person("person 5", "Fiona")
    check(reader)


@pytest.mark.parametrize("change", ["person", "sample", "merge", "move", "model"])
def test_what_is_taken_away_or_moved_leaves_the_index(
    crowd: Gallery, reader: Gallery, index_path: Path, change: str
) -> None:
    check(reader)
    probe = make_vector(3)[None]
    before = index_path.read_bytes()
    match change:
        case "person":
            crowd.remove_person("person 1")
        case "sample":
            crowd.remove_samples([sample.id for sample in crowd.samples("person 1") if sample.id is not None][:1])
        case "merge":
            crowd.merge_people("person 1", "person 2")
        case "move":
            (sample, *_) = crowd.samples("person 1")
            assert sample.id is not None
            crowd.move_sample(sample.id, "person 2")
        case "model":
            crowd.replace_embeddings(
                "model-b", {sample.id: make_vector(500 + sample.id) for sample in crowd.samples() if sample.id}
            )
    assert not index_path.exists()
    if change == "model":
        with pytest.raises(ModelMismatchError):
            reader.matrix_near(probe, 1)
        return
    check(reader)
    check(reader, probes=probe, k=1)
    assert index_path.read_bytes() != before


def test_an_index_of_before_a_removal_is_not_left_by_whoever_was_making_it(
    crowd: Gallery, reader: Gallery, index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_while_somebody_leaves(*arguments: object) -> None:
        monkeypatch.undo()
        thread = threading.Thread(target=remove_in_another_process)
        thread.start()
        thread.join()
        write_index(*arguments)  # type: ignore[arg-type]

    def remove_in_another_process() -> None:
        with pytest.MonkeyPatch.context() as patch, open_gallery(index_path.with_suffix("")) as other:
            patch.setattr("lightface.gallery.sqlite.SqliteStore.scrub", lambda self: None)  # it waits for readers
            other.remove_person("person 1")

    write_index = people_index.write_index  # type: ignore[attr-defined]
    monkeypatch.setattr(people_index, "FILED_FROM", 1)
    monkeypatch.setattr(people_index, "write_index", make_while_somebody_leaves)
    reader.matrix_near(PROBES, K)
    assert not index_path.exists()
    check(reader)


def test_a_removal_that_was_killed_clears_the_index_when_the_gallery_is_next_opened(
    crowd: Gallery, gallery_path: Path, index_path: Path
) -> None:
    check(crowd)
    left = index_path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightface.gallery.sqlite.SqliteStore.scrub", lambda self: None)
        crowd.remove_person("person 1")
    index_path.write_bytes(left)  # as if the process had come to its end before it deleted this
    with open_gallery(gallery_path) as later:
        assert not index_path.exists()
        check(later)


def test_a_restored_gallery_is_not_searched_by_the_index_of_another(
    crowd: Gallery, gallery_path: Path, index_path: Path, tmp_path: Path
) -> None:
    crowd.close()
    shutil.copy(gallery_path, tmp_path / "backup")
    with open_gallery(gallery_path) as first:
        first.enroll("Xenia", [make_sample(600)])
        first.enroll("Yara", [make_sample(601)])
        check(first)
    left = index_path.read_bytes()
    shutil.copy(tmp_path / "backup", gallery_path)
    with open_gallery(gallery_path) as second:
        second.enroll("Zoe", [make_sample(602)])
        second.enroll("Wanda", [make_sample(603)])
        second.enroll("Vera", [make_sample(604)])
        index_path.write_bytes(left)
        check(second, probes=np.stack([make_vector(seed) for seed in (600, 601, 602, 603)]), k=1)


def test_a_damaged_index_is_made_anew(crowd: Gallery, gallery_path: Path, index_path: Path) -> None:
    check(crowd)
    data, rng = index_path.read_bytes(), np.random.default_rng(0)
    for damage in (b"", b"nothing", data[:5000], data[:-1], rng.bytes(len(data))):
        index_path.write_bytes(damage)
        with open_gallery(gallery_path) as later:
            check(later)
        assert read_index(index_path) is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_nothing_can_be_written_the_search_goes_on(crowd: Gallery, gallery_path: Path, index_path: Path) -> None:
    gallery_path.parent.chmod(0o500)
    try:
        check(crowd)
    finally:
        gallery_path.parent.chmod(0o700)
    assert not index_path.exists()


def test_a_full_disk_is_no_trouble(crowd: Gallery, index_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(people_index, "write_index", refuse)
    check(crowd)
    assert not index_path.exists()


_CHANGES = st.lists(
    st.tuples(st.sampled_from(["enroll", "remove", "forget", "merge", "reopen"]), st.integers(0, 7), st.integers(0, 7)),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(changes=_CHANGES)
def test_whatever_happens_the_nearest_are_those_of_the_samples(
    changes: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, photo = tmp_path_factory.mktemp("gallery") / "gallery.sqlite", 0
    gallery = open_gallery(path, create=True)
    try:
        for change, one, other in [("enroll", 0, 0), ("enroll", 1, 0), *changes]:
            names = [person.name for person in gallery.people()]
            match change:
                case "enroll":
                    photo += 1
                    gallery.enroll(f"person {one}", [make_sample(photo)])
                case "remove" if names:
                    gallery.remove_person(names[one % len(names)])
                case "forget" if samples := gallery.samples():
                    gallery.remove_samples([samples[other % len(samples)].id or 0])
                case "merge" if len({name_of(names, one), name_of(names, other)}) == 2:
                    gallery.merge_people(name_of(names, one), name_of(names, other))
                case "reopen":
                    gallery.close()
                    gallery = open_gallery(path)
            check(gallery, probes=np.stack([make_vector(seed) for seed in (1, 2, photo, 99)]), k=1 + other % 3)
    finally:
        gallery.close()


def name_of(names: list[str], number: int) -> str:
    return names[number % len(names)] if names else ""
