"""Which group of people each crop is of, and how often each group is seen.

The groups come from a table of labels beside the crops. They decide what is trained on how often, and nothing else.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightface.crops import CropEntry
from lightface.errors import TrainingError
from lightface.files import open_text
from lightface.records import IntArray
from lightface.training.config import DataSettings, GroupColumn, GroupSettings

ShareArray = npt.NDArray[np.float64]

UNLABELLED = 0  # the cell of crops that the table does not name, or not in every column

_MAX_DIGITS = 16  # of a row

# Of random streams: what is drawn for one purpose says nothing of what is drawn for another.
_PASSES, _GROUPED = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The combination of labels that each crop has."""

    numbers: IntArray  # (N,) into `names`
    names: tuple[tuple[str, ...], ...]  # the labels of each cell, sorted; none for UNLABELLED


def read_cells(settings: DataSettings, entries: Sequence[CropEntry], sizes: Sequence[int]) -> Cells:
    """The cells of the crops of all data folders, by the tables of the recipe.

    TrainingError, with the row, for a table that cannot be read or names what is not there.
    """
    assert settings.groups is not None
    labels: list[tuple[str, ...]] = [()] * len(entries)
    start = 0
    for table, folder, size in zip(settings.find_files(settings.groups.table), settings.folders, sizes, strict=True):
        if table is not None:
            crops = _CropKeys(folder, entries[start : start + size])
            for row, found in _read_table(table, crops, settings.groups.columns):
                if labels[start + row] not in ((), found):
                    raise TrainingError(f"{table.name} has two cells for row {row} of {folder.name}; leave one out")
                labels[start + row] = found
        start += size
    names = tuple(sorted(set(labels) | {()}))
    numbers = {name: number for number, name in enumerate(names)}
    return Cells(np.array([numbers[found] for found in labels], np.int64), names)


def _read_table(path: Path, crops: _CropKeys, columns: Sequence[GroupColumn]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The row of each crop that has all labels, and these."""
    try:
        with open_text(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            missing = [column.name for column in columns if column.name not in header]
            if missing:
                raise TrainingError(f"{path.name} has no column {missing[0]!r}; it has: {', '.join(header)}")
            if "row" not in header and not {"shard", "name"} <= set(header):
                raise TrainingError(f"{path.name} names no crops; give it a column row, or shard and name")
            for number, row in enumerate(reader):
                found = tuple(_find_label(row, column, f"{path.name}: row {number}") for column in columns)
                place = crops.find(row, f"{path.name}: row {number}")
                if all(found):
                    yield place, found
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"cannot read the table of groups {path} ({error})") from error


def _find_label(row: Mapping[str, str | None], column: GroupColumn, where: str) -> str:
    text = (row[column.name] or "").strip()
    if not (text and column.bounds):
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise TrainingError(f"{where} has {text!r} as {column.name}; its bounds need numbers")
    band = bisect_right(column.bounds, number)
    return f"from {column.bounds[band - 1]:g}" if band else f"under {column.bounds[0]:g}"


class _CropKeys:
    """Finds the crops of one data folder by what a table calls them."""

    def __init__(self, folder: Path, entries: Sequence[CropEntry]) -> None:
        if entries[0].member is None:
            raise TrainingError(f"a table of groups needs crops in shards, with an index, and {folder} has none")
        self._folder, self._count = folder, len(entries)
        self._rows = {(entry.file, entry.member): row for row, entry in enumerate(entries)}

    def find(self, row: Mapping[str, str | None], where: str) -> int:
        if "row" in row:
            text = row["row"] or ""
            is_row = text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS and int(text) < self._count
            if not is_row:
                raise TrainingError(
                    f"{where} names row {text[:_MAX_DIGITS]!r}, and {self._folder.name} has {self._count:,} crops"
                )
            return int(text)
        shard, name = row["shard"] or "", row["name"] or ""
        place = self._rows.get((self._folder / shard, name))
        if place is None:
            raise TrainingError(f"{where} names {shard}/{name}, which is no crop of {self._folder.name}")
        return place


def find_shares(cells: Cells, rows: IntArray, settings: GroupSettings) -> ShareArray:
    """(C,) how much of what is seen is of each cell, adding to 1.

    The labelled cells have equal shares, or those of the recipe, up to `most_repeats` times what they would have
    without groups; what a cell cannot take goes to the others, at last to the unlabelled. `rows` (T,) are trained on.
    TrainingError when none of them has labels, or the recipe names a cell that there is not.
    """
    counts = np.bincount(cells.numbers[rows], minlength=len(cells.names)).astype(np.float64)
    labelled = counts[1:].sum() / len(rows)
    if not labelled:
        raise TrainingError("no crop that is trained on has labels in the table of groups; name the table of this data")
    rest = 1.0 if not counts[UNLABELLED] else labelled if settings.labelled_share is None else settings.labelled_share
    weights = (counts > 0).astype(np.float64)
    weights[UNLABELLED] = 0
    for cell in settings.cells:
        if cell.labels not in cells.names:
            known = "; ".join(", ".join(name) for name in cells.names[1:4])
            raise TrainingError(f"no crop is of the group {', '.join(cell.labels)!r}; there are such as: {known}")
        weights[cells.names.index(cell.labels)] *= cell.share
    most = settings.most_repeats * counts / len(rows)
    shares = np.zeros(len(counts))
    while weights.any():
        wanted = rest * weights / weights.sum()
        full = (wanted > most) & (weights > 0)
        if not full.any():
            shares += wanted
            break
        shares[full] = most[full]
        weights[full] = 0
        rest -= most[full].sum()
    shares[UNLABELLED] = max(0.0, 1 - shares.sum())
    return shares


class GroupedOrder:
    """The order of each epoch, in which every cell has its share.

    A cell's crops are gone through in passes, each in an order of its own, so that all are seen alike often. What is
    drawn follows from the seed and the position in the run alone.
    """

    def __init__(self, cells: Cells, rows: IntArray, settings: GroupSettings, *, seed: int) -> None:
        """`rows` (T,) of the crops are trained on; places count among them."""
        self._seed, self._grouped = seed, settings.grouped_batches
        numbers = cells.numbers[rows]
        self._members = [np.flatnonzero(numbers == cell) for cell in range(len(cells.names))]
        self._shares = find_shares(cells, rows, settings)
        self._draws = _round_to(len(rows), self._shares)

    def draw_epoch(self, epoch: int) -> IntArray:
        """(T,) the places that an epoch sees, some of them several times."""
        drawn = [self._draw(cell, epoch * int(count), int(count)) for cell, count in enumerate(self._draws)]
        places: IntArray = np.random.default_rng([self._seed, epoch]).permutation(np.concatenate(drawn))
        return places

    def gather(self, places: IntArray, *, epoch: int, offset: int) -> IntArray:
        """The places of a batch: those given or, now and then, first of all those of one cell, as far as it goes."""
        generator = np.random.default_rng([self._seed, _GROUPED, epoch, offset])
        if generator.random() >= self._grouped:
            return places
        shares = self._shares[1:] / self._shares[1:].sum()
        members = self._members[1 + generator.choice(len(shares), p=shares)]
        chosen = generator.permutation(members)[: len(places)]
        return np.concatenate([chosen, places[len(chosen) :]])

    def _draw(self, cell: int, start: int, count: int) -> IntArray:
        """The next `count` of the endless passes through a cell, after `start` of them."""
        members = self._members[cell]
        drawn: list[IntArray] = [np.zeros(0, np.int64)]
        while count:
            number, offset = divmod(start, len(members))
            order = np.random.default_rng([self._seed, _PASSES, cell, number]).permutation(members)
            part = order[offset : offset + count]
            drawn.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(drawn)


def _round_to(total: int, shares: ShareArray) -> IntArray:
    """Whole numbers in the proportion of `shares` that add to `total`."""
    exact = shares * total
    counts = np.floor(exact).astype(np.int64)
    most_wronged = np.argsort(counts - exact, kind="stable")
    counts[most_wronged[: total - counts.sum()]] += 1
    return counts
