"""The part of the page that tells what rejecting faces of low quality gains."""

from __future__ import annotations

from html import escape

import numpy as np

from lightface.evaluation.page.axes import Chart, linear
from lightface.evaluation.page.markup import table
from lightface.evaluation.rejects import RejectCurve, RejectPoint
from lightface.evaluation.summary import describe_rejects, interval_of, percent, summarise_rejects
from lightface.words import count_of


def render_rejects(curve: RejectCurve | None) -> str:
    """The section; nothing where there is no curve."""
    if curve is None:
        return ""
    columns = ["rejected", "quality below", "pairs left", "EER"]
    for used in curve.thresholds:
        columns += [f"FRR at {used.threshold:.3f}, {used.source}", "FAR there"]
    gained = summarise_rejects(curve)
    return (
        "<h2>Quality</h2>"
        + table(columns, [_row(point) for point in curve.points], name="rejects")
        + f"<h3>{escape(describe_rejects(curve).capitalize())}</h3>"
        + (table(("figure", "all", "without", "lower by, in points"), gained, name="worst tenth") if gained else "")
        + '<p class="note">The thresholds stay where all pairs put them. Of faces of equal quality all stay or none. '
        "The intervals are of 95 %: where that of a difference holds 0, it may be chance.</p>"
    )


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


def _row(point: RejectPoint) -> list[str]:
    cells = [
        f"{100 * point.share:g} %\n{count_of(point.faces_rejected, 'face')}",
        f"{point.lowest_quality:.2f}",
        f"{point.genuine:,} same\n{point.impostors:,} different",
        percent(point.equal_error_rate),
    ]
    for far, frr in zip(point.far, point.frr, strict=True):
        cells += [f"{percent(frr.estimate)}\n{interval_of(frr)}", percent(far)]
    return cells
