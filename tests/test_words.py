"""One face, two faces."""

from __future__ import annotations

import pytest

from lightface.words import count_of


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ["face"], "0 faces"),
        (1, ["face"], "1 face"),
        (2000, ["face"], "2,000 faces"),
        (1, ["person"], "1 person"),
        (3, ["person"], "3 people"),
        (1, ["person is", "people are"], "1 person is"),
        (0, ["person is", "people are"], "0 people are"),
    ],
)
def test_nouns_agree_with_their_number(number: int, words: list[str], expected: str) -> None:
    assert count_of(number, *words) == expected
