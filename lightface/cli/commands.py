"""Commands whose --help can be read at 80 columns, down to the longest option name, and which take nothing empty."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

_MAY_BE_EMPTY = frozenset({"agreed"})  # the note of `gallery consent`, which '' takes away


class ReadableCommand(TyperCommand):
    """Keeps the column of types narrow, for it takes its room from the names: choices stand in the help text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = re.sub(r"(?<!\n)\n(?!\n)", " ", self.help or "")  # the source's line ends are not the screen's
        for param in self.params:
            if isinstance(param, TyperOption) and param.metavar is None:
                choices = param.type_descriptor.choices
                if choices is not None:
                    param.help = f"{param.help} One of: {', '.join(map(str, choices))}."
                param.metavar = "" if param.is_flag else _metavar_of(param)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses an empty value, such as of a variable that is not set: as a path it would be the current folder."""
        given = {} if ctx.resilient_parsing else self.make_parser(ctx).parse_args(args=list(args))[0]
        for param in self.params:
            value = given.get(param.name)
            is_empty = value == "" or (isinstance(value, list | tuple) and "" in value)
            if is_empty and param.name not in _MAY_BE_EMPTY:
                is_option = isinstance(param, TyperOption)
                name = max(param.opts, key=len) if is_option else f"the argument {param.metavar}"
                ctx.fail(f"{name} is empty; give it a value, or leave it out")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What is required stands bare, as in every manual."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


class CommandApp(typer.Typer):
    """A typer.Typer of such commands."""

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        return super().command(name, **{"cls": ReadableCommand, **options})


def _metavar_of(option: TyperOption) -> str:
    annotation = option.type_descriptor.annotation
    if annotation in (int, float):
        return "N"
    return "WORD" if option.type_descriptor.choices is not None else "TEXT"
