"""What every protocol boils down to: pictures, and pairs of them that are of one person or of two."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np

from lightface.crops import ShardReader
from lightface.errors import EvaluationError
from lightface.images import DEFAULT_MAX_PIXELS, Photo, decode_photo, hash_file, load_photo
from lightface.measurement.pairs import pair_up
from lightface.records import BoolArray, FaceSelection, IntArray
from lightface.tables.text_lists import read_lines as read_lines  # of lists in general, for who reads a list of pairs
from lightface.tables.text_lists import refuse_line as refuse_line

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


# The pictures of an evaluation: files, members of a zip, or bytes out of a packed list.
#
# Each has a name for reports and can be hashed without being decoded, so that what is cached is not decoded again.


class Picture(Protocol):
    """A picture that a list names. Hashable: equal pictures are embedded once."""

    @property
    def name(self) -> str:
        """What the list calls it."""
        ...

    def sha256(self) -> str:
        """Of its bytes, hexadecimal. ImageError where they cannot be read."""
        ...

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Decode it. ImageError as `images.load_photo`."""
        ...


@dataclass(frozen=True, slots=True)
class FilePicture:
    """A file of its own."""

    name: str
    path: Path

    def sha256(self) -> str:
        """Of the file."""
        return hash_file(self.path)

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Read and decode the file."""
        return load_photo(self.path, max_pixels=max_pixels, allow_truncated=allow_truncated)


@dataclass(frozen=True, slots=True)
class PackedPicture:
    """The bytes of a picture file that came in a larger one."""

    name: str
    data: bytes = field(repr=False)

    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Decode the bytes."""
        return _decode(self.name, self.data, max_pixels, allow_truncated)


@dataclass(frozen=True, slots=True)
class ShardPicture:
    """A member of a zip or tar, read when it is needed; or a file of its own, without a member."""

    name: str
    shards: ShardReader
    file: Path
    member: str | None

    def sha256(self) -> str:
        """Of the member's bytes."""
        return hashlib.sha256(self.shards.read(self.file, self.member)).hexdigest()

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Read and decode the member."""
        return _decode(self.name, self.shards.read(self.file, self.member), max_pixels, allow_truncated)


def _decode(name: str, data: bytes, max_pixels: int, allow_truncated: bool) -> Photo:
    image_rgb = decode_photo(data, name=name, max_pixels=max_pixels, allow_truncated=allow_truncated)
    return Photo(path=Path(name), sha256=hashlib.sha256(data).hexdigest(), image_rgb=image_rgb)
