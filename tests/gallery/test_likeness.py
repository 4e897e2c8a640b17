"""The blocked products agree with the plain ones, whatever the block."""

from __future__ import annotations

import numpy as np
import pytest

from lightface.gallery import likeness
from lightface.gallery.likeness import find_like_people, find_like_samples, find_parts, leave_out

COUNTS = [1, 4, 2, 7, 1, 3, 5, 2]


@pytest.fixture(params=[2, 5, 4096], ids=lambda size: f"blocks of {size}")
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "_ROWS_AT_ONCE", request.param)
    monkeypatch.setattr(likeness, "_COLUMNS_AT_ONCE", request.param + 1)


@pytest.fixture
def people() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    index = np.repeat(np.arange(len(COUNTS)), COUNTS)
    rows = generator.normal(size=(len(COUNTS), 16))[index] + 1.2 * generator.normal(size=(len(index), 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), index.astype(np.int64)


def unit(row: np.ndarray) -> np.ndarray:
    return np.asarray(row / np.linalg.norm(row))


def template(vectors: np.ndarray, index: np.ndarray, person: int, *, without: int | None = None) -> np.ndarray:
    rows = [vectors[place] for place in np.flatnonzero(index == person) if place != without]
    return unit(np.sum(rows, axis=0))


@pytest.mark.usefixtures("blocks")
def test_each_sample_is_compared_with_its_person_without_it(people: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, index = people
    found = leave_out(vectors, index)
    for place, (row, person) in enumerate(zip(vectors, index, strict=True)):
        others = {other: row @ template(vectors, index, other) for other in range(len(COUNTS)) if other != person}
        nearest = max(others, key=lambda other: others[other])
        assert found.other_person[place] == nearest
        assert found.other[place] == pytest.approx(others[nearest], abs=1e-6)
        if COUNTS[person] == 1:
            assert np.isnan(found.own[place])
        else:
            assert found.own[place] == pytest.approx(row @ template(vectors, index, person, without=place), abs=1e-5)


def test_a_single_person_has_nobody_to_be_taken_for() -> None:
    vectors = np.eye(3, 16, dtype=np.float32)
    found = leave_out(vectors, np.zeros(3, np.int64))
    assert (found.other == -np.inf).all()
    assert found.own.tolist() == [0, 0, 0]


@pytest.mark.usefixtures("blocks")
def test_people_are_alike_when_both_resemble_the_other_on_average(people: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, index = people
    expected = {}
    for a in range(len(COUNTS)):
        for b in range(a + 1, len(COUNTS)):
            a_to_b = (vectors[index == a] @ template(vectors, index, b)).mean()
            b_to_a = (vectors[index == b] @ template(vectors, index, a)).mean()
            if min(a_to_b, b_to_a) >= 0.1:
                expected[a, b] = min(a_to_b, b_to_a)
    found = find_like_people(vectors, index, at_least=0.1, limit=100)
    got = dict(zip(map(tuple, found.pairs.tolist()), found.similarities.tolist(), strict=True))
    assert len(expected) >= 3
    assert got == pytest.approx(expected, abs=1e-6)
    assert found.total == len(expected)
    assert np.all(np.diff(found.similarities) <= 0)


@pytest.mark.usefixtures("blocks")
def test_each_pair_of_like_samples_is_found_once(people: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, _ = people
    scores = np.triu(vectors @ vectors.T, 1)
    found = find_like_samples(vectors, at_least=0.6, limit=100)
    expected = {(int(a), int(b)) for a, b in np.argwhere(scores >= 0.6)}
    assert {tuple(pair) for pair in found.pairs.tolist()} == expected
    assert len(expected) == found.total >= 5
    best = find_like_samples(vectors, at_least=0.6, limit=2)
    assert best.pairs.tolist() == found.pairs[:2].tolist()
    assert best.total == found.total


def test_a_limit_is_inclusive_and_not_rounded() -> None:
    vectors = np.zeros((2, 16), np.float32)
    vectors[:, 0] = 1, 0.6
    vectors[1, 1] = 0.8
    reached = float(np.float32(0.6))
    assert find_like_samples(vectors, at_least=reached, limit=9).total == 1
    assert find_like_samples(vectors, at_least=np.nextafter(reached, 1), limit=9).total == 0


def person_of(axes: list[int], *, cosine: float = 0.5) -> np.ndarray:
    """Rows of that cosine where their axes are equal, and of 0 where they are not."""
    rows = np.zeros((len(axes), 64), np.float32)
    for place, axis in enumerate(axes):
        rows[place, [axis, 20 + place]] = np.sqrt(cosine), np.sqrt(1 - cosine)
    return rows


@pytest.mark.parametrize(
    ("axes", "parts"),
    [
        ([], []),
        ([1], [0]),
        ([1, 1], [0, 0]),
        ([1, 2], [0, 1]),
        ([1, 2, 1], [0, 1, 0]),
        ([2, 1, 1], [1, 0, 0]),
        ([2, 1, 2, 1], [0, 1, 0, 1]),
        ([1, 2, 2, 3, 2], [1, 0, 0, 2, 0]),
    ],
)
def test_samples_that_are_unlike_fall_into_parts(axes: list[int], parts: list[int]) -> None:
    assert find_parts(person_of(axes), threshold=0.4).tolist() == parts


@pytest.mark.parametrize(("cosine", "parts"), [(0.201, 1), (0.199, 3)])
def test_parts_stay_apart_below_half_of_the_threshold(cosine: float, parts: int) -> None:
    assert len(set(find_parts(person_of([1, 1, 1], cosine=cosine), threshold=0.4).tolist())) == parts


def test_too_many_samples_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "_MOST_TOGETHER", 2)
    assert find_parts(person_of([1, 2, 3]), threshold=0.4).tolist() == [0, 0, 0]
