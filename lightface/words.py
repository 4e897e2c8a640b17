"""Words that messages have in common, and how texts from outside are written."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NO_PHOTOGRAPHS: Final = (
    "there is no photograph in what was named (links to folders in it are not followed); "
    "name pictures or folders with some"
)
# Letters and marks that take no room, or show nothing: fillers, variation selectors, the empty Braille pattern.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# A backslash, a carriage return, which csv does not quote, and what no encoding has: half of a surrogate pair.
_CODES: Final = r"u(005c|000d|d[89a-f][0-9a-f]{2})"
_ENCODED: Final = re.compile(rf"\\{_CODES}")
_LOOKS_ENCODED: Final = re.compile(rf"\\(?={_CODES})")
_PLURALS: Final = {"person": "people", "entry": "entries"}


def count_of(number: int, one: str, many: str | None = None) -> str:
    """`1 face`, `2,000 faces`, `3 people`. `many` is for more words than a noun, as in `1 is gone`, `2 are gone`."""
    return f"{number:,} {one if number == 1 else many or _PLURALS.get(one, f'{one}s')}"


def explain(path: object, error: object) -> str:
    """What is wrong with a photograph, in words that name it."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def visible(text: str) -> str:
    """The text in one line in which everything shows: line breaks, control, bidirectional and zero-width characters
    and what is no character stand as Python writes them, `\\n`, `\\x1b`, `\\u202e`, `\\udcff`.
    """
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if _INVISIBLE.match(letter) or not (letter.isprintable() or unicodedata.category(letter) == "Zs")
        else letter
        for letter in text
    )


def encode_text(text: str) -> str:
    """A text for a table or JSON, which are UTF-8: `\\udcff` stands for the byte ff of a file name that is not.

    A carriage return is `\\u000d`, and a text that looks so of itself has `\\u005c` for its backslash. `decode_text`
    gives back what it was.
    """
    text = _LOOKS_ENCODED.sub(r"\\u005c", text).replace("\r", "\\u000d")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def decode_text(text: str) -> str:
    """What `encode_text` was given."""
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), text)
