"""Ask whoever sits at the terminal, if there is one."""

from __future__ import annotations

import sys

import typer

from lightface.errors import ConfigError
from lightface.words import visible


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the answer is yes, or was given before. ConfigError where nobody can be asked."""
    if yes:
        return
    if not is_terminal():
        raise ConfigError("nobody can be asked, since stdin is no terminal; give --yes")
    typer.confirm(visible(question), abort=True, err=True)
