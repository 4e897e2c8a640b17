"""The charts of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lightface.evaluation.figures import NamedThreshold, VerificationFigures
from lightface.evaluation.page.axes import Chart, linear, logarithmic, probit
from lightface.evaluation.scoring import ScoredPairs
from lightface.evaluation.summary import percent
from lightface.metrics import MIN_FALSE_ACCEPTS, FloatRow, RocCurve

_LOWEST_FAR = 1e-5
_BINS = 70


def draw_roc(roc: RocCurve, figures: VerificationFigures) -> str:
    """TAR over FAR, which is logarithmic: the part that matters is at its low end."""
    lowest = _lowest_far(figures)
    chart = Chart(
        "roc",
        "ROC curve: share of pairs of one person accepted over share of pairs of different people accepted",
        logarithmic("FAR: different people accepted", lowest),
        linear("TAR: same person accepted", 0, 1, step=0.2, as_percent=True),
    )
    chart.shade_left_of(MIN_FALSE_ACCEPTS / figures.impostors, "too few impostor pairs")
    chart.add_curve("roc", *_as_steps(roc), kind="main")
    for one in figures.tar_at_far:
        if one.tar is not None:
            chart.add_dot(f"tar-at-{one.far:g}", one.far, one.tar.estimate, percent(one.tar.estimate), kind="main")
    return chart.to_svg()


def draw_det(roc: RocCurve, figures: VerificationFigures) -> str:
    """FRR over FAR, both as normal deviates."""
    lowest = max(_lowest_far(figures), 1e-4)
    chart = Chart(
        "det",
        "DET curve: share of pairs of one person refused over share of pairs of different people accepted",
        probit("FAR: different people accepted", lowest, 0.8),
        probit("FRR: same person refused", lowest, 0.8),
    )
    chart.add_diagonal()
    chart.shade_left_of(MIN_FALSE_ACCEPTS / figures.impostors, "too few impostor pairs", low=True)
    far, tar = _as_steps(roc)
    chart.add_curve("det", far, 1 - tar, kind="main")
    rate = 0.0 if figures.equal_error_rate is None else figures.equal_error_rate.estimate
    if lowest <= rate <= 0.8:
        chart.add_dot("eer", rate, rate, f"EER {percent(rate)}", kind="main", above=True)
    return chart.to_svg()


def draw_histogram(pairs: ScoredPairs, thresholds: Sequence[NamedThreshold]) -> str:
    """How the cosines of both kinds of pairs are spread."""
    low = math.floor(float(pairs.scores.min()) * 10) / 10
    high = max(low + 0.1, math.ceil(float(pairs.scores.max()) * 10) / 10)
    edges = np.linspace(low, high, _BINS + 1)
    kinds = {"different people": ~pairs.same} | ({"same person": pairs.same} if pairs.same.any() else {})
    shares = {
        name: np.histogram(pairs.scores[kind], edges)[0] / max(1, int(kind.sum())) for name, kind in kinds.items()
    }
    highest = max(float(share.max()) for share in shares.values())
    step = 10 ** math.floor(math.log10(highest))
    step = step if highest / step > 2 else step / 2
    chart = Chart(
        "histogram",
        "Histogram of the cosines of pairs of one person and of pairs of different people",
        linear("cosine", low, high, step=0.2 if high - low > 0.6 else 0.1),
        linear("share of pairs", 0, highest * 1.12, step=step, as_percent=True),
    )
    outline = np.repeat(edges, 2)[1:-1]
    for (name, share), style in zip(shares.items(), ("impostors", "genuine"), strict=False):
        chart.add_area(name, outline, np.repeat(share, 2), kind=style)
    for level, one in enumerate(thresholds):
        if low <= one.threshold <= high:
            chart.add_limit(one.threshold, f"{one.threshold:.3f} {one.source}", level=level)
    return chart.to_svg()


def draw_cmc(cmc: Sequence[float]) -> str:
    """How often the right person is among the first so many."""
    ranks = np.arange(1, len(cmc) + 1, dtype=np.float64)
    bottom = math.floor(min(cmc) * 10) / 10
    bottom = min(bottom, 0.9)
    chart = Chart(
        "cmc",
        "CMC curve: share of pictures whose person is among the first ranks",
        linear("rank", 1, max(2, len(cmc)), step=max(1, round(len(cmc) / 10))),
        linear("found among the first", bottom, 1, step=0.1 if bottom < 0.7 else 0.05, as_percent=True),
    )
    chart.add_curve("cmc", ranks, np.asarray(cmc, np.float64), kind="main")
    chart.add_dot("rank-1", 1, cmc[0], f"rank-1 {percent(cmc[0])}", kind="main")
    return chart.to_svg()


def _lowest_far(figures: VerificationFigures) -> float:
    """The power of ten below which no single pair says anything."""
    return max(_LOWEST_FAR, 10.0 ** math.floor(math.log10(1 / max(figures.impostors, 10))))


def _as_steps(roc: RocCurve) -> tuple[FloatRow, FloatRow]:
    """The curve with a corner at each step: on a logarithmic axis a slanted line between points would be no line."""
    return np.repeat(roc.far, 2)[1:], np.repeat(roc.tar, 2)[:-1]
