"""The file in which a person writes names beside numbers of groups: a CSV for spreadsheets and editors.

It is UTF-8 with the mark by which spreadsheets know that, and texts that they would run are written as
`rows.protect_cell` does. What comes back may be separated by commas, semicolons or tabs, or be UTF-16.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lightface.errors import EvaluationError, OutputError, TableError
from lightface.files import check_place, open_regular, read_list_bytes, write_private
from lightface.tables.rows import protect_cell, unprotect_cell
from lightface.tables.text_lists import ListRow, decode_list, parse_csv
from lightface.words import decode_text, encode_text

# `face` says which of the faces on the example it is; `check` holds the group's faces, see `NameRow.tokens`.
NAME_COLUMNS: Final = ("group", "name", "faces", "photographs", "example", "face", "note", "check")
_NEEDED: Final = ("group", "name", "check")
_DELIMITERS: Final = (",", ";", "\t")
_LARGEST_NUMBER: Final = 10**9


@dataclass(frozen=True, slots=True)
class NameRow:
    """A group, and the name that a person wrote for it."""

    number: int  # the group's
    name: str = ""  # "": none yet
    faces: int = 0
    photographs: int = 0
    example: str = ""  # path of a photograph with one of the most typical faces
    face: str = ""  # which of the faces on it
    note: str = ""  # what is to be known of an earlier name
    tokens: tuple[str, ...] = ()  # of the group's faces, the most typical first: what the name is said of
    line: int = 0  # of the file, from 1


@dataclass(frozen=True, slots=True)
class NamesFile:
    """What was read of a names file; `data` is None where there was none."""

    rows: tuple[NameRow, ...] = ()
    data: bytes | None = None


def check_names_output(path: Path) -> None:
    """Raise OutputError now for a names file that could not be written later."""
    if path.suffix.lower() != ".csv":
        raise OutputError(f"names are written as CSV, and {path.name!r} is none; end its name in .csv")
    try:
        check_place(path)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror}, or choose another place") from error


def read_names(path: Path) -> NamesFile:
    """The rows of a names file. TableError for what is none, with the line."""
    data = _read(path)
    if data is None:
        return NamesFile()
    try:
        text = decode_list(path, data)
        if any("\udc80" <= letter <= "\udcff" for letter in text):
            raise TableError(f"{path} is not UTF-8, and names would be garbled; save it as CSV UTF-8")
        rows = _split(path, text)
    except EvaluationError as error:
        raise TableError(str(error)) from error
    if not rows:
        raise TableError(f"{path} is empty; delete it, and it is written anew")
    headings = [cell.strip().lower() for cell in rows[0].cells]
    while headings and not headings[-1]:
        headings.pop()
    missing = [column for column in _NEEDED if column not in headings]
    strange = [heading for heading in headings if heading not in NAME_COLUMNS]
    if missing or strange or len(set(headings)) < len(headings):
        what = f"no column {missing[0]!r}" if missing else f"a column {(strange or headings)[0]!r} that is not of it"
        raise TableError(
            f"{path} has {what}, so it is no file of names; its columns are {','.join(NAME_COLUMNS)}; "
            "mend it, or name another file"
        )
    found = [_to_row(path, row, headings) for row in rows[1:]]
    return NamesFile(tuple(row for row in found if row is not None), data)


def write_names(path: Path, rows: Iterable[NameRow], was: NamesFile) -> None:
    """Write the file anew, whole or not at all. OutputError where that fails, or the file is not what `was` read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(NAME_COLUMNS)
    for row in rows:
        texts = (row.example, row.face, row.note, " ".join(row.tokens))
        name, *others = (protect_cell(encode_text(one)) for one in (row.name, *texts))
        writer.writerow((row.number, name, row.faces, row.photographs, *others))
    check_names_output(path)
    if _read(path) != was.data:
        raise OutputError(f"{path} was changed meanwhile, and is left as it is; run the command again")
    try:
        with write_private(path) as file:
            file.write(text.getvalue().encode("utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {str(path)!r} ({reason}); what lay there before is as it was") from error


def _read(path: Path) -> bytes | None:
    try:
        with open_regular(path) as file:
            return read_list_bytes(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise TableError(f"cannot read the names in {path} ({reason}); check the path") from error


def _split(path: Path, text: str) -> list[ListRow]:
    lines = list(io.StringIO(text, newline=""))
    delimiter = ","
    if lines and lines[0].strip().strip('"').lower().startswith("sep="):  # as Excel writes it
        delimiter = lines[0].strip().strip('"')[4:] or "\t"
        lines[0] = "\n"
    elif lines:
        delimiter = max(_DELIMITERS, key=lines[0].count)
    rows = parse_csv(path, lines, delimiter=delimiter, strict=True)
    return [row for row in rows if any(cell.strip() for cell in row.cells)]


def _to_row(path: Path, row: ListRow, headings: list[str]) -> NameRow | None:
    if any(cell.strip() for cell in row.cells[len(headings) :]):
        raise TableError(f"{path}, line {row.line}: more cells than columns; put a name with commas in double quotes")
    cells = dict(zip(headings, row.cells, strict=False))
    name = decode_text(unprotect_cell(cells.get("name", "").strip())).strip()
    numbers = [_to_number(cells.get(column, "")) for column in ("group", "faces", "photographs")]
    if numbers[0] is None:
        if not name:
            return None
        raise TableError(f"{path}, line {row.line}: the group {cells.get('group', '')!r} is no number; write it again")
    number, faces, photographs = (one or 0 for one in numbers)
    example, face, note = (decode_text(unprotect_cell(cells.get(column, ""))) for column in ("example", "face", "note"))
    tokens = tuple(cells.get("check", "").split())
    return replace(NameRow(number, name, faces, photographs, example, face, note.strip(), tokens), line=row.line)


def _to_number(cell: str) -> int | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() and 0 < value < _LARGEST_NUMBER else None
