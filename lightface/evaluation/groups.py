"""The same figures for groups of people, and how far apart they lie.

A grouping is a column of a table of the user's, or several crossed: `sex` has the groups female and male, `sex+age`
cells such as `female, 30-49`. Nothing here guesses what anybody is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightface.errors import EvaluationError
from lightface.evaluation.embed import EmbeddedPictures
from lightface.evaluation.figures import FARS, VerificationFigures, compare_pairs, measure_pairs, rate_text
from lightface.evaluation.pair_list import PairList, check_impostors
from lightface.measurement.intervals import Figure
from lightface.measurement.metrics import SourcedThreshold, impostors_needed
from lightface.records import BoolArray
from lightface.tables.text_lists import ListRow, parse_csv, read_lines, refuse_line
from lightface.words import count_of

_KEYS = ("path", "person")
_MAX_GROUPS = 50  # of a grouping that nobody asked for: an age in years makes a hundred groups of few pictures each
_SPREAD_PAIRS = impostors_needed(FARS[0])  # of different people: a group with fewer is no extreme, but chance

Crossing = tuple[str, ...]  # the columns of a grouping


@dataclass(frozen=True, slots=True)
class GroupTable:
    """What a CSV says of pictures or of people."""

    source: Path
    key: str  # "path" or "person"
    groups: Mapping[str, Mapping[str, str]]  # column -> key -> group; "" is no group

    def find_crossing(self, text: str) -> Crossing:
        """The grouping that a text names: a column, or several joined by +. EvaluationError for no column."""
        columns = (text,) if text in self.groups else tuple(text.split("+"))
        for column in columns:
            if column not in self.groups:
                known = ", ".join(self.groups)
                raise EvaluationError(f"{self.source} has no column {column!r} to group by; choose from {known}")
        return columns

    def pick(self, pairs: PairList, group: Mapping[str, str]) -> PairList:
        """The pairs within the group that has these values in these columns.

        EvaluationError for no column, and for a group without pairs of different people.
        """
        inside = np.ones(len(pairs.pictures), np.bool_)
        for column, value in group.items():
            labels = self.labels(pairs, self.find_crossing(column))
            if value not in labels:
                known = ", ".join(_groups_of(labels)) or "none"
                raise EvaluationError(f"{self.source} has no group {value!r} of {column}; choose from {known}")
            inside &= labels == value
        picked = pairs.within(inside)
        check_impostors(pairs.source, picked.same)
        return picked.trimmed()

    def labels(self, pairs: PairList, crossing: Crossing) -> np.ndarray:
        """The group of each picture (pictures,); "" where a column says nothing of it.

        EvaluationError where the table fits no picture.
        """
        keys = [picture.name for picture in pairs.pictures] if self.key == "path" else _names(pairs)
        columns = [self.groups[column] for column in crossing]
        if not any(key in column for column in columns for key in keys):
            raise EvaluationError(
                f"{self.source} names no {self.key} of {pairs.source}, which begins with {keys[0]!r}; write them alike"
            )
        cells = [[column.get(key, "") for column in columns] for key in keys]
        return np.array([", ".join(cell) if all(cell) else "" for cell in cells])


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Pairs of which both pictures are of one group."""

    group: str
    pictures: int
    figures: VerificationFigures | None  # None where there are no pairs of different people
    genuine: int
    impostors: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a figure lies apart between the groups that have it, of those with enough pairs."""

    figure: str
    lowest: float
    lowest_group: str
    highest: float
    highest_group: str
    factor: float | None  # highest by lowest, of an error rate; None for other figures, and where the lowest is 0
    factor_at_least: float | None  # the lower end of the highest's interval by the upper end of the lowest's

    @property
    def difference(self) -> float:
        """Highest less lowest."""
        return self.highest - self.lowest


@dataclass(frozen=True, slots=True)
class Grouping:
    """All groups of one column, or of several crossed, which are joined by +."""

    column: str
    groups: tuple[GroupFigures, ...]
    too_many: int  # 0, or how many groups there would be; they were not asked for, and not measured
    without_group: int  # pictures of which the table says nothing
    spreads: tuple[Spread, ...]


def read_groups(path: Path) -> GroupTable:
    """Read a CSV whose first column is `path` (of a picture, as listed) or `person`; each further one is a grouping.

    EvaluationError for anything else, with the line.
    """
    rows = parse_csv(path, read_lines(path))
    header = list(next(rows, ListRow(1, ())).cells)
    if len(header) < 2 or header[0] not in _KEYS or len(set(header)) < len(header):
        raise refuse_line(
            path, 1, f"the columns are {', '.join(header) or 'none'}", "begin with path or person, then one a grouping"
        )
    groups: dict[str, dict[str, str]] = {column: {} for column in header[1:]}
    for row in rows:
        key, *cells = row.cells
        if len(row.cells) != len(header):
            raise refuse_line(path, row.line, count_of(len(row.cells), "column"), f"the header has {len(header)}")
        for column, cell in zip(header[1:], cells, strict=True):
            if groups[column].setdefault(key, cell.strip()) != cell.strip():
                raise refuse_line(path, row.line, f"{key!r} is in two groups of {column}", "keep one of them")
    return GroupTable(path, header[0], groups)


def measure_groups(
    pairs: PairList,
    embedded: EmbeddedPictures,
    table: GroupTable,
    *,
    by: Sequence[Crossing] = (),
    thresholds: Sequence[SourcedThreshold],
    fars: Sequence[float] = FARS,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Grouping, ...]:
    """Figures by group: at each group's own thresholds, and at the `thresholds` that hold for all.

    `by` says which groupings; without it, these are each column and the cells of all columns, as far as they have not
    too many groups. `progress` hears how many groups are done, of how many. EvaluationError where the table fits no
    picture.
    """
    found = {crossing: table.labels(pairs, crossing) for crossing in by or [(column,) for column in table.groups]}
    several = {crossing: labels for crossing, labels in found.items() if 1 < len(_groups_of(labels)) <= _MAX_GROUPS}
    if not by and len(several) > 1:
        cells = tuple(column for (column,) in several)
        found[cells] = table.labels(pairs, cells)
    counts = {crossing: len(_groups_of(labels)) for crossing, labels in found.items()}
    measured = [crossing for crossing, count in counts.items() if by or count <= _MAX_GROUPS]
    numbers, total = itertools.count(1), sum(counts[crossing] for crossing in measured)

    def count_group() -> None:
        if progress is not None:
            progress(next(numbers), total)

    return tuple(
        _measure_grouping(pairs, embedded, crossing, labels, thresholds, fars, count_group)
        if crossing in measured
        else Grouping("+".join(crossing), (), counts[crossing], int((labels == "").sum()), ())
        for crossing, labels in found.items()
    )


def _names(pairs: PairList) -> list[str]:
    return [pairs.person_names[person] for person in pairs.people.tolist()]


def _groups_of(labels: np.ndarray) -> list[str]:
    """The groups, numbers in their own order."""
    groups: list[str] = sorted(set(labels.tolist()) - {""})
    return sorted(groups, key=int) if all(group.isdecimal() for group in groups) else groups


def _measure_grouping(
    pairs: PairList,
    embedded: EmbeddedPictures,
    crossing: Crossing,
    labels: np.ndarray,
    thresholds: Sequence[SourcedThreshold],
    fars: Sequence[float],
    count_group: Callable[[], None],
) -> Grouping:
    groups = []
    for group in _groups_of(labels):
        inside: BoolArray = labels == group
        scored = compare_pairs(pairs.within(inside), embedded)
        genuine = int(scored.same.sum())
        impostors = scored.same.size - genuine
        figures = measure_pairs(scored, thresholds=thresholds, fars=fars) if impostors else None
        groups.append(GroupFigures(group, int(inside.sum()), figures, genuine, impostors))
        count_group()
    return Grouping("+".join(crossing), tuple(groups), 0, int((labels == "").sum()), _measure_spreads(groups))


def _measure_spreads(groups: Sequence[GroupFigures]) -> tuple[Spread, ...]:
    """The spread of each figure that two groups or more have, and enough pairs for it."""
    values: dict[str, list[tuple[float, str, Figure]]] = {}
    for group in groups:
        if group.figures is not None and group.impostors >= _SPREAD_PAIRS:
            for name, figure in list_figures(group.figures).items():
                values.setdefault(name, []).append((figure.estimate, group.group, figure))
    return tuple(_measure_spread(name, found) for name, found in values.items() if len(found) > 1)


def _measure_spread(name: str, found: Sequence[tuple[float, str, Figure]]) -> Spread:
    lowest, lowest_group, low = min(found, key=lambda one: one[:2])
    highest, highest_group, high = max(found, key=lambda one: one[:2])
    is_error = name.startswith(("EER", "FAR", "FRR"))
    return Spread(
        figure=name,
        lowest=lowest,
        lowest_group=lowest_group,
        highest=highest,
        highest_group=highest_group,
        factor=highest / lowest if is_error and lowest else None,
        factor_at_least=high.low / low.high if is_error and low.high else None,
    )


def list_figures(figures: VerificationFigures) -> dict[str, Figure]:
    """Each figure that there is, by its name."""
    named: dict[str, Figure] = {}
    if figures.equal_error_rate is not None and figures.area is not None:
        named |= {"EER": figures.equal_error_rate, "AUC": figures.area}
    if figures.accuracy is not None:
        mean, reach = figures.accuracy.mean, figures.accuracy.standard_deviation
        named["10-fold accuracy"] = Figure(mean, mean - reach, mean + reach, "standard deviation between folds")
    for one in figures.tar_at_far:
        if one.tar is not None:
            named[f"TAR at FAR {rate_text(one.far)}"] = one.tar
        elif one.threshold is not None:  # nothing but the threshold is known of strangers
            named[f"cosine at FAR {rate_text(one.far)}"] = one.threshold
    for at in figures.at_thresholds:
        named[f"FAR at {at.used.threshold:.3f}"] = at.far
        if at.tar is not None:
            refused = Figure(1 - at.tar.estimate, 1 - at.tar.high, 1 - at.tar.low, at.tar.method)
            named[f"FRR at {at.used.threshold:.3f}"] = refused
    return named
