"""The frame of a chart in SVG: scales, ticks, lines, and what is drawn inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from lightface.metrics import FloatRow

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
