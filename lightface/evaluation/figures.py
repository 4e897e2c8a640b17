"""Scores of pairs, and the figures of a verification, each with its interval, or with the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightface.errors import EvaluationError
from lightface.evaluation.embed import EmbeddedPictures
from lightface.evaluation.pair_list import FOLD_COUNT, PairList, stratified_folds
from lightface.measurement.intervals import Figure, percentiles, resample, share_figure
from lightface.measurement.metrics import (
    FoldAccuracy,
    SourcedThreshold,
    equal_error_rate,
    impostors_needed,
    kfold_accuracy,
    roc_points,
    threshold_at_far,
)
from lightface.measurement.pairs import cosines_of_pairs
from lightface.records import BoolArray, FloatArray, IntArray
from lightface.words import count_of

FARS = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True, slots=True)
class TarAtFar:
    """The share of genuine pairs accepted where a false-accept rate is kept."""

    far: float  # not exceeded
    impostors_missing: int  # 0, or how many more pairs of different people it takes; then there are no figures
    threshold: Figure | None = None
    tar: Figure | None = None  # None where there are no pairs of one person, though the threshold is known
    tar_with_failures: float | None = None  # pairs lost to failed pictures counted as not accepted


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What a given threshold does."""

    used: SourcedThreshold
    far: Figure
    tar: Figure | None  # None where there are no pairs of one person


@dataclass(frozen=True, slots=True)
class VerificationFigures:
    """All that a set of scored pairs says. Without pairs of one person, that is what thresholds do to strangers."""

    genuine: int  # pairs scored
    impostors: int
    genuine_lost: int  # pairs with a failed picture
    impostors_lost: int
    accuracy: FoldAccuracy | None  # ten folds; None with fewer than ten pairs of a kind
    guessing: float  # the accuracy of always giving the more frequent answer
    equal_error_rate: Figure | None  # this and the area: None without pairs of one person
    area: Figure | None
    tar_at_far: tuple[TarAtFar, ...]
    at_thresholds: tuple[AtThreshold, ...]


def rate_text(rate: float) -> str:
    """`0.001` -> `1e-3`, `0.025` -> `0.025`."""
    mantissa, exponent = f"{rate:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}" if float(f"{rate:.0e}") == rate else f"{rate:g}"


def measure_pairs(
    pairs: ScoredPairs, *, thresholds: Sequence[SourcedThreshold] = (), fars: Sequence[float] = FARS
) -> VerificationFigures:
    """Figures of scored pairs. EvaluationError where there are no pairs of different people."""
    scores, same = pairs.scores, pairs.same
    impostors = int((~same).sum())
    if not impostors:
        raise EvaluationError("there are no impostor pairs, so nothing can be measured; add some")
    measurable = [far for far in fars if impostors >= impostors_needed(far)]
    # First the estimates, whose errors are plainer than the bootstrap's would be.
    rate, area = (equal_error_rate(scores, same), roc_points(scores, same).area) if same.any() else (None, None)
    drawn = resample(scores, same, pairs.people, fars=measurable, thresholds=[one.threshold for one in thresholds])
    tar_at_far = []
    for far in fars:
        if far in measurable:
            place = measurable.index(far)
            tar_at_far.append(_tar_at_far(pairs, far, drawn.threshold[:, place], drawn.tar[:, place], drawn.method))
        else:
            tar_at_far.append(TarAtFar(far, impostors_needed(far) - impostors))
    at_thresholds = []
    for place, used in enumerate(thresholds):
        passed = scores >= np.float64(used.threshold)
        far_figure = share_figure(passed[~same], drawn.far_at[:, place], drawn.method)
        tar_figure = share_figure(passed[same], drawn.tar_at[:, place], drawn.method) if same.any() else None
        at_thresholds.append(AtThreshold(used, far_figure, tar_figure))
    enough = min(impostors, scores.size - impostors) >= FOLD_COUNT
    return VerificationFigures(
        genuine=scores.size - impostors,
        impostors=impostors,
        genuine_lost=pairs.genuine_lost,
        impostors_lost=pairs.impostors_lost,
        accuracy=kfold_accuracy(scores, same, pairs.folds) if enough else None,
        guessing=max(impostors, scores.size - impostors) / scores.size,
        equal_error_rate=None if rate is None else percentiles(rate, drawn.equal_error_rate, drawn.method),
        area=None if area is None else percentiles(area, drawn.area, drawn.method),
        tar_at_far=tuple(tar_at_far),
        at_thresholds=tuple(at_thresholds),
    )


def _tar_at_far(pairs: ScoredPairs, far: float, thresholds: np.ndarray, tars: np.ndarray, method: str) -> TarAtFar:
    threshold = threshold_at_far(pairs.scores[~pairs.same], far)
    limit = percentiles(threshold, thresholds, method)
    if not pairs.same.any():
        return TarAtFar(far, impostors_missing=0, threshold=limit)
    accepted = pairs.scores[pairs.same] >= np.float64(threshold)
    return TarAtFar(
        far,
        impostors_missing=0,
        threshold=limit,
        tar=share_figure(accepted, tars, method),
        tar_with_failures=float(accepted.sum() / (accepted.size + pairs.genuine_lost)),
    )


# Scores of pairs, and what was lost because a picture failed.


MANY_REPEATS = 1_000_000
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
