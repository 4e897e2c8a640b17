"""The evaluation as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from lightface import __version__
from lightface.evaluation.evaluate import Evaluation, WorstPair
from lightface.evaluation.figures import FARS, rate_text
from lightface.evaluation.groups import Grouping, list_figures
from lightface.evaluation.identification import IdentificationFigures
from lightface.evaluation.rejects import RejectCurve, RejectPoint
from lightface.evaluation.summary import (
    SummaryRow,
    describe_factor,
    describe_grouping,
    describe_loss,
    describe_rejects,
    describe_repeats,
    figure_interval,
    figure_text,
    interval_of,
    percent,
    summarise,
    summarise_identification,
    summarise_rejects,
    to_json,
)
from lightface.measurement.intervals import Figure
from lightface.measurement.metrics import MIN_FALSE_ACCEPTS, SourcedThreshold, impostors_needed
from lightface.pages.charts import Chart, draw_cmc, draw_det, draw_histogram, draw_roc, linear
from lightface.pages.document import PRIVACY, card, chart_figure, data_block, document, facts, table, to_data_uri
from lightface.records import ByteArray
from lightface.words import count_of

_CARDS = ("10-fold accuracy", "EER", "AUC", "TAR at FAR 1e-2", "TAR at FAR 1e-3")
_KEY = '<span class="key"><i class="impostors"></i>different people &ensp; <i class="genuine"></i>same person</span>'


def render_page(evaluation: Evaluation, crops: Mapping[int, ByteArray]) -> str:
    """The page. `crops` holds the pictures of the worst pairs by position, see `cut_crops`."""
    title = f"{evaluation.pairs.name} — {evaluation.model_id}"
    sections = [
        _head(evaluation),
        _figures(evaluation),
        _curves(evaluation),
        _identification(evaluation.identification),
        render_rejects(evaluation.rejects),
        *(_grouping(grouping) for grouping in evaluation.groupings),
        _worst(evaluation, crops),
        _failures(evaluation),
        _notes(evaluation),
    ]
    return document(title, sections, data=data_block("evaluation", to_json(evaluation)))


def _head(evaluation: Evaluation) -> str:
    pairs, figures = evaluation.pairs, evaluation.figures
    people = f", {count_of(len(set(pairs.people.tolist())), 'person')}" if pairs.knows_people else ""
    loss = f'<p class="{"warn" if evaluation.failures else "faint"}">{escape(describe_loss(evaluation))}</p>'
    return (
        f"<h1>{escape(pairs.name[0].upper() + pairs.name[1:])}</h1>"
        + facts(
            [
                ("Model", f"{evaluation.model_id}, on {evaluation.device} in {evaluation.precision}"),
                ("Source", str(pairs.source)),
                ("Pictures", f"{len(pairs.pictures):,}{people}; faces: {_describe_framing(evaluation)}"),
                ("Pairs", f"{figures.genuine:,} of one person, {figures.impostors:,} of two different people"),
                ("Made", f"{evaluation.made_at:%Y-%m-%d %H:%M} UTC by lightface {__version__}"),
            ]
        )
        + loss
    )


def _describe_framing(evaluation: Evaluation) -> str:
    match evaluation.pairs.framing.value:
        case "detect":
            return f"found by the detector, {evaluation.pairs.selection.value} of a picture"
        case "arcface":
            return "crops aligned to ArcFace's template"
        case _:
            return "crops in LightCNN's frame"


def _figures(evaluation: Evaluation) -> str:
    rows = summarise(evaluation.figures)
    shown = [row for row in rows if row.name in _CARDS or (not evaluation.figures.genuine and row.name[:3] == "FAR")]
    cards = "".join(card(row.name, row.value, row.interval) for row in shown)
    always = percent(evaluation.figures.guessing)
    guessing = (
        f"For comparison: always giving the more frequent answer has an accuracy of {always}."
        if evaluation.figures.genuine
        else "No person is there twice, so false matches alone are measured, and no misses."
    )
    return (
        f'<div class="cards">{cards}</div><h2>Figures</h2>'
        + table(("figure", "value", "95 % interval", "cosine"), [_row(row) for row in rows], name="figures")
        + f'<p class="note">{escape(guessing)}</p>'
        + _repeats(evaluation)
    )


def _repeats(evaluation: Evaluation) -> str:
    """The pairs that may be one person twice."""
    pictures, pairs = evaluation.pairs.pictures, evaluation.repeats.pairs
    if not pairs:
        return ""
    rows = [(pictures[pair.a].name, pictures[pair.b].name, f"{pair.similarity:.3f}") for pair in pairs]
    return (
        f'<p class="note">{escape(describe_repeats(evaluation.repeats))}</p>'
        f"<details><summary>the most similar</summary>"
        + table(("picture", "another", "cosine"), rows, name="repeats")
        + "</details>"
    )


def _row(row: SummaryRow) -> tuple[str, str, str, str]:
    return row.name, row.value, row.interval, row.threshold


def _curves(evaluation: Evaluation) -> str:
    figures = evaluation.figures
    charts = [
        chart_figure(
            draw_histogram(evaluation.scored, thresholds_of(evaluation)),
            "Scores.",
            "Where the two hills overlap, every threshold errs."
            if evaluation.roc is not None
            else "Different people alone; what lies to the right of a threshold is taken for one person.",
            key=_KEY if evaluation.roc is not None else "",
        )
    ]
    if evaluation.roc is not None:
        roc = draw_roc(evaluation.roc, figures)
        det = draw_det(evaluation.roc, figures)
        charts += [
            chart_figure(roc, "ROC.", "At a false-accept rate, how many of the same person are accepted."),
            chart_figure(det, "DET.", "The two errors against each other; lower left is better."),
        ]
    if evaluation.identification is not None:
        charts.append(
            chart_figure(
                draw_cmc(evaluation.identification.cmc),
                "CMC.",
                "How often the right person is among the first so many.",
            )
        )
    if evaluation.rejects is not None:
        charts.append(
            chart_figure(
                draw_rejects(evaluation.rejects),
                "Error versus reject.",
                "How errors fall when the faces of the lowest quality are turned away; level: it does not help.",
            )
        )
    return f'<h2>Curves</h2><div class="charts">{"".join(charts)}</div>'


def _identification(figures: IdentificationFigures | None) -> str:
    if figures is None:
        return ""
    rows = [_row(row) for row in summarise_identification(figures)]
    text = (
        f"{figures.people_enrolled:,} people were enrolled with half of their pictures; {figures.probes:,} others were "
        f"looked for, of which {figures.probes_failed:,} had failed and count as not found. For the open set each "
        f"person was a stranger once, {figures.stranger_probes:,} pictures in all: FPIR is the share of them that got "
        "a name, TPIR the share of enrolled people's pictures that got the right one."
    )
    return (
        "<h2>Who is it?</h2>"
        + table(("figure", "value", "95 % interval", "cosine"), rows, name="identification")
        + f'<p class="note">{escape(text)}</p>'
    )


def _grouping(grouping: Grouping) -> str:
    if grouping.too_many:
        return f"<h2>By {escape(grouping.column)}</h2><p>{escape(describe_grouping(grouping))}</p>"
    measured = [{} if group.figures is None else list_figures(group.figures) for group in grouping.groups]
    names = list(dict.fromkeys(name for figures in measured for name in figures))
    rows = [
        (
            group.group,
            f"{group.pictures:,}",
            f"{group.genuine:,}",
            f"{group.impostors:,}",
            *(_describe(name, figures[name]) if name in figures else "too few pairs" for name in names),
        )
        for group, figures in zip(grouping.groups, measured, strict=True)
    ]
    spreads = [
        (
            one.figure,
            f"{figure_text(one.figure, one.lowest)} ({one.lowest_group})",
            f"{figure_text(one.figure, one.highest)} ({one.highest_group})",
            figure_text(one.figure, one.difference).replace("%", "points"),
            describe_factor(one),
        )
        for one in grouping.spreads
    ]
    text = (
        "Both pictures of a pair are of the group. TAR at a FAR is at the group's own threshold; FAR and FRR at a "
        "threshold show what one threshold for all does to each. Under each figure its 95 % interval: where those of "
        f"two groups overlap, the spread may be chance. It is between groups of {impostors_needed(FARS[0])} pairs of "
        "different people and more. The factor is the highest error by the lowest; at least: from the nearest ends of "
        f"their intervals. {describe_grouping(grouping)}"
    )
    return (
        f"<h2>By {escape(grouping.column)}</h2>"
        + table(("group", "pictures", "same", "different", *names), rows, name=f"groups {grouping.column}")
        + "<h3>Spread</h3>"
        + table(("figure", "lowest", "highest", "difference", "factor"), spreads, name=f"spread {grouping.column}")
        + f'<p class="note">{escape(text)}</p>'
    )


def _describe(name: str, figure: Figure) -> str:
    return f"{figure_text(name, figure.estimate)}\n{figure_interval(name, figure)}"


def _worst(evaluation: Evaluation, crops: Mapping[int, ByteArray]) -> str:
    limit = next(iter(thresholds_of(evaluation)), None)
    beyond = "" if limit is None else f" Framed: wrong at {limit.threshold:.3f}, {limit.source}."
    parts = []
    for name, title, pairs, upwards in (
        ("false-matches", "Worst false matches", evaluation.false_matches, True),
        ("false-non-matches", "Worst false non-matches", evaluation.false_non_matches, False),
    ):
        if not pairs:
            continue
        kind = "Different people, most similar first." if upwards else "One person, least similar first."
        cells = "".join(
            _pair(evaluation, pair, crops, wrong=limit is not None and (pair.similarity >= limit.threshold) == upwards)
            for pair in pairs
        )
        parts.append(
            f'<h3>{title}</h3><p class="note">{escape(kind + beyond)}</p>'
            f'<div class="sheet" data-sheet="{name}">{cells}</div>'
        )
    return f"<h2>Where it errs most</h2>{''.join(parts)}"


def _pair(evaluation: Evaluation, pair: WorstPair, crops: Mapping[int, ByteArray], *, wrong: bool) -> str:
    names = [evaluation.pairs.pictures[position].name for position in (pair.a, pair.b)]
    faces = "".join(
        f'<img alt="{escape(name)}" src="{to_data_uri(crops[position])}">'
        if position in crops
        else '<span class="gone">gone</span>'
        for position, name in zip((pair.a, pair.b), names, strict=True)
    )
    return (
        f'<figure class="pair{" wrong" if wrong else ""}"><div class="faces">{faces}</div>'
        f"<figcaption><b>{pair.similarity:.3f}</b> {escape(names[0])} · {escape(names[1])}</figcaption></figure>"
    )


def _failures(evaluation: Evaluation) -> str:
    if not evaluation.failures:
        return ""
    rows = [(failure.name, failure.reason, failure.message) for failure in evaluation.failures]
    return (
        f"<h2>Failed pictures</h2><p>{escape(describe_loss(evaluation))} In the figures above these pairs are left "
        f"out; counted as not accepted, they would give {escape(_with_failures(evaluation))}.</p>"
        f"<details{' open' if len(rows) <= 20 else ''}><summary>{count_of(len(rows), 'picture')}</summary>"
        + table(("picture", "reason", "what happened"), rows, name="failures")
        + "</details>"
    )


def _with_failures(evaluation: Evaluation) -> str:
    known = [one for one in evaluation.figures.tar_at_far if one.tar_with_failures is not None]
    return (
        ", ".join(f"TAR {percent(one.tar_with_failures or 0)} at FAR {rate_text(one.far)}" for one in known)
        or "no figure"
    )


def _notes(evaluation: Evaluation) -> str:
    measured = list_figures(evaluation.figures)
    method = next((figure.method for figure in measured.values() if "bootstrap" in figure.method), "by Wilson's method")
    intervals = f"Intervals: {method}; Wilson where all or none of the pairs pass."
    return (
        "<footer><p>FAR: share of pairs of different people that are accepted. TAR: share of pairs of one person that "
        "are accepted; FRR is the rest. EER: where FAR and FRR are equal. A cosine is a similarity, not a probability. "
        f"A rate is given only where the pairs suffice for {MIN_FALSE_ACCEPTS} false accepts: with fewer it would be a "
        f"guess. {escape(intervals)}</p>{PRIVACY}</footer>"
    )


def thresholds_of(evaluation: Evaluation) -> Sequence[SourcedThreshold]:
    """The thresholds that were measured, the first of which is the one in use."""
    return [at.used for at in evaluation.figures.at_thresholds]


# The part of the page that tells what rejecting faces of low quality gains.


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
        + table(columns, [_reject_row(point) for point in curve.points], name="rejects")
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


def _reject_row(point: RejectPoint) -> list[str]:
    cells = [
        f"{100 * point.share:g} %\n{count_of(point.faces_rejected, 'face')}",
        f"{point.lowest_quality:.2f}",
        f"{point.genuine:,} same\n{point.impostors:,} different",
        percent(point.equal_error_rate),
    ]
    for far, frr in zip(point.far, point.frr, strict=True):
        cells += [f"{percent(frr.estimate)}\n{interval_of(frr)}", percent(far)]
    return cells
