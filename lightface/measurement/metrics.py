"""Figures of a verification: what a set of scored pairs says about a network and a threshold.

A pair has a score (a cosine; any number that is higher for the same person) and a label, `same`. Decisions
are inclusive: a pair is accepted when its score is at or above the threshold. FAR is the share of impostor
pairs (different people) that is accepted, TAR that of genuine pairs, FRR = 1 - TAR.

Each function raises EvaluationError for scores that are not finite and for a class without pairs, since no
figure exists for them. Scores keep their dtype (float32 will do), so that millions of impostor pairs cost
little more memory than they take already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightface.errors import EvaluationError
from lightface.records import BoolArray, IntArray

# With ten false accepts a rate is known to within a factor of two (95 %); with fewer it is a guess.
MIN_FALSE_ACCEPTS = 10
MIN_PEOPLE = 10  # pairs share people: thousands of pairs of three people say little of a fourth

Scores = npt.NDArray[np.floating]
FloatRow = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """All corners of the ROC curve, from nothing accepted to everything; straight lines join them."""

    thresholds: FloatRow  # (n,) falling, the first is inf
    far: FloatRow  # (n,) 0..1, never falling
    tar: FloatRow  # (n,) 0..1, never falling

    @property
    def area(self) -> float:
        """Area under the curve: how often a genuine pair scores above an impostor pair (ties count half)."""
        return float(np.trapezoid(self.tar, self.far))


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy in k folds, each at the threshold that was best for the others."""

    mean: float
    standard_deviation: float  # between the folds
    accuracies: tuple[float, ...]  # one a fold
    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SourcedThreshold:
    """A threshold that somebody uses, and where it comes from."""

    threshold: float  # cosine
    source: str


def roc_points(scores: Scores, same: BoolArray) -> RocCurve:
    """The ROC curve of scored pairs, `scores` and `same` both (N,).

    Only corners are kept: at each genuine score, and at the impostor score next above it. Between those the
    curve is level. There are thereby at most about two points a genuine pair, however many impostors.
    """
    genuine, impostors = _sorted_split(scores, same)
    steps = np.unique(genuine)
    above = np.searchsorted(impostors, steps, side="right")
    thresholds = np.unique(np.concatenate([steps, impostors[above[above < impostors.size]], impostors[:1]]))[::-1]
    accepted = (part.size - np.searchsorted(part, thresholds, side="left") for part in (genuine, impostors))
    tar, far = (np.concatenate([[0.0], counts]) / counts[-1] for counts in accepted)
    return RocCurve(np.concatenate([[np.inf], thresholds]).astype(np.float64), far, tar)


def equal_error_rate(scores: Scores, same: BoolArray) -> float:
    """The error rate where FAR equals FRR, 0..1, on the straight lines between the points of the ROC curve.

    LFW results that are published as an 'EER' accuracy are 1 minus this.
    """
    roc = roc_points(scores, same)
    return rate_where_equal(roc.far, roc.tar)


def rate_where_equal(far: FloatRow, tar: FloatRow) -> float:
    """The error rate where FAR equals FRR on a ROC curve (n,) from nothing accepted to everything."""
    excess = far + tar - 1  # FAR - FRR: from -1 to 1, never falling
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def threshold_at_far(impostor_scores: Scores, far: float) -> float:
    """The lowest threshold at which at most `far` (0 <= far < 1) of the impostors (N,) are accepted.

    Tied scores stay together, so that the measured FAR is never above `far`. With fewer than 1 / far
    impostors it lies just above the highest of them and says little: report their number beside it.
    """
    if not 0 <= far < 1:
        raise EvaluationError(f"a false-accept rate must be at least 0 and below 1, not {far}")
    impostors = _checked(impostor_scores, "impostor")
    admitted = int(far * impostors.size)
    # The product is rounded; only the quotient, as it will be measured, decides.
    while (admitted + 1) / impostors.size <= far:
        admitted += 1
    while admitted / impostors.size > far:
        admitted -= 1
    highest_refused = np.partition(impostors, impostors.size - 1 - admitted)[impostors.size - 1 - admitted]
    # The next number of the scores' own type: a finer step would be lost when they are compared.
    return float(np.nextafter(highest_refused, impostors.dtype.type(np.inf)))


def impostors_needed(far: float) -> int:
    """Pairs of different people that it takes to measure a false-accept rate."""
    return math.ceil(round(MIN_FALSE_ACCEPTS / far, 6))  # 10 / 1e-3 is not quite 10,000


def tar_at_far(scores: Scores, same: BoolArray, far: float) -> float:
    """Share of genuine pairs accepted at `threshold_at_far`, 0..1; `scores` and `same` both (N,)."""
    genuine, impostors = _split(scores, same)
    return accept_rate(genuine, threshold_at_far(impostors, far))


def accept_rate(scores: Scores, threshold: float) -> float:
    """Share of `scores` (N,) at or above `threshold`: the FAR of impostors, the TAR of genuine pairs."""
    # A float64 threshold is compared as such; as a Python float it would be rounded to float32 scores.
    return float(np.mean(_checked(scores, "scored") >= np.float64(threshold)))


def kfold_accuracy(scores: Scores, same: BoolArray, fold_of_pair: IntArray | None = None) -> FoldAccuracy:
    """Accuracy under LFW's protocol: each fold is decided at the threshold that suits the other folds best.

    `scores` and `same` (N,) are in the list's order; `fold_of_pair` (N,) holds the fold of each, by default
    ten equal runs, as LFW's pairs.txt is written. (Huang et al., Labeled Faces in the Wild, 2007, View 2.)
    """
    _split(scores, same)
    if fold_of_pair is None:
        fold_of_pair = np.arange(scores.size, dtype=np.int64) * 10 // scores.size
    folds = np.unique(fold_of_pair)
    if fold_of_pair.shape != scores.shape or len(folds) < 2:
        raise EvaluationError("a cross-validated accuracy needs the fold of each pair, and two folds or more")
    thresholds = [_best_threshold(scores[fold_of_pair != fold], same[fold_of_pair != fold]) for fold in folds]
    accuracies = [
        float(np.mean((scores[fold_of_pair == fold] >= np.float64(threshold)) == same[fold_of_pair == fold]))
        for fold, threshold in zip(folds, thresholds, strict=True)
    ]
    return FoldAccuracy(float(np.mean(accuracies)), float(np.std(accuracies)), tuple(accuracies), tuple(thresholds))


def _best_threshold(scores: Scores, same: BoolArray) -> float:
    """The threshold of highest accuracy, midway between the scores it parts; the highest of several."""
    genuine, impostors = _sorted_split(scores, same)
    values = np.append(np.unique(scores).astype(np.float64), np.inf)[::-1]  # inf: nothing is accepted
    accepted_genuine = genuine.size - np.searchsorted(genuine, values, side="left")
    refused_impostors = np.searchsorted(impostors, values, side="left")
    best = int(np.argmax(accepted_genuine + refused_impostors))
    accepted, refused = values[best], values[min(best + 1, values.size - 1)]
    middle = (accepted + refused) / 2
    return float(middle if middle > refused else accepted)  # between neighbouring numbers there is no middle


def _sorted_split(scores: Scores, same: BoolArray) -> tuple[Scores, Scores]:
    genuine, impostors = _split(scores, same)
    genuine.sort()  # in place, for they are copies already
    impostors.sort()
    return genuine, impostors


def _split(scores: Scores, same: BoolArray) -> tuple[Scores, Scores]:
    """The genuine and the impostor scores."""
    if scores.shape != same.shape or same.dtype != np.bool_:
        raise EvaluationError(f"{scores.shape} scores need as many true or false labels, not {same.shape}")
    return _checked(scores[same], "genuine"), _checked(scores[~same], "impostor")


def _checked(scores: Scores, kind: str) -> Scores:
    if scores.ndim != 1 or scores.size == 0:
        raise EvaluationError(f"there are no {kind} pairs, so nothing can be measured; add some")
    if not np.isfinite(scores).all():
        raise EvaluationError(f"some {kind} pairs have no finite score; leave failed photographs out first")
    return scores
