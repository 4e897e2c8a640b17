"""Text lists that people write, or spreadsheets save: what is in them, and where the files lie that they name.

Lists are UTF-8, or UTF-16 with a byte order mark, as Excel saves "Unicode Text". What is no UTF-8 may be names as the
file system has them, or Windows-1252, as older versions of Excel save: the spelling of which there is a file is taken.
Cells are separated by commas, semicolons or tabs.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lightface.errors import EvaluationError
from lightface.files import open_regular, read_list_bytes
from lightface.locations import RemotePath, to_path
from lightface.tables.rows import unprotect_cell
from lightface.words import count_of, decode_text

_log = logging.getLogger(__name__)

SAME: Final = frozenset({"1", "same", "true", "yes"})
DIFFERENT: Final = frozenset({"0", "-1", "different", "false", "no"})

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DELIMITERS: Final = (",", ";", "\t")
_ROWS_LOOKED_UP: Final = 20  # to tell which separator is meant, where several could be

# Headings, in lower case and without blanks and signs: path_a, Image 1, left_file, photo ...
_NOUNS: Final = "path|file|filename|name|image|img|im|photo|photograph|picture|pic|face|foto|bild|datei|fichier|imagen"
_SIDES: Final = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"), ("one", "two"), ("x", "y"))
_LABELS: Final = frozenset({"same", "issame", "label", "match", "ismatch", "target", "genuine", "sameperson"})


@dataclass(frozen=True, slots=True)
class ListRow:
    """The cells of a row, and the line it ends in, from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamedPair:
    """A row that names two photographs."""

    line: int
    name_a: str  # as the list has it
    name_b: str
    path_a: Path  # where the file is
    path_b: Path
    label: str  # "" where there is none


def refuse_line(source: Path, number: int, problem: str, remedy: str) -> EvaluationError:
    """The error for line `number` (from 1) of a list."""
    return EvaluationError(f"{source}, line {number}: {problem}; {remedy}")


def read_lines(path: Path) -> list[str]:
    """The lines of a text list with their ends. EvaluationError where it cannot be read."""
    return _split_lines(decode_list(path, read_list(path)))


def read_list(path: Path, *, remedy: str = "check the path") -> bytes:
    """The bytes of a list. EvaluationError where they cannot be read, or have no end to speak of."""
    try:
        with open_regular(path) as file:
            return read_list_bytes(file)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise EvaluationError(f"cannot read the list {path} ({reason}); {remedy}") from error


def parse_csv(source: Path, lines: Sequence[str], **options: Any) -> Iterator[ListRow]:
    """The rows of a CSV that are not empty. EvaluationError, with the line, for what is none."""
    reader = csv.reader(lines, **options)
    try:
        for cells in reader:
            if cells:
                yield ListRow(reader.line_num, tuple(cells))
    except csv.Error as error:
        raise refuse_line(source, reader.line_num, f"not CSV ({error})", "check the quotes") from error


def decode_list(source: Path, data: bytes) -> str:
    """The text of a list; bytes that are no UTF-8 as `os.fsdecode` has them. EvaluationError for what is no text."""
    mark, encoding = next((one for one in _MARKS if data.startswith(one[0])), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{source} is no text in UTF-16; save it again, as CSV UTF-8") from error
    if "\0" in text:
        raise EvaluationError(f"{source} is not a text; give the list itself, saved as CSV UTF-8")
    return text


def read_named_pairs(source: Path, data: bytes, folders: Sequence[Path], *, labelled: bool) -> list[NamedPair]:
    """The pairs of a list of two paths a line, or under headings such as path_a,path_b or img1,img2.

    Further columns need headings; of a list that is `labelled`, one says same or different, the third where there are
    none. Relative paths are sought in `folders`, in their order; what is not in the first is told in a warning.
    EvaluationError for what is no such list, with the line.
    """
    places = _Places(folders)
    rows = _split_rows(source, decode_list(source, data), places)
    if not rows:
        return []
    columns = _find_columns(source, rows, places, labelled=labelled)
    pairs = [_name_pair(source, row, columns, places) for row in rows[columns.first_row :]]
    places.tell(source)
    return pairs


@dataclass(frozen=True, slots=True)
class _Columns:
    a: int
    b: int
    label: int | None
    first_row: int  # 1 after a row of headings
    width: int  # of each row; empty cells may follow


def _find_columns(source: Path, rows: Sequence[ListRow], places: _Places, *, labelled: bool) -> _Columns:
    cells = [cell.strip() for cell in rows[0].cells]
    width = len(cells)
    is_data = any(places.has(cell) for cell in cells[:2])
    third_is_label = width == 3 and is_label(cells[2]) and (cells[2].lower() != "same" or _has_suffix(cells[:2]))
    sides = None if is_data or (labelled and third_is_label) else _find_headings(cells)
    if sides is not None:
        return _Columns(*sides, _find_label(source, cells, sides) if labelled else None, 1, width)
    if labelled:
        if width == 3 and not third_is_label and not is_data and not _has_suffix(cells[:2]):
            return _Columns(0, 1, 2, 1, 3)
        return _Columns(0, 1, 2, 0, 3)
    if width == 3 and all(len(row.cells) == 3 and is_label(row.cells[2]) for row in rows):
        return _Columns(0, 1, None, 0, 3)
    if width > 2:
        raise EvaluationError(
            f"{source} has {width} columns and no headings path_a and path_b; name the two columns so, "
            "or give two paths a line"
        )
    if not is_data and not _has_suffix(cells) and any(_has_suffix(row.cells[:2]) for row in rows[1:]):
        raise refuse_line(
            source,
            rows[0].line,
            f"{','.join(cells)!r} is neither two photographs nor known headings",
            "name the columns path_a,path_b, or leave the line out",
        )
    return _Columns(0, 1, None, 0, 2)


def _name_pair(source: Path, row: ListRow, columns: _Columns, places: _Places) -> NamedPair:
    cells, last = row.cells, max(columns.a, columns.b, columns.label or 0)
    has_others = any(cell.strip() for cell in cells[columns.width :])
    if has_others or len(cells) <= last:
        what = "two paths" if columns.label is None else "two paths and a label"
        raise refuse_line(source, row.line, count_of(len(cells), "column"), f"give {what}, as in the other lines")
    if not (cells[columns.a].strip() and cells[columns.b].strip()):
        raise refuse_line(source, row.line, "a path is missing", "there must be two paths, as in a.jpg,b.jpg")
    (name_a, path_a), (name_b, path_b) = places.find(cells[columns.a]), places.find(cells[columns.b])
    label = "" if columns.label is None else cells[columns.label].strip()
    return NamedPair(row.line, name_a, name_b, path_a, path_b, label)


def is_label(cell: str) -> bool:
    """Whether a cell says same or different."""
    return cell.strip().lower() in SAME | DIFFERENT


def _find_headings(cells: Sequence[str]) -> tuple[int, int] | None:
    """The columns of the two paths, where a row holds headings."""
    words = [re.sub(r"[\W_]", "", cell.lower()) for cell in cells]
    for one, other in _SIDES:
        found = [
            [place for place, word in enumerate(words) if re.fullmatch(rf"(?:{_NOUNS})*{side}(?:{_NOUNS})*", word)]
            for side in (one, other)
        ]
        if all(found):
            return found[0][0], found[1][0]
    plain = [place for place, word in enumerate(words) if re.fullmatch(rf"(?:{_NOUNS})+", word)]
    return (plain[0], plain[1]) if len(plain) == 2 else None


def _find_label(source: Path, cells: Sequence[str], sides: tuple[int, int]) -> int:
    others = [place for place in range(len(cells)) if place not in sides]
    named = [place for place in others if re.sub(r"[\W_]", "", cells[place].lower()) in _LABELS]
    if len(named) != 1 and len(others) != 1:
        raise refuse_line(source, 1, "no column is named same", "name the one so that says same or different")
    return (named or others)[0]


def _has_suffix(cells: Sequence[str]) -> bool:
    return any(Path(cell).suffix for cell in cells)


# --- rows -------------------------------------------------------------------------------------------


def _split_lines(text: str) -> list[str]:
    """At the ends of lines alone: str.splitlines would split names at U+2028 and others, too."""
    return list(io.StringIO(text, newline=""))


def _split_rows(source: Path, text: str, places: _Places) -> list[ListRow]:
    """The rows that are not empty, by the separator under which most of them name files."""
    lines = _split_lines(text)
    declared = re.fullmatch(r'"?sep=(.)"?\s*', lines[0], re.IGNORECASE) if lines else None  # as Excel writes it
    if declared:
        lines[0] = lines[0][len(lines[0].rstrip("\r\n")) :]
    candidates: list[tuple[tuple[bool, int], list[ListRow]]] = []
    errors: list[EvaluationError] = []
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return []
    for delimiter in (declared[1],) if declared else _DELIMITERS:
        if delimiter not in first and first.count('"') % 2 == 0:  # else the line goes on after a break in quotes
            continue
        try:
            rows = list(_parse(source, lines, delimiter))
        except EvaluationError as error:
            errors.append(error)
            continue
        if rows and len(rows[0].cells) > 1:
            is_even = len({len(row.cells) for row in rows}) == 1
            found = sum(sum(map(places.has, row.cells)) for row in rows[:_ROWS_LOOKED_UP])
            candidates.append(((is_even, found), rows))
    if not candidates:
        number = next((place for place, line in enumerate(lines, start=1) if line.strip()), 1)
        raise errors[0] if errors else refuse_line(source, number, "there are no two paths", "write a.jpg,b.jpg")
    return max(candidates, key=lambda one: one[0])[1]  # of equals, the first


def _parse(source: Path, lines: Sequence[str], delimiter: str) -> Iterator[ListRow]:
    # A quote after a blank is a quote; a blank without one may belong to the name.
    quoted = re.compile(rf'{re.escape(delimiter)} +"')
    blanks = any(map(quoted.search, lines))
    for row in parse_csv(source, lines, delimiter=delimiter, skipinitialspace=blanks, strict=True):
        if any(cell.strip() for cell in row.cells):
            yield row


# --- files ------------------------------------------------------------------------------------------


class _Places:
    """Where the files are that cells name."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list({os.path.realpath(folder): folder for folder in reversed(folders)}.values())[::-1]
        self._looked_up: dict[str, tuple[str, list[Path]]] = {}  # name and files by cell
        self._found: dict[str, list[Path]] = {}  # files by name, of what is a pair

    def has(self, cell: str) -> bool:
        return bool(cell.strip()) and os.path.isfile(self._look(cell)[1][0])

    def find(self, cell: str) -> tuple[str, Path]:
        """The name, in the spelling of which there is a file, and the path."""
        name, paths = self._look(cell)
        self._found[name] = paths
        return name, paths[0]

    def tell(self, source: Path) -> None:
        """What the user may not have meant."""
        first, *others = [str(folder.absolute()) for folder in self._folders]
        for what, names in (
            (f"not in {first!r}, and taken from {' or '.join(map(repr, others))}", self._elsewhere()),
            (f"in two folders, and taken from {first!r}", self._ambiguous()),
            ("a URL, and not fetched: only what you name yourself is", self._urls()),
        ):
            if names:
                count = count_of(len(names), "path is", "paths are")
                _log.warning("%s: %s %s, as %s", source, count, what, names[0])

    def _look(self, cell: str) -> tuple[str, list[Path]]:
        """The name, and the files that have it in the order of the folders; where there is none, its place."""
        if cell not in self._looked_up:
            spellings = _spell(cell)
            for name in spellings:
                paths = [folder / name for folder in self._folders if os.path.exists(folder / name)]
                if paths:
                    self._looked_up[cell] = name, paths
                    break
            else:
                self._looked_up[cell] = spellings[-1], [self._folders[0] / spellings[-1]]
        return self._looked_up[cell]

    def _elsewhere(self) -> list[str]:
        first = self._folders[0]
        return [name for name, (path, *_) in self._found.items() if path != first / name]

    def _ambiguous(self) -> list[str]:
        return [name for name, paths in self._found.items() if any(not paths[0].samefile(path) for path in paths[1:])]

    def _urls(self) -> list[str]:
        return [name for name in self._found if isinstance(to_path(name), RemotePath)]


def _spell(cell: str) -> list[str]:
    """What a cell may mean: itself, without blanks around it, as our tables write names, as older Excel writes them."""
    spellings = [cell, cell.strip(), decode_text(unprotect_cell(cell))]
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        windows = cell.strip().encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        spellings += [] if "\ufffd" in windows else [windows]
    else:
        spellings.append(cell.strip())  # which is told where there is no file
    return [name for name in spellings if name]
