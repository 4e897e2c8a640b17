"""Error versus reject: what is gained where the faces of the lowest quality are turned away.

A pair is as good as the worse of its two faces, so turning away all faces below a quality leaves the pairs whose
lower quality reaches it. The thresholds stay those of all pairs, as they do for a user who begins to reject. (Grother
and Tabassi, Performance of biometric quality measures, 2007.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightface.evaluation.figures import FARS, ScoredPairs, rate_text
from lightface.measurement.intervals import Figure, percentiles, share_over_people, wilson
from lightface.measurement.metrics import (
    FloatRow,
    SourcedThreshold,
    equal_error_rate,
    impostors_needed,
    threshold_at_far,
)
from lightface.records import BoolArray, IntArray

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
WORST_TENTH = 0.1

_MIN_PAIRS = 10  # of either kind, or a point would be noise
_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class RejectPoint:
    """What is left, and how it errs, when the worst faces are turned away."""

    share: float  # of the faces to be rejected; of several equally bad ones none is, so it may be less
    faces_rejected: int
    lowest_quality: float  # of the faces left: the `min_quality` that rejects as many
    genuine: int  # pairs left
    impostors: int
    equal_error_rate: float
    far: tuple[float, ...]  # at each of the curve's thresholds
    frr: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class RejectCurve:
    """The error over the share of faces that are turned away."""

    faces: int  # of known quality, in the pairs compared
    thresholds: tuple[SourcedThreshold, ...]  # of all these pairs, and kept
    points: tuple[RejectPoint, ...]  # the first rejects nothing
    gain: tuple[Figure, ...]  # by which FRR falls without the worst tenth, at each threshold; below 0 it rises

    @property
    def without_worst_tenth(self) -> RejectPoint | None:
        """The point that rejects a tenth; None where pairs are too few, or no face is worse than the others."""
        points = [point for point in self.points if point.share == WORST_TENTH and point.faces_rejected]
        return points[0] if points else None


def measure_rejects(
    pairs: ScoredPairs, quality: FloatRow, *, fars: Sequence[float] = FARS, shares: Sequence[float] = SHARES
) -> RejectCurve | None:
    """The curve of scored pairs, by the quality (pictures,) of each picture; NaN where it is not known.

    Pairs with a face of unknown quality are left out. None where fewer than ten pairs of a kind remain, or where all
    faces are equally good.
    """
    known = np.isfinite(quality[pairs.a]) & np.isfinite(quality[pairs.b])
    pairs = pairs.pick(known)
    if not _suffice(pairs.same):
        return None
    impostor_scores = pairs.scores[~pairs.same]
    thresholds = tuple(
        SourcedThreshold(threshold_at_far(impostor_scores, far), f"FAR {rate_text(far)}")
        for far in fars
        if impostor_scores.size >= impostors_needed(far)
    )
    of_faces = np.sort(quality[np.unique(np.concatenate([pairs.a, pairs.b]))])
    if of_faces[0] == of_faces[-1]:
        return None
    of_pairs = np.minimum(quality[pairs.a], quality[pairs.b])
    points, gain = [], tuple[Figure, ...]()
    for share in shares:
        limit = of_faces[int(round(share * of_faces.size, 6))]
        kept = of_pairs >= limit
        if not _suffice(pairs.same[kept]):
            break
        rejected = int(np.searchsorted(of_faces, limit, side="left"))
        points.append(_measure_point(pairs.pick(kept), thresholds, share, rejected, float(limit)))
        if share == WORST_TENTH:
            gain = tuple(_measure_gain(pairs, kept, one.threshold) for one in thresholds)
    return RejectCurve(of_faces.size, thresholds, tuple(points), gain)


def _suffice(same: BoolArray) -> bool:
    genuine = int(same.sum())
    return min(genuine, same.size - genuine) >= _MIN_PAIRS


def _measure_point(
    pairs: ScoredPairs, thresholds: Sequence[SourcedThreshold], share: float, rejected: int, limit: float
) -> RejectPoint:
    accepted = [pairs.scores >= np.float64(one.threshold) for one in thresholds]
    people = _people_of_genuine(pairs)
    return RejectPoint(
        share=share,
        faces_rejected=rejected,
        lowest_quality=limit,
        genuine=int(pairs.same.sum()),
        impostors=int((~pairs.same).sum()),
        equal_error_rate=equal_error_rate(pairs.scores, pairs.same),
        far=tuple(float(passed[~pairs.same].mean()) for passed in accepted),
        frr=tuple(_share_refused(~passed[pairs.same], people) for passed in accepted),
    )


def _people_of_genuine(pairs: ScoredPairs) -> IntArray | None:
    return None if pairs.people is None else pairs.people[0][pairs.same]


def _share_refused(refused: BoolArray, people: IntArray | None) -> Figure:
    return wilson(int(refused.sum()), refused.size) if people is None else share_over_people(refused, people)


def _measure_gain(pairs: ScoredPairs, kept: BoolArray, threshold: float) -> Figure:
    """FRR of all pairs less that of those kept; people are drawn for both at once, since both are of the same pairs."""
    refused = pairs.scores[pairs.same] < np.float64(threshold)
    kept = kept[pairs.same]
    people = _people_of_genuine(pairs)
    groups = np.arange(refused.size) if people is None else people
    _, places = np.unique(groups, return_inverse=True)
    all_pairs, all_refused, pairs_kept, refused_kept = (
        np.bincount(places, weights=weights.astype(np.float64))
        for weights in (np.ones(refused.size), refused, kept, kept & refused)
    )
    draws = np.random.default_rng(0).integers(all_pairs.size, size=(_ROUNDS, all_pairs.size))
    drawn_kept = pairs_kept[draws].sum(axis=1)
    with_some = draws[drawn_kept > 0]
    gains: FloatRow = all_refused[with_some].sum(axis=1) / all_pairs[with_some].sum(axis=1) - (
        refused_kept[with_some].sum(axis=1) / pairs_kept[with_some].sum(axis=1)
    )
    estimate = float(refused.mean() - refused[kept].mean())
    return percentiles(estimate, gains, f"bootstrap over {'pairs' if people is None else 'people'}, {_ROUNDS} rounds")
