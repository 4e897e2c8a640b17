"""Whose new faces are, on made-up embeddings whose cosines are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_up import make_sample

from lightface.faces import FloatArray
from lightface.gallery import Gallery
from lightface.gallery.conflicts import Conflict, find_conflicts

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
