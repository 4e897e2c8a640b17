"""The charts of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from lightface.evaluation.figures import ScoredPairs, VerificationFigures
from lightface.evaluation.rejects import RejectCurve
from lightface.evaluation.summary import percent
from lightface.measurement.metrics import MIN_FALSE_ACCEPTS, FloatRow, RocCurve, SourcedThreshold

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


def draw_histogram(pairs: ScoredPairs, thresholds: Sequence[SourcedThreshold]) -> str:
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


def draw_rejects(curve: RejectCurve) -> str:
    """EER and the FRR at each threshold, over the share of faces rejected."""
    shares = np.array([point.faces_rejected / curve.faces for point in curve.points])
    errors = {"EER": np.array([point.equal_error_rate for point in curve.points])}
    for place, used in enumerate(curve.thresholds):
        errors[f"FRR at {used.source}"] = np.array([point.frr[place].estimate for point in curve.points])
    highest = max(float(values.max()) for values in errors.values())
    chart = Chart(
        "rejects",
        "Error versus reject curve: error rates over the share of the faces of lowest quality that are turned away",
        linear("faces turned away", 0, max(0.1, float(shares[-1])), step=0.1, as_percent=True),
        linear("error", 0, max(0.02, highest * 1.15), step=0.1 if highest > 0.25 else 0.02, as_percent=True),
    )
    for name, values in errors.items():
        chart.add_curve(name, shares, values, kind="main" if name == "EER" else "refused")
        chart.add_dot(
            name, 0, float(values[0]), f"{name} {percent(float(values[0]))}", kind="main", above=name != "EER"
        )
    return chart.to_svg()


def _lowest_far(figures: VerificationFigures) -> float:
    """The power of ten below which no single pair says anything."""
    return max(_LOWEST_FAR, 10.0 ** math.floor(math.log10(1 / max(figures.impostors, 10))))


def _as_steps(roc: RocCurve) -> tuple[FloatRow, FloatRow]:
    """The curve with a corner at each step: on a logarithmic axis a slanted line between points would be no line."""
    return np.repeat(roc.far, 2)[1:], np.repeat(roc.tar, 2)[:-1]


# The frame of a chart in SVG: scales, ticks, lines, and what is drawn inside.


WIDTH, HEIGHT = 560, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 18, 50
_RESOLUTION_PX = 0.25
_LEAST = 1e-7


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to a place between 0 and 1."""

    label: str
    ticks: Sequence[tuple[float, str]]  # value and what is written there
    place: Callable[[FloatRow], FloatRow]


def linear(label: str, low: float, high: float, *, step: float, as_percent: bool = False) -> Axis:
    """An even axis with a tick each `step`."""
    count = math.floor((high - low) / step + 1e-9)
    values = [low + step * number for number in range(count + 1)]
    texts = [f"{100 * value:g} %" if as_percent else f"{value:.10g}" for value in np.round(values, 10).tolist()]
    return Axis(label, list(zip(values, texts, strict=True)), lambda x: (np.asarray(x) - low) / (high - low))


def logarithmic(label: str, low: float) -> Axis:
    """From `low`, a power of ten, to 1; what is lower lies at the edge."""
    powers = range(round(math.log10(low)), 1)
    ticks = [(10.0**power, "1" if power == 0 else f"1e{power}") for power in powers]
    return Axis(label, ticks, lambda x: 1 - np.log10(np.clip(x, low, 1)) / math.log10(low))


def probit(label: str, low: float, high: float) -> Axis:
    """Error rates as normal deviates: normal scores give straight lines. (Martin et al., The DET curve, 1997.)"""
    from scipy.special import ndtri

    ticks = [(rate, f"{100 * rate:g} %") for rate in (1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8) if low <= rate <= high]
    bottom, top = ndtri(low), ndtri(high)
    # 0 and 1 lie infinitely far out; the chart cuts off what is outside.
    return Axis(label, ticks, lambda x: (ndtri(np.clip(x, _LEAST, 1 - _LEAST)) - bottom) / (top - bottom))


@dataclass(slots=True)
class Chart:
    """An SVG in the making. What is added later lies on top."""

    name: str  # in `data-chart`
    title: str  # for those who cannot see it
    x: Axis
    y: Axis
    _parts: list[str] = field(default_factory=list)

    def add_curve(self, name: str, x: FloatRow, y: FloatRow, *, kind: str) -> None:
        """A line through points; `kind` is a class of the style sheet."""
        self._parts.append(
            f'<path class="curve {kind}" data-curve="{escape(name)}" d="{self._trace(x, y)}" '
            f'clip-path="url(#inside-{escape(self.name)})"/>'
        )

    def add_area(self, name: str, x: FloatRow, y: FloatRow, *, kind: str) -> None:
        """The ground between points and the x axis."""
        floor = _number(self._y_px(np.zeros(1))[0])
        start, end = (_number(value) for value in self._x_px(np.array([x[0], x[-1]])))
        path = f"M{start} {floor}L{self._trace(x, y)[1:]}L{end} {floor}Z"
        self._parts.append(f'<path class="area {kind}" data-curve="{escape(name)}" d="{path}"/>')

    def add_dot(self, name: str, x: float, y: float, text: str, *, kind: str, above: bool = False) -> None:
        """A marked point with its text to the right, below or above."""
        left, top = self._x_px(np.array([x]))[0], self._y_px(np.array([y]))[0]
        self._parts.append(
            f'<g class="dot {kind}" data-dot="{escape(name)}">'
            f'<circle cx="{_number(left)}" cy="{_number(top)}" r="4.5"/>'
            f'<text x="{_number(left + 9)}" y="{_number(top - 8 if above else top + 16)}">{escape(text)}</text></g>'
        )

    def add_limit(self, x: float, text: str, *, level: int = 0) -> None:
        """An upright line with its text at the top, `level` lines down."""
        left = self._x_px(np.array([x]))[0]
        near_end = left > WIDTH - 150
        anchor, shift = ("end", -5) if near_end else ("start", 5)
        self._parts.append(
            f'<g class="limit"><path d="M{_number(left)} {_TOP}V{HEIGHT - _BOTTOM}"/>'
            f'<text x="{_number(left + shift)}" y="{_TOP + 12 + 15 * level}" text-anchor="{anchor}">'
            f"{escape(text)}</text></g>"
        )

    def shade_left_of(self, x: float, text: str, *, low: bool = False) -> None:
        """Mark the part of the chart left of a value as not to be trusted; the text stands high or low in it."""
        right = self._x_px(np.array([x]))[0]
        width, height = right - _LEFT, HEIGHT - _TOP - _BOTTOM
        if width < 1:
            return
        corner = f"translate({_number(right - 6)} {HEIGHT - _BOTTOM - 8 if low else _TOP + 8})"
        anchor = "start" if low else "end"
        self._parts.append(
            f'<g class="shade"><rect x="{_LEFT}" y="{_TOP}" width="{_number(width)}" height="{height}"/>'
            f'<text transform="{corner} rotate(-90)" text-anchor="{anchor}">{escape(text)}</text></g>'
        )

    def add_diagonal(self) -> None:
        """Where x equals y on two equal axes."""
        self._parts.append(f'<path class="diagonal" d="M{_LEFT} {HEIGHT - _BOTTOM}L{WIDTH - _RIGHT} {_TOP}"/>')

    def to_svg(self) -> str:
        """The chart as an element for HTML."""
        middle_x, middle_y = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + HEIGHT - _BOTTOM) / 2
        return (
            f'<svg class="chart" data-chart="{escape(self.name)}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(self.title)}">'
            f'<clipPath id="inside-{escape(self.name)}"><rect x="{_LEFT}" y="{_TOP}" '
            f'width="{WIDTH - _LEFT - _RIGHT}" height="{HEIGHT - _TOP - _BOTTOM}"/></clipPath>'
            f"{self._ticks()}{''.join(self._parts)}"
            f'<path class="frame" d="M{_LEFT} {_TOP}V{HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>'
            f'<text class="label" x="{middle_x:g}" y="{HEIGHT - 8}" text-anchor="middle">{escape(self.x.label)}</text>'
            f'<text class="label" transform="translate(14 {middle_y:g}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text></svg>"
        )

    def _ticks(self) -> str:
        parts = []
        for value, text in self.x.ticks:
            left = _number(self._x_px(np.array([value]))[0])
            parts.append(
                f'<g class="tick" data-axis="x" data-value="{value:g}" data-at="{left}">'
                f'<path d="M{left} {_TOP}V{HEIGHT - _BOTTOM}"/>'
                f'<text x="{left}" y="{HEIGHT - _BOTTOM + 17}" text-anchor="middle">{escape(text)}</text></g>'
            )
        for value, text in self.y.ticks:
            top = self._y_px(np.array([value]))[0]
            parts.append(
                f'<g class="tick" data-axis="y" data-value="{value:g}" data-at="{_number(top)}">'
                f'<path d="M{_LEFT} {_number(top)}H{WIDTH - _RIGHT}"/>'
                f'<text x="{_LEFT - 7}" y="{_number(top + 4)}" text-anchor="end">{escape(text)}</text></g>'
            )
        return "".join(parts)

    def _trace(self, x: FloatRow, y: FloatRow) -> str:
        """Path data through the points, without those that would fall on the one before."""
        places = np.stack([self._x_px(x), self._y_px(y)], axis=1)
        places = np.round(places / _RESOLUTION_PX) * _RESOLUTION_PX
        moved = np.append(True, np.any(np.diff(places, axis=0) != 0, axis=1))
        return "M" + "L".join(f"{left:g} {top:g}" for left, top in places[moved].tolist())

    def _x_px(self, values: FloatRow) -> FloatRow:
        return _LEFT + self.x.place(values) * (WIDTH - _LEFT - _RIGHT)

    def _y_px(self, values: FloatRow) -> FloatRow:
        return HEIGHT - _BOTTOM - self.y.place(values) * (HEIGHT - _TOP - _BOTTOM)


def _number(value: float) -> str:
    return f"{float(value):.2f}".rstrip("0").rstrip(".")
