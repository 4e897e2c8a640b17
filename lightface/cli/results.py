"""Results on stdout: lines and tables for people, JSON for programs. No other file writes there.

Names of files and people, metadata and the like may hold what moves the cursor or hides: lines and tables show it as
`words.visible` writes it, JSON holds it as escapes.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table

from lightface import files
from lightface.cli.inputs import STANDARD_STREAM
from lightface.errors import ConfigError, OutputError
from lightface.locations import RemotePath
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
    from lightface.records import to_plain  # needs numpy

    text = json.dumps(to_plain(value), ensure_ascii=False, indent=2, allow_nan=False)
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


# Where results go: never over what they are made of; one picture for one photograph, a folder for several.


WRITABLE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def plan_pictures(destination: Path, named: Sequence[Path], photos: Sequence[Path], *, option: str) -> dict[Path, Path]:
    """Where the picture drawn of each photograph goes, of those that were found in what the user `named`.

    A destination with a picture's suffix is one file. Any other is a folder, in which the pictures have the names of
    `name_below`; it is made when the first is written. ConfigError where a picture would replace a photograph, or one
    file is to take several.
    """
    if destination.suffix.lower() in WRITABLE_SUFFIXES and not destination.is_dir():
        if len(photos) > 1:
            raise ConfigError(f"{option} {destination} is one picture for {len(photos)} photographs; name a folder")
        planned = dict.fromkeys(photos, destination)
    else:
        planned = {photo: destination / name for photo, name in _picture_names(name_below(named, photos)).items()}
    refuse_to_replace(photos, planned.values(), option=option)
    return planned


def refuse_to_replace(inputs: Iterable[Path], outputs: Iterable[Path], *, option: str) -> None:
    """ConfigError where a result would be written over what it is made of."""
    originals = {os.path.realpath(path) for path in inputs if not isinstance(path, RemotePath)}
    for path in outputs:
        if os.path.realpath(path) in originals:
            raise ConfigError(f"{option} would replace {path}, which it is made of; name another place")


def name_below(named: Sequence[Path], photos: Sequence[Path]) -> dict[Path, Path]:
    """A name for each photograph: its path below the folder that was `named`, or its own name.

    Of several folders each puts its own name before. Where two photographs would have one name, the next folder above
    is put before all, until none have.
    """
    roots = {os.path.abspath(one) for one in named}
    places = {photo: os.path.abspath(photo) for photo in photos}
    bases = {place: _find_base(place, roots) for place in places.values()}
    names = {place: os.path.relpath(place, base) for place, base in bases.items()}
    while len(set(names.values())) < len(names):
        bases = {place: os.path.dirname(base) for place, base in bases.items()}
        names = {place: os.path.relpath(place, base) for place, base in bases.items()}
    return {photo: Path(names[place]) for photo, place in places.items()}


def _find_base(place: str, roots: Collection[str]) -> str:
    """The folder that a photograph's name begins below."""
    folder = next((folder for folder in map(str, Path(place).parents) if folder in roots), None)
    if folder is None:
        return os.path.dirname(place)
    return folder if len(roots) == 1 else os.path.dirname(folder)


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those above it, for its owner alone. OutputError where that fails."""
    try:
        files.make_folder(folder)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder} ({error.strerror}); choose another place") from error


def crop_names(named: Sequence[Path], photos: Sequence[Path]) -> dict[Path, Path]:
    """What the names of a photograph's crops begin with, as in `name_below`: without its suffix, where that is enough.

    Crops of a.jpg and a.png, in one folder, would have one name.
    """
    names = name_below(named, photos)
    shared = Counter(name.with_suffix("") for name in set(names.values()))
    return {photo: name if shared[name.with_suffix("")] > 1 else name.with_suffix("") for photo, name in names.items()}


def _picture_names(names: Mapping[Path, Path]) -> dict[Path, Path]:
    """Names with a suffix that can be written; a.heic beside a.heic.jpg gets one more."""
    taken = {name for name in names.values() if name.suffix.lower() in WRITABLE_SUFFIXES}
    planned = {}
    for photo, name in names.items():
        picture = name
        while picture.suffix.lower() not in WRITABLE_SUFFIXES or (picture != name and picture in taken):
            picture = picture.with_name(f"{picture.name}.jpg")
        taken.add(picture)
        planned[photo] = picture
    return planned
