"""What every protocol boils down to: pictures, and pairs of them that are of one person or of two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from lightface.errors import EvaluationError
from lightface.evaluation.all_pairs import pair_up
from lightface.evaluation.lists import read_lines as read_lines  # of lists in general, for who reads a list of pairs
from lightface.evaluation.lists import refuse_line as refuse_line
from lightface.evaluation.pictures import Picture
from lightface.faces import FaceSelection
from lightface.metrics import BoolArray, IntArray

FOLD_COUNT = 10


class Framing(StrEnum):
    """How the face comes into the network's frame."""

    DETECT = "detect"  # photographs: find the face, align it
    LIGHTCNN = "lightcnn"  # crops that are in LightCNN's frame already
    ARCFACE = "arcface"  # crops aligned to ArcFace's five points, as InsightFace ships them


@dataclass(frozen=True, slots=True)
class ListedPair:
    """One pair as a list has it."""

    a: Picture
    b: Picture
    same: bool
    fold: int | None = None  # where the list was published with folds


@dataclass(frozen=True, slots=True, eq=False)
class PairList:
    """The pairs of an evaluation. `a` and `b` (P,) are positions in `pictures`."""

    name: str  # of the protocol, for reports
    source: Path
    pictures: tuple[Picture, ...]
    a: IntArray
    b: IntArray
    same: BoolArray  # (P,)
    folds: IntArray  # (P,) 0..9: published ones, else both classes cut into ten equal runs
    people: IntArray  # (pictures,) equal for pictures of one person, as far as it is known
    person_names: tuple[str, ...]  # by the numbers in `people`; "" where the list has no name
    framing: Framing = Framing.DETECT
    selection: FaceSelection = FaceSelection.LARGEST
    knows_people: bool = False  # who is on each picture is known, so that people can be enrolled and looked for
    paired_up: bool = False  # the pairs are not listed: they are those of all pictures, or a sample of them

    @property
    def is_consistent(self) -> bool:
        """Whether no pair of different people is of one person by other pairs, which the bootstrap rests upon."""
        return bool(np.array_equal(self.people[self.a] == self.people[self.b], self.same))

    def within(self, inside: BoolArray) -> PairList:
        """The pairs of which both pictures are inside (pictures,). Pictures keep their positions.

        Where pairs are not listed they are drawn anew: a sample of all pairs has few of a small group.
        """
        if self.paired_up:
            rows = np.flatnonzero(inside)
            a, b, same = pair_up(self.people[rows])
            a, b = rows[a], rows[b]
        else:
            chosen = inside[self.a] & inside[self.b]
            a, b, same = self.a[chosen], self.b[chosen], self.same[chosen]
        return replace(self, a=a, b=b, same=same, folds=stratified_folds(same))

    def trimmed(self) -> PairList:
        """Without the pictures that no pair names."""
        rows, places = np.unique(np.concatenate([self.a, self.b]), return_inverse=True)
        pictures = tuple(self.pictures[row] for row in rows.tolist())
        return replace(
            self, pictures=pictures, people=self.people[rows], a=places[: self.a.size], b=places[self.a.size :]
        )


def build_pair_list(
    name: str,
    source: Path,
    pairs: Iterable[ListedPair],
    *,
    people: dict[Picture, str] | None = None,
    framing: Framing = Framing.DETECT,
    selection: FaceSelection = FaceSelection.LARGEST,
) -> PairList:
    """Number the pictures of listed pairs. `people` names who is on each; without it, pairs of one person tell.

    EvaluationError for a list without pairs of different people.
    """
    positions: dict[Picture, int] = {}
    a, b, same, folds = [], [], [], []
    for pair in pairs:
        a.append(positions.setdefault(pair.a, len(positions)))
        b.append(positions.setdefault(pair.b, len(positions)))
        same.append(pair.same)
        folds.append(-1 if pair.fold is None else pair.fold)
    labels = np.array(same, np.bool_)
    check_impostors(source, labels)
    rows_a, rows_b, published = (np.array(column, np.int64) for column in (a, b, folds))
    if people is None:
        numbers = _join_people(len(positions), rows_a[labels], rows_b[labels])
        names: tuple[str, ...] = ("",) * (int(numbers.max()) + 1)
    else:
        numbers, names = number_people([people[picture] for picture in positions])
    return PairList(
        name=name,
        source=source,
        pictures=tuple(positions),
        a=rows_a,
        b=rows_b,
        same=labels,
        folds=stratified_folds(labels) if (published < 0).any() else published,
        people=numbers,
        person_names=names,
        framing=framing,
        selection=selection,
    )


def check_impostors(source: Path, same: BoolArray) -> None:
    """EvaluationError unless there are pairs of different people: no figure exists without them."""
    if same.all():
        missing = "no pairs of different people" if same.size else "no pairs"
        raise EvaluationError(f"{source} has {missing}, so nothing can be measured; add some")


def number_people(names: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Numbers from 0 in order of first appearance, and the name of each number."""
    numbers: dict[str, int] = {}
    people = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    return people, tuple(numbers)


def stratified_folds(same: BoolArray) -> IntArray:
    """Ten folds (P,) that each have a tenth of both kinds of pairs, as equal runs in the order of the list."""
    folds = np.empty(same.size, np.int64)
    for kind in (same, ~same):
        count = int(kind.sum())
        folds[kind] = np.arange(count) * FOLD_COUNT // max(count, 1)
    return folds


def _join_people(count: int, a: IntArray, b: IntArray) -> IntArray:
    """Number the groups that pairs of one person join, (count,) from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    _, groups = connected_components(links, directed=False)
    numbers: IntArray = np.asarray(groups, np.int64)
    return numbers
