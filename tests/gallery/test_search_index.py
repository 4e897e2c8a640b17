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
from lightface.gallery import Gallery, GalleryMatrix, open_gallery, search_index
from lightface.gallery.search_index import Codes, IndexSource, encode, find_near, read_index, write_index
from lightface.matching import DecisionBands, person_scores, rank_people
from lightface.records import FloatArray

PROBES = np.stack([make_vector(seed) for seed in (3, 7, 1000)])
K = 3


@pytest.fixture(autouse=True)
def always_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes go into a file however few people there are."""
    monkeypatch.setattr(search_index, "PAYS_FROM", 1)


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
    found = gallery.search(probes, bands=DecisionBands(0.4), limit=k)
    assert [[(one.person_name, round(one.similarity, 5)) for one in result.candidates] for result in found] == nearest(
        near, probes, k
    )
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
    monkeypatch.setattr(search_index, "write_index", lambda *_: pytest.fail("made again"))
    with open_gallery(gallery_path, model_id="model-a") as later:
        check(later)


def test_small_galleries_have_no_file(crowd: Gallery, index_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "PAYS_FROM", 41)
    check(crowd)
    assert not index_path.exists()


def test_few_people_are_searched_without_the_index(
    crowd: Gallery, index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "PAYS_FROM", 41)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_index.PeopleIndex, "people_near", lambda *_: pytest.fail("the index was asked"))
        crowd.search(PROBES, bands=DecisionBands(0.4))
    assert not index_path.exists()
    crowd.enroll("person 40", [make_sample(500)])
    check(crowd)
    assert index_path.exists()


def test_what_is_added_is_found_without_making_the_index_anew(
    crowd: Gallery, reader: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(reader)
    monkeypatch.setattr(search_index, "write_index", lambda *_: pytest.fail("made again"))
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
            patch.setattr("lightface.gallery.sqlite.SqliteStore.purge", lambda self: None)  # it waits for readers
            other.remove_person("person 1")

    write_index = search_index.write_index
    monkeypatch.setattr(search_index, "PAYS_FROM", 1)
    monkeypatch.setattr(search_index, "write_index", make_while_somebody_leaves)
    reader.matrix_near(PROBES, K)
    assert not index_path.exists()
    check(reader)


def test_a_removal_that_was_killed_clears_the_index_when_the_gallery_is_next_opened(
    crowd: Gallery, gallery_path: Path, index_path: Path
) -> None:
    check(crowd)
    left = index_path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightface.gallery.sqlite.SqliteStore.purge", lambda self: None)
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

    monkeypatch.setattr(search_index, "write_index", refuse)
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


# The first pass of a search: bounds that hold, so that nobody who is near is missed.


NOBODY = np.empty(0, np.int64)


def unit_rows(rng: np.random.Generator, count: int, size: int, *, spread: float = 0.0, decimals: int = 8) -> FloatArray:
    """Rows of length 1; some directions of more weight than others, and ties where `decimals` are few."""
    rows = rng.normal(size=(count, size)) * np.exp(-spread * np.arange(size))
    rows = np.round(rows, decimals)
    rows[:, 0] += 1e-3  # never of length 0
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def nearest_by_codes(templates: FloatArray, probe: FloatArray, k: int) -> set[int]:
    """Whoever is not certainly behind the k-th: a superset would be wrong without any of them."""
    scores = templates.astype(np.float64) @ probe.astype(np.float64)
    return set(np.flatnonzero(scores > np.sort(scores)[-k]).tolist()) if len(scores) > k else set(range(len(scores)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    size=st.sampled_from([1, 3, 16, 256]),
    probes=st.integers(1, 20),
    k=st.integers(1, 30),
    spread=st.sampled_from([0.0, 0.1, 2.0]),
    decimals=st.sampled_from([0, 1, 8]),
    by_torch=st.booleans(),
)
def test_nobody_who_is_near_is_missed(
    seed: int, count: int, size: int, probes: int, k: int, spread: float, decimals: int, by_torch: bool
) -> None:
    rng = np.random.default_rng(seed)
    templates = unit_rows(rng, count, size, spread=spread, decimals=decimals)
    templates[rng.random(count) < 0.05] = 0  # people whose samples cancel out
    looked_for = unit_rows(rng, probes, size, spread=spread, decimals=decimals)
    with pytest.MonkeyPatch.context() as patch:
        if not by_torch:
            patch.setattr(search_index, "_multiplies_exactly", lambda: False)
        found = set(find_near(encode(np.arange(count), templates), looked_for, k, leave_out=NOBODY).tolist())
    for probe in looked_for:
        assert nearest_by_codes(templates, probe, k) <= found


def test_bounds_hold_and_are_close() -> None:
    rng = np.random.default_rng(0)
    templates, probes = unit_rows(rng, 3000, 256), unit_rows(rng, 40, 256)
    codes = encode(np.arange(len(templates)), templates)
    scores = probes.astype(np.float64) @ templates.T.astype(np.float64)
    for truth, (lowest, highest) in zip(scores, search_index._bounds(codes, probes), strict=True):
        assert np.all(lowest <= truth)
        assert np.all(truth <= highest)
        assert np.max(highest - lowest) < 0.05
    assert len(find_near(codes, probes[:1], 5, leave_out=NOBODY)) < 60


def test_rows_of_one_number_are_multiplied_as_well() -> None:
    """Of these torch's product of integers makes anything, now and then."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows, probes = (rng.integers(-127, 128, (count, 1), np.int8) for count in rng.integers(1, 400, 2))
        exact = probes.astype(np.int32) @ rows.T.astype(np.int32)
        assert np.array_equal(search_index._multiply(rows, probes), exact)


def test_a_row_of_one_number_is_coded_without_loss() -> None:
    codes = encode(np.arange(4), np.eye(4, dtype=np.float32))
    assert np.array_equal(codes.values, 127 * np.eye(4))
    assert np.all(codes.errors < 2e-6)


def test_who_is_left_out_is_not_found() -> None:
    templates = unit_rows(np.random.default_rng(0), 500, 32)
    codes = encode(np.arange(500), templates)
    assert 17 in find_near(codes, templates[17:18], 1, leave_out=NOBODY)
    left_out = np.array([17, 400])
    assert not set(left_out) & set(find_near(codes, templates[17:18], 1, leave_out=left_out))
    everybody = find_near(codes, templates[:1], 500, leave_out=left_out)
    assert np.array_equal(everybody, np.setdiff1d(np.arange(500), left_out))


def test_nobody_and_no_probe() -> None:
    codes = encode(np.arange(3), np.eye(3, dtype=np.float32))
    assert not len(find_near(codes, np.empty((0, 3), np.float32), 1, leave_out=NOBODY))
    assert not len(Codes.none())


def test_both_products_are_the_same() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (9000, 256)).astype(np.int8)
    rows[0], probes = 127, rng.integers(-127, 128, (3, 256)).astype(np.int8)
    probes[0] = 127
    expected = probes.astype(np.int64) @ rows.T.astype(np.int64)
    assert np.array_equal(search_index._multiply(rows, probes), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_index, "_multiplies_exactly", lambda: False)
        assert np.array_equal(search_index._multiply(rows, probes), expected)


# The file of an index comes back as it was written, or not at all.


SOURCE = IndexSource("made in a test", 12, "2026-01-01 abc")
SHAPE = (50, 16)


@pytest.fixture
def codes() -> Codes:
    rows = np.random.default_rng(0).normal(size=SHAPE)
    return encode(np.arange(100, 150), (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


@pytest.fixture
def path(codes: Codes, tmp_path: Path) -> Path:
    path = tmp_path / "index"
    cut = [slice(0, 20), slice(20, 21), slice(21, 50)]
    write_index(
        path,
        SOURCE,
        SHAPE,
        (Codes(codes.person_ids[part], codes.values[part], codes.steps[part], codes.errors[part]) for part in cut),
    )
    return path


def test_codes_come_back_as_they_were(path: Path, codes: Codes) -> None:
    read = read_index(path)
    assert read is not None
    source, found = read
    assert source == SOURCE
    for name in ("person_ids", "values", "steps", "errors"):
        array, expected = getattr(found, name), getattr(codes, name)
        assert np.array_equal(array, expected)
        assert array.dtype == expected.dtype


def test_only_its_owner_may_read_it(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_any_changed_byte_is_noticed_or_changes_nothing(path: Path, codes: Codes) -> None:
    data, rng = np.frombuffer(path.read_bytes(), np.uint8), np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = data.copy()
        place = rng.integers(0, len(data) if rng.random() < 0.5 else 600)
        damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged.tobytes())
        read = read_index(path)
        if read is None or read[0] != SOURCE:
            refused += 1
        else:
            assert all(
                np.array_equal(getattr(read[1], name), getattr(codes, name)) for name in ("person_ids", "values")
            )
    assert refused > 200


def test_a_cut_or_unfinished_file_is_no_index(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for length in (0, 5, 100, 4095, 4096, 5000, len(data) - 1):
        path.write_bytes(data[:length])
        assert read_index(path) is None
    path.write_bytes(b"\0" * 4096 + data[4096:])
    assert read_index(path) is None
    assert read_index(tmp_path / "missing") is None
    assert read_index(tmp_path) is None


def test_a_failure_leaves_no_file(tmp_path: Path, codes: Codes) -> None:
    def break_off() -> object:
        yield codes
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        write_index(tmp_path / "index", SOURCE, SHAPE, break_off())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
