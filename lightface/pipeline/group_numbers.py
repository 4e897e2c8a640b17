"""Numbers of groups that stay: a group keeps its number while photographs come and go, and people get known.

What the last run gave is kept in a small private file. A group takes the number of the earlier one with which it shares
most faces, and a new group takes a number that was never given.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from lightface.files import check_owned, make_folder, read_regular, write_private
from lightface.pipeline.cluster import FaceGroups, GroupedFace
from lightface.records import FloatArray

_log = logging.getLogger(__name__)

_SCHEMA_VERSION: Final = 1
_STEPS: Final = 64  # to which an embedding's numbers are rounded, since embedding again may change their last digits
_TOKEN_LENGTH: Final = 10
_TO_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")  # a spreadsheet takes no letters for a number


@dataclass(frozen=True, slots=True)
class GroupNumbers:
    """The numbers given so far."""

    last: int = 0  # the highest
    number_of_face: Mapping[str, int] = field(default_factory=dict)  # by `face_token`, those of faces gone since too


def face_token(one: GroupedFace) -> str:
    """Ten letters for a face: those of the same picture are equal, wherever it lies. 2^40 are told apart."""
    assert one.face.embedding is not None  # or it would be in no group
    rounded = np.round(one.face.embedding * _STEPS).astype(np.int8)
    return hashlib.sha256(rounded.tobytes()).hexdigest()[:_TOKEN_LENGTH].translate(_TO_LETTERS)


def number_groups(groups: FaceGroups, earlier: GroupNumbers) -> tuple[FaceGroups, GroupNumbers]:
    """The groups under the numbers that they had in an earlier run, and the numbers for the next one.

    A group is an earlier one where it has at least half of its faces, or at least half of its own are from there. Of
    several that would be one, those are chosen that share most faces in sum. The order of the groups stays.
    """
    tokens = [{face_token(one) for one in group} for group in groups.groups]
    given = _match(tokens, earlier.number_of_face)
    last = max([earlier.last, *earlier.number_of_face.values()])
    numbers = []
    for place in range(len(tokens)):
        if place not in given:
            last += 1
        numbers.append(given.get(place, last))
    numbered = tuple(
        tuple(replace(one, cluster=number) for one in group)
        for group, number in zip(groups.groups, numbers, strict=True)
    )
    of_faces = {token: number for group, number in zip(tokens, numbers, strict=True) for token in group}
    return replace(groups, groups=numbered), GroupNumbers(last, {**earlier.number_of_face, **of_faces})


def read_numbers(path: Path) -> GroupNumbers:
    """What `write_numbers` has kept; nothing where there is no such file. One that cannot be used is told."""
    try:
        check_owned(path)
        content = json.loads(read_regular(path))
        numbers = GroupNumbers(content["last"], content["faces"])
        if not all(type(number) is int and number > 0 for number in [numbers.last, *numbers.number_of_face.values()]):
            raise ValueError("a number of a group is none")
    except FileNotFoundError:
        return GroupNumbers()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("the numbers of groups in %s cannot be used (%s); numbers begin anew", path, error)
        return GroupNumbers()
    return numbers


def write_numbers(path: Path, numbers: GroupNumbers) -> None:
    """Keep the numbers for the next run, whole or not at all; where that fails, it is told."""
    content = {"schema_version": _SCHEMA_VERSION, "last": numbers.last, "faces": dict(numbers.number_of_face)}
    try:
        make_folder(path.parent)
        check_owned(path)
        with write_private(path) as file:
            file.write(json.dumps(content).encode())
    except (OSError, ValueError) as error:
        _log.warning("the numbers of groups cannot be kept in %s (%s); the next run may give others", path, error)


def _match(groups: Sequence[set[str]], number_of_face: Mapping[str, int]) -> dict[int, int]:
    """The earlier numbers of groups, by their place."""
    from scipy.optimize import linear_sum_assignment

    sizes = Counter(number_of_face.values())
    shared = {
        (place, number): count
        for place, group in enumerate(groups)
        for number, count in Counter(number_of_face[token] for token in group & number_of_face.keys()).items()
        if 2 * count >= min(len(group), sizes[number])
    }
    given: dict[int, int] = {}
    for pairs in _connected(list(shared)):
        places, numbers = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
        counts: FloatArray = np.zeros((len(places), len(numbers)), np.float32)
        for place, number in pairs:
            counts[places.index(place), numbers.index(number)] = shared[place, number]
        for row, column in zip(*linear_sum_assignment(counts, maximize=True), strict=True):
            if counts[row, column]:
                given[places[row]] = numbers[column]
    return given


def _connected(pairs: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Pairs that hang together: few each, so that no table of all groups against all numbers is made."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return
    rows, columns = np.array(pairs).T
    count = int(rows.max()) + 1
    shape = (count + int(columns.max()) + 1,) * 2
    links = coo_matrix((np.ones(len(pairs), np.bool_), (rows, columns + count)), shape=shape)
    labels = connected_components(links, directed=False)[1][rows].tolist()
    parts: dict[int, list[tuple[int, int]]] = {}
    for label, pair in zip(labels, pairs, strict=True):
        parts.setdefault(label, []).append(pair)
    yield from parts.values()
