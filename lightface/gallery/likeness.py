"""Who resembles whom in a gallery, and whether new faces are somebody else's.

Everywhere `vectors` (S, D) are unit rows sorted by person and `person_index` (S,) holds 0..K-1, each person with at
least one row, as in a `GalleryMatrix`. A person is represented by their template, the normalised mean of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lightface.clustering import cluster_vectors
from lightface.gallery.gallery import Gallery
from lightface.gallery.records import name_key
from lightface.matching import is_same
from lightface.records import FloatArray, IntArray

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


# Whether new faces are somebody else's: each is compared as `identify` compares, with the templates of people.
#
# All new faces that are looked at together are sorted out together, so that it matters little who comes first: a
# stray among Ada's photographs is found by Bo's, though Bo is enrolled after her. Of 25 people, half of whose
# photographs are enrolled, 94 % of the others are refused under somebody else's name, 96 % under a new one, none
# under the right one; of all 199 at once, two (`pytest -s tests/pipeline/test_audit_people.py`).


_NEAREST = 2  # people for each face, of whom one may be the person whose face it is to be


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else whom a face resembles."""

    person_name: str
    similarity: float  # cosine to that person's template


def find_conflicts(
    gallery: Gallery, newcomers: Mapping[str, FloatArray], *, threshold: float
) -> dict[str, list[Conflict | None]]:
    """For each new unit row (N, D) of each name whom else it resembles; None for a row that may be enrolled.

    A face is somebody else's where their template reaches `threshold` (cosine) and is nearer than the person's own.
    The template is made of the samples that are enrolled or, for a new person, of the largest part of their new faces
    that are alike. A new person whose part reaches the threshold with somebody, on average, is that person once more,
    and no face of the part may be enrolled; of two such newcomers, the second is.
    """
    faces = {name: rows for name, rows in newcomers.items() if len(rows)}
    main = {name: np.flatnonzero(find_parts(rows, threshold=threshold) == 0) for name, rows in faces.items()}
    templates = _Templates()
    templates.add_enrolled(gallery, faces, main)
    found: dict[str, list[Conflict | None]] = {name: [None] * len(rows) for name, rows in newcomers.items()}
    for name, rows in faces.items():
        if templates.has(name):
            main[name] = np.empty(0, np.int64)  # whose template has none of these faces
        elif repeated := templates.find_alike(name, rows[main[name]], threshold):
            for place, conflict in zip(main[name].tolist(), repeated, strict=True):
                found[name][place] = conflict
        else:
            templates.add(name, rows[main[name]].sum(axis=0))
    for name, rows in faces.items():
        for place, row in enumerate(rows):
            if found[name][place] is None:
                found[name][place] = templates.find_nearer(name, row, threshold, is_part=place in main[name])
    return found


class _Templates:
    """The people with whom new faces are compared."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._totals: dict[str, FloatArray] = {}  # sums of unit rows, by name key
        self._rows: FloatArray | None = None  # (K, D) unit rows, made of these when they are needed

    def add_enrolled(self, gallery: Gallery, faces: Mapping[str, FloatArray], main: Mapping[str, IntArray]) -> None:
        """The enrolled people who are nearest to the new faces, and those whose faces they are to be."""
        if not faces or gallery.is_empty:
            return
        means = [_unit_template(rows[main[name]].sum(axis=0)) for name, rows in faces.items()]
        near = gallery.matrix_near(np.concatenate([*faces.values(), np.stack(means)]), _NEAREST)
        for index, person in enumerate(near.people):
            self.add(person.name, near.vectors[near.person_index == index].sum(axis=0))
        for name in faces:
            known = None if self.has(name) else gallery.find_person(name)
            samples = [] if known is None else gallery.samples(known.id)
            if samples:
                self.add(name, np.sum([sample.vector for sample in samples], axis=0))

    def has(self, name: str) -> bool:
        return name_key(name) in self._totals

    def add(self, name: str, total: FloatArray) -> None:
        self._names.append(name)
        self._totals[name_key(name)] = total
        self._rows = None

    def find_alike(self, name: str, rows: FloatArray, threshold: float) -> list[Conflict] | None:
        """Whom the faces of a new person resemble on average, as a conflict for each; None where there is nobody."""
        others, scores = self._compare(name, rows)
        if not others:
            return None
        best = int(scores.mean(axis=0).argmax())
        if not is_same(scores[:, best].mean(), threshold):
            return None
        return [Conflict(others[best], similarity) for similarity in scores[:, best].tolist()]

    def find_nearer(self, name: str, row: FloatArray, threshold: float, *, is_part: bool) -> Conflict | None:
        """Whom a face resembles more than the person whose it is to be; `is_part`: their template has it within."""
        others, scores = self._compare(name, row[np.newaxis])
        if not others:
            return None
        best = int(scores[0].argmax())
        total = self._totals.get(name_key(name))
        own = -1.0 if total is None else float(_unit_template(total - row if is_part else total) @ row)
        if not is_same(scores[0, best], threshold) or own >= scores[0, best]:
            return None
        return Conflict(others[best], float(scores[0, best]))

    def _compare(self, name: str, rows: FloatArray) -> tuple[list[str], FloatArray]:
        """The names of others (K), and the cosines (N, K) of the rows to their templates."""
        if not self._names:
            return [], np.zeros((len(rows), 0), np.float32)
        if self._rows is None:
            self._rows = np.stack([_unit_template(total) for total in self._totals.values()])
        is_other = np.array([key != name_key(name) for key in self._totals])
        others = [known for known, other in zip(self._names, is_other.tolist(), strict=True) if other]
        return others, np.clip(rows @ self._rows[is_other].T, -1, 1)


def _unit_template(total: FloatArray) -> FloatArray:
    """A sum as a row of length 1; zeros where it cancels out."""
    length = float(np.linalg.norm(total))
    return np.asarray(total / length if length > 1e-6 else np.zeros_like(total), np.float32)
