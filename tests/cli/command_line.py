"""The runner of the `cli` fixture, and what every trouble looks like."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

Cli = Callable[..., Result]


def assert_one_line(result: Result, *words: str) -> None:
    """Trouble, told in one line on stderr that holds `words`; nothing on stdout, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("lightface: ") and result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr
