"""Scores of pairs, and what was lost because a picture failed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightface.errors import EvaluationError
from lightface.evaluation.embed import EmbeddedPictures
from lightface.evaluation.pair_list import PairList, stratified_folds
from lightface.faces import FloatArray
from lightface.metrics import BoolArray, IntArray
from lightface.words import count_of

MANY_REPEATS = 1_000_000
_PAIRS_AT_ONCE = 1 << 16
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPairs:
    """The pairs (N,) of which both pictures have an embedding."""

    scores: FloatArray  # cosines
    same: BoolArray
    a: IntArray  # positions in the list's pictures
    b: IntArray
    folds: IntArray
    people: tuple[IntArray, IntArray] | None  # who is on either side; None where the list contradicts itself
    genuine_lost: int  # pairs of one person with a failed picture
    impostors_lost: int

    def pick(self, chosen: BoolArray, *, genuine_lost: int = 0, impostors_lost: int = 0) -> ScoredPairs:
        """Those of the pairs that are chosen (N,), in folds of their own, and as many lost ones as are given."""
        same = self.same[chosen]
        return ScoredPairs(
            scores=self.scores[chosen],
            same=same,
            a=self.a[chosen],
            b=self.b[chosen],
            folds=stratified_folds(same),  # the list's folds may hold a part of its pairs very unevenly
            people=None if self.people is None else (self.people[0][chosen], self.people[1][chosen]),
            genuine_lost=genuine_lost,
            impostors_lost=impostors_lost,
        )


def score_pairs(pairs: PairList, embedded: EmbeddedPictures) -> ScoredPairs:
    """Compare the pairs of a list. EvaluationError where failures leave no pair of a kind that it has."""
    scored = compare_pairs(pairs, embedded)
    for kind, words in ((False, "different people"), (True, "one person")):
        if (pairs.same == kind).any() and not (scored.same == kind).any():
            first = embedded.failures[0]
            raise EvaluationError(
                f"{len(embedded.failures):,} of {count_of(len(pairs.pictures), 'picture')} failed, "
                f"the first {first.name!r} ({first.message}), and no pairs of {words} are left to be measured"
            )
    return scored


def compare_pairs(pairs: PairList, embedded: EmbeddedPictures) -> ScoredPairs:
    """Compare the pairs of a list, of which none may be left."""
    scored = embedded.usable[pairs.a] & embedded.usable[pairs.b]
    a, b, same = pairs.a[scored], pairs.b[scored], pairs.same[scored]
    return ScoredPairs(
        scores=cosines_of_pairs(embedded.vectors, a, b),
        same=same,
        a=a,
        b=b,
        folds=pairs.folds[scored],
        people=(pairs.people[a], pairs.people[b]) if pairs.is_consistent else None,
        genuine_lost=int((pairs.same & ~scored).sum()),
        impostors_lost=int((~pairs.same & ~scored).sum()),
    )


def find_repeats(pairs: PairList, embedded: EmbeddedPictures, similarity: float) -> tuple[IntArray, IntArray]:
    """Pairs (R,), (R,) of pictures of different people that are at least so similar: the same person twice, perhaps.

    Where pairs are not listed, all pictures are compared, not only those of the sample. The search ends with
    `MANY_REPEATS`, as many as only a network finds that takes everybody for one.
    """
    if not pairs.paired_up:
        scored = compare_pairs(pairs, embedded)
        alike = ~scored.same & (scored.scores >= np.float64(similarity))
        return scored.a[alike], scored.b[alike]
    rows, found = np.flatnonzero(embedded.usable), []
    for start in range(0, rows.size, _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        cosines = embedded.vectors[some] @ embedded.vectors[rows[start:]].T
        a, b = np.nonzero(np.triu(cosines >= np.float64(similarity), k=1))
        a, b = some[a], rows[start:][b]
        differ = pairs.people[a] != pairs.people[b]
        found.append(np.stack([a[differ], b[differ]]))
        if sum(part.shape[1] for part in found) >= MANY_REPEATS:
            break
    a, b = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    return a, b


def cosines_of_pairs(vectors: FloatArray, a: IntArray, b: IntArray) -> FloatArray:
    """(P,) cosines of the unit rows at `a` and `b` (P,)."""
    scores = np.empty(a.size, np.float32)
    for start in range(0, a.size, _PAIRS_AT_ONCE):  # the gathered rows of all pairs would take gigabytes
        part = slice(start, start + _PAIRS_AT_ONCE)
        scores[part] = np.einsum("pd,pd->p", vectors[a[part]], vectors[b[part]])
    return np.clip(scores, -1, 1, out=scores)
