"""One face, two faces; texts from outside."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightface.words import count_of, decode_text, encode_text, visible


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ada Löwenstein, 山田\u3000太郎", "Ada Löwenstein, 山田\u3000太郎"),
        ("a\nenrolled  Eve", "a\\nenrolled  Eve"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b2J\x85\x7f", "\\x9b2J\\x85\\x7f"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("A\u200bda\ufeff", "A\\u200bda\\ufeff"),
        ("a\u2028b\u3164", "a\\u2028b\\u3164"),
        ("\udcff.jpg", "\\udcff.jpg"),
    ],
)
def test_what_does_not_show_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_nothing_that_moves_hides_or_breaks_a_line_is_left() -> None:
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    left = [code for code in range(sys.maxunicode + 1) if visible(chr(code)) == chr(code)]
    assert not [hex(code) for code in left if unicodedata.category(chr(code)) in hidden]
    assert len(left) > 100_000


@given(st.text(st.one_of(st.sampled_from("\\udc0f5f8\r\udcff\udc80"), st.characters())))
def test_an_encoded_text_is_utf_8_and_comes_back(text: str) -> None:
    encoded = encode_text(text)
    assert "\r" not in encoded and encoded.encode("utf-8").decode("utf-8") == encoded
    assert decode_text(encoded) == text


def test_an_encoded_text_is_mostly_itself() -> None:
    assert encode_text("/photos/früh \\ spät\n.jpg") == "/photos/früh \\ spät\n.jpg"
    assert encode_text("\udcff.jpg") == "\\udcff.jpg"
    assert encode_text("\\udcff.jpg") == "\\u005cudcff.jpg"
