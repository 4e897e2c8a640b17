"""The same figures for groups of people, and how far apart they lie."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightface.errors import EvaluationError
from lightface.evaluation.figures import FARS, NamedThreshold, VerificationFigures, measure_pairs, rate_text
from lightface.evaluation.intervals import Figure
from lightface.evaluation.pair_list import PairList, read_lines, refuse_line
from lightface.evaluation.scoring import ScoredPairs
from lightface.metrics import BoolArray
from lightface.words import count_of

_KEYS = ("path", "person")


@dataclass(frozen=True, slots=True)
class GroupTable:
    """What a CSV says of pictures or of people."""

    source: Path
    key: str  # "path" or "person"
    groups: Mapping[str, Mapping[str, str]]  # column -> key -> group; "" is no group


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Pairs of which both pictures are of one group."""

    group: str
    pictures: int
    figures: VerificationFigures | None  # None where pairs of one kind are missing
    genuine: int
    impostors: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a figure lies apart between the groups that have it."""

    figure: str
    lowest: float
    lowest_group: str
    highest: float
    highest_group: str

    @property
    def difference(self) -> float:
        """Highest less lowest."""
        return self.highest - self.lowest


@dataclass(frozen=True, slots=True)
class Grouping:
    """All groups of one column."""

    column: str
    groups: tuple[GroupFigures, ...]
    without_group: int  # pictures of which the table says nothing
    spreads: tuple[Spread, ...]


def read_groups(path: Path) -> GroupTable:
    """Read a CSV whose first column is `path` (of a picture, as listed) or `person`; each further one is a grouping.

    EvaluationError for anything else, with the line.
    """
    reader = csv.reader(read_lines(path))
    header = next(reader, [])
    if len(header) < 2 or header[0] not in _KEYS or len(set(header)) < len(header):
        raise refuse_line(
            path, 1, f"the columns are {', '.join(header) or 'none'}", "begin with path or person, then one a grouping"
        )
    groups: dict[str, dict[str, str]] = {column: {} for column in header[1:]}
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise refuse_line(path, reader.line_num, count_of(len(row), "column"), f"the header has {len(header)}")
        for column, cell in zip(header[1:], row[1:], strict=True):
            if groups[column].setdefault(row[0], cell.strip()) != cell.strip():
                raise refuse_line(path, reader.line_num, f"{row[0]!r} is in two groups of {column}", "keep one of them")
    return GroupTable(path, header[0], groups)


def measure_groups(
    pairs: PairList,
    usable: BoolArray,
    scored: ScoredPairs,
    table: GroupTable,
    *,
    thresholds: Sequence[NamedThreshold],
    fars: Sequence[float] = FARS,
) -> tuple[Grouping, ...]:
    """Figures by group: at each group's own thresholds, and at the `thresholds` that hold for all.

    `usable` (pictures,) tells the pictures that were embedded. EvaluationError where the table fits no picture.
    """
    keys = [picture.name for picture in pairs.pictures] if table.key == "path" else _names(pairs)
    if not any(key in column for column in table.groups.values() for key in keys):
        raise EvaluationError(
            f"{table.source} names no {table.key} of {pairs.source}, which begins with {keys[0]!r}; write them alike"
        )
    return tuple(
        _measure_column(pairs, usable, scored, name, np.array([column.get(key, "") for key in keys]), thresholds, fars)
        for name, column in table.groups.items()
    )


def _names(pairs: PairList) -> list[str]:
    return [pairs.person_names[person] for person in pairs.people.tolist()]


def _measure_column(
    pairs: PairList,
    usable: BoolArray,
    scored: ScoredPairs,
    column: str,
    group_of_picture: np.ndarray,
    thresholds: Sequence[NamedThreshold],
    fars: Sequence[float],
) -> Grouping:
    lost = ~(usable[pairs.a] & usable[pairs.b])
    groups = []
    for group in sorted(set(group_of_picture.tolist()) - {""}):
        inside = group_of_picture == group
        lost_here = lost & inside[pairs.a] & inside[pairs.b]
        chosen = scored.pick(
            inside[scored.a] & inside[scored.b],
            genuine_lost=int((lost_here & pairs.same).sum()),
            impostors_lost=int((lost_here & ~pairs.same).sum()),
        )
        genuine = int(chosen.same.sum())
        impostors = chosen.same.size - genuine
        figures = measure_pairs(chosen, thresholds=thresholds, fars=fars) if genuine and impostors else None
        groups.append(GroupFigures(group, int(inside.sum()), figures, genuine, impostors))
    without = int((group_of_picture == "").sum())
    return Grouping(column, tuple(groups), without, _measure_spreads(groups))


def _measure_spreads(groups: Sequence[GroupFigures]) -> tuple[Spread, ...]:
    """The spread of each figure that two groups or more have."""
    values: dict[str, list[tuple[float, str]]] = {}
    for group in groups:
        for name, figure in list_figures(group.figures).items() if group.figures else ():
            values.setdefault(name, []).append((figure.estimate, group.group))
    return tuple(Spread(name, *min(found), *max(found)) for name, found in values.items() if len(found) > 1)


def list_figures(figures: VerificationFigures) -> dict[str, Figure]:
    """Each figure that there is, by its name."""
    named = {"EER": figures.equal_error_rate, "AUC": figures.area}
    if figures.accuracy is not None:
        mean, reach = figures.accuracy.mean, figures.accuracy.standard_deviation
        named["10-fold accuracy"] = Figure(mean, mean - reach, mean + reach, "standard deviation between folds")
    named |= {f"TAR at FAR {rate_text(one.far)}": one.tar for one in figures.tar_at_far if one.tar is not None}
    for at in figures.at_thresholds:
        refused = Figure(1 - at.tar.estimate, 1 - at.tar.high, 1 - at.tar.low, at.tar.method)
        named |= {f"FAR at {at.used.threshold:.3f}": at.far, f"FRR at {at.used.threshold:.3f}": refused}
    return named
