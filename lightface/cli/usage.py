"""What is wrong with a command line, in one line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import typer

# What pydantic, by which typer converts, calls a value that is none of its kind.
_WANTED = {
    "float_parsing": "a number",
    "int_parsing": "a whole number",
    "bool_parsing": "true or false",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
}
_DATE = "a date, such as 2026-11-01, or with a time, 2026-11-01T18:30:00"


def describe_usage(error: typer.TyperException) -> str:
    """The problem, and the command whose help has the remedy."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lightface"
    theirs = error.format_message().rstrip(".")
    message = _describe_value(error) or f"{theirs[:1].lower()}{theirs[1:]}"
    return f"{message} (see '{command} --help')"


def _describe_value(error: typer.TyperException) -> str | None:
    """A value of the wrong kind, and where it was given; None for other errors."""
    param, cause = getattr(error, "param", None), error.__cause__
    if param is None or cause is None or not hasattr(cause, "errors"):
        return None
    found = cause.errors()[0]
    wanted = _WANTED.get(found["type"])
    if param.type_descriptor.annotation is datetime:
        wanted = _DATE
    if wanted is None:
        return None
    return f"{_source_of(param, error)} is {found['input']!r}; it must be {wanted.format(**found.get('ctx', {}))}"


def _source_of(param: Any, error: Any) -> str:
    """The name of the variable or option that gave the value."""
    source = error.ctx.get_parameter_source(param.name)
    if source is not None and source.name == "ENVIRONMENT":
        return str(param.envvar)
    return str(max(param.opts, key=len))
