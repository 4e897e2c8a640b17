"""Words that messages have in common."""

from __future__ import annotations

from typing import Final

NO_PHOTOGRAPHS: Final = (
    "there is no photograph in what was named (links to folders in it are not followed); "
    "name pictures or folders with some"
)
_PLURALS: Final = {"person": "people", "entry": "entries"}


def count_of(number: int, one: str, many: str | None = None) -> str:
    """`1 face`, `2,000 faces`, `3 people`. `many` is for more words than a noun, as in `1 is gone`, `2 are gone`."""
    return f"{number:,} {one if number == 1 else many or _PLURALS.get(one, f'{one}s')}"
