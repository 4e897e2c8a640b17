"""How far a figure can be trusted: intervals of shares, and a bootstrap over people for everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from lightface.measurement.metrics import FloatRow, Scores, rate_where_equal
from lightface.records import BoolArray, IntArray

CONFIDENCE = 0.95
_MAX_ROUNDS, _MIN_ROUNDS = 1000, 200
_WORK = 2e8  # pairs times rounds: some ten seconds


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure with its 95 % confidence interval."""

    estimate: float
    low: float
    high: float
    method: str  # how the interval was found


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Figures of many redrawn sets of pairs, a row a round."""

    equal_error_rate: FloatRow  # (R,)
    area: FloatRow  # (R,)
    threshold: FloatRow  # (R, F) at each false-accept rate
    tar: FloatRow  # (R, F) there
    far_at: FloatRow  # (R, T) at each fixed threshold
    tar_at: FloatRow  # (R, T)
    method: str


def wilson(successes: int, trials: int) -> Figure:
    """A share of independent trials. (Wilson, Probable inference, 1927.)"""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * float(np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)))
    # At the ends rounding would leave the estimate outside.
    return Figure(share, max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share)), "Wilson")


def percentiles(estimate: float, resampled: FloatRow, method: str) -> Figure:
    """A figure between the percentiles of its resamples (R,)."""
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(estimate, min(float(low), estimate), max(float(high), estimate), method)


def share_figure(passed: BoolArray, resampled: FloatRow, method: str) -> Figure:
    """The share of pairs (N,) that passed: by its resamples, or by Wilson where all or none passed.

    No redrawing of pairs that all passed can show one that did not.
    """
    count = int(passed.sum())
    if count in (0, passed.size):
        return wilson(count, passed.size)
    return percentiles(count / passed.size, resampled, method)


def share_over_people(hits: BoolArray, people: IntArray, *, repeats: int = 1) -> Figure:
    """The share of `hits` (N,) with its bootstrap interval over `people` (N,); Wilson where all or none are.

    Each trial is among them `repeats` times.
    """
    if hits.all() or not hits.any():
        return wilson(int(hits.sum()) // repeats, hits.size // repeats)
    _, places = np.unique(people, return_inverse=True)
    per_person = np.bincount(places).astype(np.float64)
    hits_per_person = np.bincount(places, weights=hits)
    draws = np.random.default_rng(0).integers(per_person.size, size=(_MAX_ROUNDS, per_person.size))
    shares: FloatRow = hits_per_person[draws].sum(axis=1) / per_person[draws].sum(axis=1)
    return percentiles(float(hits.mean()), shares, f"bootstrap over people, {_MAX_ROUNDS} rounds")


def resample(
    scores: Scores,
    same: BoolArray,
    people: tuple[IntArray, IntArray] | None,
    *,
    fars: Sequence[float] = (),
    thresholds: Sequence[float] = (),
    rounds: int | None = None,
    seed: int = 0,
) -> Resamples:
    """Measure redrawn sets of pairs, all (N,), by a bootstrap over people, not over pairs.

    Pairs that share a person are not independent, so people are drawn, with replacement: a pair of one person counts
    as often as that person was drawn, a pair of two as often as the product of their draws says. (Bolle et al., Error
    analysis of pattern recognition systems - the subsets bootstrap, 2004.) Where `people` (of either side) is None,
    pairs are drawn instead. 1000 rounds unless `rounds` says otherwise, fewer for very many pairs. Without any genuine
    pair, TAR is 0, and the equal error rate and the area are NaN.
    """
    order = np.argsort(-scores, kind="stable")
    falling, genuine = scores[order], same[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), falling.size - 1)  # the last of each run of equal scores
    cuts = [int(np.searchsorted(-falling[ends], -np.float64(threshold), side="right")) for threshold in thresholds]
    # A draw is a weight, so that no pair is repeated or sorted again.
    draw = _PeopleDraws(people, order, genuine) if people is not None else _PairDraws(order.size)
    generator, has_genuine = np.random.default_rng(seed), bool(genuine.any())
    if rounds is None:
        rounds = int(min(_MAX_ROUNDS, max(_MIN_ROUNDS, _WORK // max(1, scores.size))))
    rows: list[tuple[float, float, list[float], list[float], list[float], list[float]]] = []
    while len(rows) < rounds:
        weights = draw(generator)
        impostors = np.append(0, np.cumsum(np.where(genuine, 0, weights))[ends])
        accepted = np.append(0, np.cumsum(np.where(genuine, weights, 0))[ends])  # zeros where there are none
        if not impostors[-1] or (has_genuine and not accepted[-1]):
            continue  # nothing to measure; draw again
        far, tar = impostors / impostors[-1], accepted / max(1, accepted[-1])
        places = [int(np.searchsorted(far, limit, side="right")) - 1 for limit in fars]
        rows.append(
            (
                rate_where_equal(far, tar) if has_genuine else math.nan,
                float(np.trapezoid(tar, far)) if has_genuine else math.nan,
                [_threshold_after(falling[ends], place) for place in places],
                [float(tar[place]) for place in places],
                [float(far[cut]) for cut in cuts],
                [float(tar[cut]) for cut in cuts],
            )
        )
    rates, areas, steps, tars, fars_at, tars_at = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    method = f"bootstrap over {'pairs' if people is None else 'people'}, {rounds} rounds"
    return Resamples(rates, areas, steps, tars, fars_at, tars_at, method)


class _PeopleDraws:
    """Weights of pairs when people are drawn: of a genuine pair the person's draws, of an impostor pair the product."""

    def __init__(self, people: tuple[IntArray, IntArray], order: IntArray, genuine: BoolArray) -> None:
        present, places = np.unique(np.concatenate(people), return_inverse=True)
        self._count = len(present)
        self._a, self._b = places[: order.size][order], places[order.size :][order]
        self._genuine = genuine

    def __call__(self, generator: np.random.Generator) -> IntArray:
        draws = np.bincount(generator.integers(self._count, size=self._count), minlength=self._count)
        weights: IntArray = np.where(self._genuine, draws[self._a], draws[self._a] * draws[self._b])
        return weights


class _PairDraws:
    """Weights of pairs that are drawn one by one."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, generator: np.random.Generator) -> IntArray:
        weights: IntArray = np.bincount(generator.integers(self._count, size=self._count), minlength=self._count)
        return weights


def _threshold_after(steps: Scores, place: int) -> float:
    """The lowest threshold that accepts the first `place` of the falling `steps`: just above the next."""
    if place == steps.size:
        return float(steps[-1])
    return float(np.nextafter(steps[place], steps.dtype.type(np.inf)))
