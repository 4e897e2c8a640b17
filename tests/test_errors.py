from __future__ import annotations

import pytest

from lightface.errors import ImageError, LightfaceError


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("nothing is wrong", "nothing is wrong"),
        ("cannot read it (two\n  lines\n); look", "cannot read it (two lines ); look"),
        ("two  spaces of a name stay", "two  spaces of a name stay"),
        ("", ""),
    ],
)
def test_a_message_is_one_line(said: str, message: str) -> None:
    error = ImageError(said)
    assert str(error) == message
    assert isinstance(error, LightfaceError) and error.reason == "invalid_image"
