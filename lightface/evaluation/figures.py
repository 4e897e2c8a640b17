"""The figures of a verification, each with its interval, or with the reason why it cannot be given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightface.errors import LightfaceError
from lightface.evaluation.intervals import Figure, percentiles, resample, share_figure
from lightface.evaluation.pair_list import FOLD_COUNT
from lightface.evaluation.scoring import ScoredPairs
from lightface.metrics import (
    FoldAccuracy,
    equal_error_rate,
    impostors_needed,
    kfold_accuracy,
    roc_points,
    threshold_at_far,
)

FARS = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True, slots=True)
class NamedThreshold:
    """A threshold that somebody uses, and where it comes from."""

    threshold: float  # cosine
    source: str


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

    used: NamedThreshold
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
    pairs: ScoredPairs, *, thresholds: Sequence[NamedThreshold] = (), fars: Sequence[float] = FARS
) -> VerificationFigures:
    """Figures of scored pairs. LightfaceError where there are no pairs of different people."""
    scores, same = pairs.scores, pairs.same
    impostors = int((~same).sum())
    if not impostors:
        raise LightfaceError("there are no impostor pairs, so nothing can be measured; add some")
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
