"""Who resembles whom in a gallery: the products behind an audit, in blocks, so that memory does not grow with S x S.

Everywhere `vectors` (S, D) are unit rows sorted by person and `person_index` (S,) holds 0..K-1, each person with at
least one row, as in a `GalleryMatrix`. A person is represented by their template, the normalised mean of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightface.clustering import cluster_vectors
from lightface.faces import FloatArray
from lightface.gallery.records import IntArray

# Samples of one person fall into two parts where the mean cosine between these is below this share of the threshold,
# which was chosen on the training crops with identities. In galleries of 18 people of 2, 3, 5 or 8 photographs, six of
# them with a stranger among these, an audit names 86, 89, 90 and 87 % of the strangers; and 86, 84, 75 and 70 % of the
# people whom it lists are of the six (`pytest -s tests/pipeline/test_audit_people.py`, which plants other cases, too).
_UNLIKE_SHARE = 0.5

_ROWS_AT_ONCE = 1024
_COLUMNS_AT_ONCE = 8192  # 32 MB of float32 cosines a block
_MOST_TOGETHER = 4000  # samples of one person: 64 MB of cosines


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """Each sample against its own person without it, and against the most similar other person."""

    own: FloatArray  # (S,) cosine to the template of the person's other samples; NaN where there are none
    other: FloatArray  # (S,) cosine to the other person's template; -inf where there is nobody else
    other_person: IntArray  # (S,) 0..K-1


@dataclass(frozen=True, slots=True, eq=False)
class LikePairs:
    """The most similar of the pairs that were found, falling."""

    pairs: IntArray  # (N, 2)
    similarities: FloatArray  # (N,) cosines
    total: int  # how many were found, with those that are left out here


def leave_out(vectors: FloatArray, person_index: IntArray) -> LeftOut:
    """Compare each sample with everybody's templates, its own person's made without it."""
    sums, counts = _sum_up(vectors, person_index)
    templates = _unit(sums)
    own = np.full(len(vectors), np.nan, np.float32)
    other = np.full(len(vectors), -np.inf, np.float32)
    other_person = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = vectors[start : start + _ROWS_AT_ONCE]
        people = person_index[start : start + _ROWS_AT_ONCE]
        part, numbers = slice(start, start + len(rows)), np.arange(len(rows))
        scores = rows @ templates.T
        scores[numbers, people] = -np.inf
        other_person[part] = scores.argmax(axis=1)
        other[part] = scores[numbers, other_person[part]]
        without = np.einsum("sd,sd->s", rows, _unit(sums[people] - rows))
        own[part] = np.where(counts[people] > 1, without, np.nan)
    return LeftOut(own, other, other_person)


def find_parts(vectors: FloatArray, *, threshold: float) -> IntArray:
    """Sort the unit rows (N, D) of one person into parts that do not resemble each other: (N,) 0 for the largest.

    Of equal parts, the one of the earliest row comes first. By average linkage: parts stay apart whose mean cosine lies
    below half of `threshold`, the cosine from which two faces are one person. More than 4,000 rows are not compared.
    """
    limit = max(threshold, 0) * _UNLIKE_SHARE
    if len(vectors) > _MOST_TOGETHER or (vectors @ vectors.T).min(initial=1) >= np.float64(limit):
        return np.zeros(len(vectors), np.int64)  # no mean is lower than the least
    return cluster_vectors(vectors, threshold=limit)


def find_like_people(vectors: FloatArray, person_index: IntArray, *, at_least: float, limit: int) -> LikePairs:
    """Pairs of people (0..K-1) whose samples resemble each other's template, on average, by `at_least` both ways.

    The average cosine of A's samples to B's template is the length of A's mean times the cosine of the two templates.
    """
    sums, counts = _sum_up(vectors, person_index)
    lengths = (np.linalg.norm(sums, axis=1) / counts).astype(np.float32)
    best = _Best(limit)
    for rows, columns, scores in _blocks(_unit(sums)):
        scores *= np.minimum(lengths[rows, None], lengths[None, columns])
        best.add(rows.start, columns.start, scores, at_least)
    return best.ranked()


def find_like_samples(vectors: FloatArray, *, at_least: float, limit: int) -> LikePairs:
    """Pairs of samples (0..S-1), whosever they are, whose cosine is at least `at_least`."""
    best = _Best(limit)
    for rows, columns, scores in _blocks(vectors):
        best.add(rows.start, columns.start, scores, at_least)
    return best.ranked()


class _Best:
    """The `limit` most similar of all pairs that are added."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._pairs = np.empty((0, 2), np.int64)
        self._similarities = np.empty(0, np.float32)

    def add(self, first_row: int, first_column: int, scores: FloatArray, at_least: float) -> None:
        """Take the pairs of a block that are similar enough; a pair is met once, and none with itself."""
        # As float64: compared with float32 scores, a Python float would be rounded and admit values below it.
        rows, columns = np.nonzero(scores >= np.float64(at_least))
        similarities = scores[rows, columns]
        pairs = np.stack([rows + first_row, columns + first_column], axis=1)
        once = pairs[:, 0] < pairs[:, 1]
        self._total += int(once.sum())
        self._pairs = np.concatenate([self._pairs, pairs[once]])
        self._similarities = np.concatenate([self._similarities, similarities[once]])
        order = np.argsort(-self._similarities, kind="stable")[: self._limit]
        self._pairs, self._similarities = self._pairs[order], self._similarities[order]

    def ranked(self) -> LikePairs:
        return LikePairs(self._pairs, np.minimum(self._similarities, 1), self._total)


def _blocks(rows: FloatArray) -> Iterator[tuple[slice, slice, FloatArray]]:
    """The upper triangle of `rows` @ `rows`.T, block by block."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        upper = slice(start, start + _ROWS_AT_ONCE)
        for first in range(start, len(rows), _COLUMNS_AT_ONCE):
            right = slice(first, first + _COLUMNS_AT_ONCE)
            yield upper, right, rows[upper] @ rows[right].T


def _sum_up(vectors: FloatArray, person_index: IntArray) -> tuple[FloatArray, IntArray]:
    """(K, D) sums of each person's samples, (K,) their number."""
    _, first, counts = np.unique(person_index, return_index=True, return_counts=True)
    sums = np.add.reduceat(vectors, first, axis=0, dtype=np.float64).astype(np.float32)
    return sums, counts.astype(np.int64, copy=False)


def _unit(sums: FloatArray) -> FloatArray:
    """Rows of length 1; zeros where a row cancels out."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    rows: FloatArray = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 1e-6)
    return rows
