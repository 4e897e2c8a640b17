"""The blocked products agree with the plain ones, whatever the block."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_up import make_sample

from lightface.gallery import Gallery, likeness
from lightface.gallery.likeness import (
    Conflict,
    find_conflicts,
    find_like_people,
    find_like_samples,
    find_parts,
    leave_out,
)
from lightface.records import FloatArray

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


# Whose new faces are, on made-up embeddings whose cosines are known.


THRESHOLD = 0.45


def faces(*axes: int, first: int = 0, cosine: float = 0.6) -> FloatArray:
    """Rows of that cosine where their axes are equal, 0 where they are not; `first` tells these rows from others."""
    rows = np.zeros((len(axes), 256), np.float32)
    for place, axis in enumerate(axes):
        rows[place, [axis, 50 + first + place]] = np.sqrt(cosine), np.sqrt(1 - cosine)
    return rows


def enroll(gallery: Gallery, name: str, rows: FloatArray, first_photo: int) -> None:
    gallery.enroll(name, [make_sample(first_photo + place, vector=row) for place, row in enumerate(rows)])


def names(found: list[Conflict | None]) -> list[str | None]:
    return [one.person_name if one else None for one in found]


@pytest.fixture
def enrolled(gallery: Gallery) -> Gallery:
    """Ada is axis 1, Bo is axis 2."""
    enroll(gallery, "Ada", faces(1, 1, 1), 10)
    enroll(gallery, "Bo", faces(2, 2, first=10), 20)
    return gallery


def test_nobody_is_like_anybody_in_an_empty_gallery(gallery: Gallery) -> None:
    found = find_conflicts(gallery, {"Cleo": faces(1, 1), "Dan": faces(2), "Eve": faces()}, threshold=THRESHOLD)
    assert found == {"Cleo": [None, None], "Dan": [None], "Eve": []}


def test_a_new_person_who_is_enrolled_under_another_name(enrolled: Gallery) -> None:
    found = find_conflicts(enrolled, {"A. L.": faces(1, 1, first=20)}, threshold=THRESHOLD)["A. L."]
    # Ada's template has sqrt(0.6) of her axis in a mean of length sqrt((1 + 2 * 0.6) / 3).
    assert names(found) == ["Ada", "Ada"]
    assert [one.similarity for one in found if one] == pytest.approx([0.6 / np.sqrt(2.2 / 3)] * 2, abs=1e-5)


def test_a_stray_face_of_somebody_who_is_enrolled(enrolled: Gallery) -> None:
    found = find_conflicts(enrolled, {"Cleo": faces(3, 1, 3, first=20), "Bo": faces(2, 1, first=30)}, threshold=0.45)
    assert names(found["Cleo"]) == [None, "Ada", None]
    assert names(found["Bo"]) == [None, "Ada"]


def test_the_threshold_itself_is_reached(enrolled: Gallery) -> None:
    row = {"Cleo": faces(1, first=20)}
    (found,) = find_conflicts(enrolled, row, threshold=0.1)["Cleo"]
    assert found is not None
    assert find_conflicts(enrolled, row, threshold=found.similarity)["Cleo"] == [found]
    assert find_conflicts(enrolled, row, threshold=found.similarity + 1e-6)["Cleo"] == [None]


def test_who_is_nearer_to_the_person_than_to_a_twin_is_theirs(enrolled: Gallery) -> None:
    twin = faces(1, 1, first=20)
    twin[:, 40] = 0.5
    enroll(enrolled, "Ada's twin", twin / np.linalg.norm(twin, axis=1, keepdims=True), 30)
    again = faces(1, first=40)
    again[:, 40] = 0.5
    again /= np.linalg.norm(again)
    assert find_conflicts(enrolled, {"ada's TWIN": again}, threshold=THRESHOLD)["ada's TWIN"] == [None]
    assert names(find_conflicts(enrolled, {"Ada": again}, threshold=THRESHOLD)["Ada"]) == ["Ada's twin"]


def test_chance_likeness_does_not_outweigh_the_persons_other_faces(enrolled: Gallery) -> None:
    rows = faces(3, 3, 3, first=20)
    rows[0, 1] = 0.62
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert names(find_conflicts(enrolled, {"Cleo": rows[:1]}, threshold=0.4)["Cleo"]) == ["Ada"]
    assert find_conflicts(enrolled, {"Cleo": rows}, threshold=0.4)["Cleo"] == [None, None, None]


@pytest.mark.parametrize("order", list(itertools.permutations(["Cleo", "Dan", "Eve"])), ids=" ".join)
def test_it_does_not_matter_who_comes_first(enrolled: Gallery, order: tuple[str, ...]) -> None:
    """Cleo has a stray face of Dan, Dan has one of Ada, who is enrolled, and Eve has one of Cleo."""
    rows = {"Cleo": faces(3, 4, 3), "Dan": faces(4, 4, 1, 4, first=10), "Eve": faces(3, 5, 5, first=20)}
    found = find_conflicts(enrolled, {name: rows[name] for name in order}, threshold=THRESHOLD)
    assert {name: names(of) for name, of in found.items()} == {
        "Cleo": [None, "Dan", None],
        "Dan": [None, None, "Ada", None],
        "Eve": ["Cleo", None, None],
    }


def test_of_two_names_for_one_newcomer_the_second_is_refused(gallery: Gallery) -> None:
    found = find_conflicts(gallery, {"Cleo": faces(3, 3), "Cleo M.": faces(3, 3, 3, first=9)}, threshold=THRESHOLD)
    assert found["Cleo"] == [None, None] and names(found["Cleo M."]) == ["Cleo"] * 3


def test_two_spellings_of_one_name_are_one_person(enrolled: Gallery) -> None:
    found = find_conflicts(
        enrolled, {"cleo": faces(3, 3), "Cleo": faces(3, first=9), "ADA": faces(1, first=20)}, threshold=0.45
    )
    assert found == {"cleo": [None, None], "Cleo": [None], "ADA": [None]}
