"""Results on stdout: lines and tables for people, JSON for programs. No other file writes there.

Names of files and people, metadata and the like may hold what moves the cursor or hides: lines and tables show it as
`words.visible` writes it, JSON holds it as escapes.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table

from lightface.cli.inputs import STANDARD_STREAM
from lightface.errors import ConfigError
from lightface.words import visible

_UNBOUNDED = 10_000  # columns: what goes into a pipe or a file is never folded


def print_line(text: str = "") -> None:
    """One line, whatever the text holds."""
    print(visible(text))


def print_text(text: str) -> None:
    """Several lines, whose breaks are meant."""
    for line in text.split("\n"):
        print_line(line)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table without lines; None is a dash."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("-" if cell is None else visible(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _UNBOUNDED
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().rstrip("\n").split("\n"):
        print(line.rstrip(" "))


def print_json(value: object) -> None:
    """One JSON document: records by their fields, paths and dates as texts.

    A byte ff of a file name that is no UTF-8 is "\\udcff", which Python reads as the name that `open` takes.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False)
    print("\n".join(map(_escape, text.split("\n"))))


def print_file(path: Path) -> None:
    """A table, or an export: byte by byte for programs; at a terminal a line a row, of CSV or JSON Lines."""
    if not sys.stdout.isatty():
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        return
    with path.open(encoding="utf-8", newline="") as written:
        if path.suffix == ".csv":
            shown = csv.writer(sys.stdout, lineterminator="\n")
            shown.writerows([visible(cell) for cell in row] for row in csv.reader(written))
        else:
            for line in written:
                print(_escape(line.rstrip("\n")))


def explain(path: Path, error: Exception | str) -> str:
    """What is wrong with a photograph, in a line that names it."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


class TableOutput:
    """Where a table is written: the named file, or a private one that `finish` copies to stdout.

    ConfigError where a format is named that contradicts the file's suffix.
    """

    def __init__(self, output: Path, format: str | None) -> None:
        if output == STANDARD_STREAM and format in ("parquet", "npz") and sys.stdout.isatty():
            raise ConfigError(f"--format {format} is not for a terminal; redirect stdout to a file or a program")
        if output != STANDARD_STREAM and format not in (None, output.suffix.lower().removeprefix(".")):
            raise ConfigError(f"--format {format} does not fit {output}; files say their format by their suffix")
        self._is_stdout = output == STANDARD_STREAM
        self._output = output
        self._suffix = f".{format or 'csv'}"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._is_stdout:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lightface-"))
            self._output = Path(folder, f"stdout{self._suffix}")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def path(self) -> Path:
        """The file to write."""
        return self._output

    def finish(self) -> None:
        """Hand over what was written, where that is to stdout."""
        if self._is_stdout:
            print_file(self._output)


def _escape(line: str) -> str:
    """A line of JSON in which what does not show is an escape of JSON's."""
    if visible(line) == line:
        return line
    return "".join(letter if visible(letter) == letter else json.dumps(letter)[1:-1] for letter in line)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {known.name: _plain(getattr(value, known.name)) for known in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value  # numpy's arrays and numbers
