"""Pairs of one's own: a CSV with two paths and a label a line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import (
    Framing,
    ListedPair,
    PairList,
    build_pair_list,
    read_lines,
    refuse_line,
)
from lightface.evaluation.pictures import FilePicture
from lightface.words import count_of

_SAME = frozenset({"1", "same", "true", "yes"})
_DIFFERENT = frozenset({"0", "-1", "different", "false", "no"})
_LABELS = "write 1 or same, 0 or different"


def read_pairs_csv(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read lines of `path_a,path_b,same`; a first line that has no label is taken for the header.

    Relative paths are sought in `images`, or beside the list. The label is 1 or 0, same or different, true or false.
    EvaluationError names the line of anything else.
    """
    return build_pair_list(
        "pairs of a CSV file", path, _read_rows(path, path.parent if images is None else images), framing=framing
    )


def _read_rows(path: Path, images: Path) -> Iterator[ListedPair]:
    rows = csv.reader(read_lines(path), strict=True)
    first = True
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise refuse_line(path, rows.line_num, f"not CSV ({error})", "check the quotes") from error
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != 3:
            raise refuse_line(path, rows.line_num, count_of(len(cells), "column"), "give two paths and a label")
        label = _read_label(cells[2])
        if first and _is_header(cells):
            label = None
        elif label is None:
            raise refuse_line(path, rows.line_num, f"{cells[2]!r} is no label", _LABELS)
        first = False
        if label is not None:
            if not (cells[0] and cells[1]):
                raise refuse_line(path, rows.line_num, "a path is missing", "give two paths and a label")
            yield ListedPair(_picture(images, cells[0]), _picture(images, cells[1]), label)


def _is_header(cells: list[str]) -> bool:
    """Whether a first line names the columns: `same` is a label as well as a likely name of the third."""
    named_same = cells[2].lower() == "same" and not any(Path(cell).suffix for cell in cells[:2])
    return named_same or _read_label(cells[2]) is None


def _read_label(text: str) -> bool | None:
    word = text.lower()
    return True if word in _SAME else False if word in _DIFFERENT else None


def _picture(images: Path, name: str) -> FilePicture:
    if "\0" in name:
        raise EvaluationError(f"the path {name!r} cannot exist; check the list")
    return FilePicture(name, images / name)
