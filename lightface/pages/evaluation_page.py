"""The evaluation as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lightface import __version__
from lightface.evaluation.evaluate import Evaluation, WorstPair
from lightface.evaluation.figures import FARS, rate_text
from lightface.evaluation.groups import Grouping, list_figures
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
)
from lightface.measurement.intervals import Figure
from lightface.measurement.metrics import MIN_FALSE_ACCEPTS, SourcedThreshold, impostors_needed
from lightface.pages.charts import draw_cmc, draw_det, draw_histogram, draw_rejects, draw_roc
from lightface.pages.document import FacePicture, data_block, render, to_data_uri
from lightface.records import ByteArray
from lightface.words import count_of

_CARDS = ("10-fold accuracy", "EER", "AUC", "TAR at FAR 1e-2", "TAR at FAR 1e-3")

_Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rejects:
    """What rejecting faces of low quality gains."""

    columns: list[str]
    rows: list[_Row]
    title: str
    gained: Sequence[_Row]


@dataclass(frozen=True, slots=True)
class _Groups:
    """The figures of a grouping, and how far they lie apart."""

    column: str
    too_many: bool
    text: str
    columns: _Row = ()
    rows: Sequence[_Row] = ()
    spreads: Sequence[_Row] = ()


@dataclass(frozen=True, slots=True)
class _Pair:
    pictures: tuple[FacePicture, FacePicture]
    similarity: float
    wrong: bool


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The worst pairs of a kind."""

    name: str
    title: str
    text: str
    pairs: list[_Pair]


def render_page(evaluation: Evaluation, crops: Mapping[int, ByteArray]) -> str:
    """The page. `crops` holds the pictures of the worst pairs by position, see `cut_crops`."""
    pairs, figures, identification = evaluation.pairs, evaluation.figures, evaluation.identification
    rows = summarise(figures)
    pictures = pairs.pictures
    return render(
        "evaluation.html",
        title=f"{pairs.name} — {evaluation.model_id}",
        data=data_block("evaluation", evaluation.to_dict()),
        heading=pairs.name[0].upper() + pairs.name[1:],
        known=_known(evaluation),
        loss=describe_loss(evaluation),
        cards=[row for row in rows if row.name in _CARDS or (not figures.genuine and row.name[:3] == "FAR")],
        figures=[_row(row) for row in rows],
        guessing=percent(figures.guessing) if figures.genuine else "",
        repeats=describe_repeats(evaluation.repeats),
        repeated=[
            (pictures[one.a].name, pictures[one.b].name, f"{one.similarity:.3f}") for one in evaluation.repeats.pairs
        ],
        **_charts(evaluation),
        identification=identification,
        identified=[_row(row) for row in summarise_identification(identification)],
        rejects=None if evaluation.rejects is None else _rejects(evaluation.rejects),
        groupings=[_group(grouping) for grouping in evaluation.groupings],
        spread_pairs=impostors_needed(FARS[0]),
        worst=_worst(evaluation, crops),
        failures=[(failure.name, failure.reason, failure.message) for failure in evaluation.failures],
        failure_count=count_of(len(evaluation.failures), "picture"),
        with_failures=_with_failures(evaluation),
        min_false_accepts=MIN_FALSE_ACCEPTS,
        method=_method(evaluation),
    )


def _known(evaluation: Evaluation) -> list[tuple[str, str]]:
    pairs, figures = evaluation.pairs, evaluation.figures
    people = f", {count_of(len(set(pairs.people.tolist())), 'person')}" if pairs.knows_people else ""
    return [
        ("Model", f"{evaluation.model_id}, on {evaluation.device} in {evaluation.precision}"),
        ("Source", str(pairs.source)),
        ("Pictures", f"{len(pairs.pictures):,}{people}; faces: {_describe_framing(evaluation)}"),
        ("Pairs", f"{figures.genuine:,} of one person, {figures.impostors:,} of two different people"),
        ("Made", f"{evaluation.made_at:%Y-%m-%d %H:%M} UTC by lightface {__version__}"),
    ]


def _describe_framing(evaluation: Evaluation) -> str:
    match evaluation.pairs.framing.value:
        case "detect":
            return f"found by the detector, {evaluation.pairs.selection.value} of a picture"
        case "arcface":
            return "crops aligned to ArcFace's template"
        case _:
            return "crops in LightCNN's frame"


def _charts(evaluation: Evaluation) -> dict[str, Markup | None]:
    """The charts that there are, as markup: all that comes from outside is escaped in them."""
    figures, roc = evaluation.figures, evaluation.roc
    identification, rejects = evaluation.identification, evaluation.rejects
    return {
        "histogram": Markup(draw_histogram(evaluation.scored, thresholds_of(evaluation))),
        "roc": None if roc is None else Markup(draw_roc(roc, figures)),
        "det": None if roc is None else Markup(draw_det(roc, figures)),
        "cmc": None if identification is None else Markup(draw_cmc(identification.cmc)),
        "reject_chart": None if rejects is None else Markup(draw_rejects(rejects)),
    }


def _row(row: SummaryRow) -> _Row:
    return row.name, row.value, row.interval, row.threshold


def _group(grouping: Grouping) -> _Groups:
    text = describe_grouping(grouping)
    if grouping.too_many:
        return _Groups(grouping.column, True, text)
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
    columns = ("group", "pictures", "same", "different", *names)
    return _Groups(grouping.column, False, text, columns, rows, spreads)


def _describe(name: str, figure: Figure) -> str:
    return f"{figure_text(name, figure.estimate)}\n{figure_interval(name, figure)}"


def _worst(evaluation: Evaluation, crops: Mapping[int, ByteArray]) -> list[_Sheet]:
    limit = next(iter(thresholds_of(evaluation)), None)
    beyond = "" if limit is None else f" Framed: wrong at {limit.threshold:.3f}, {limit.source}."
    sheets = []
    for name, title, kind, pairs, upwards in (
        (
            "false-matches",
            "Worst false matches",
            "Different people, most similar first.",
            evaluation.false_matches,
            True,
        ),
        (
            "false-non-matches",
            "Worst false non-matches",
            "One person, least similar first.",
            evaluation.false_non_matches,
            False,
        ),
    ):
        if pairs:
            shown = [
                _Pair(
                    _pictures(evaluation, pair, crops),
                    pair.similarity,
                    wrong=limit is not None and (pair.similarity >= limit.threshold) == upwards,
                )
                for pair in pairs
            ]
            sheets.append(_Sheet(name, title, kind + beyond, shown))
    return sheets


def _pictures(
    evaluation: Evaluation, pair: WorstPair, crops: Mapping[int, ByteArray]
) -> tuple[FacePicture, FacePicture]:
    a, b = (
        FacePicture(evaluation.pairs.pictures[place].name, to_data_uri(crops[place]) if place in crops else "")
        for place in (pair.a, pair.b)
    )
    return a, b


def _with_failures(evaluation: Evaluation) -> str:
    known = [one for one in evaluation.figures.tar_at_far if one.tar_with_failures is not None]
    return (
        ", ".join(f"TAR {percent(one.tar_with_failures or 0)} at FAR {rate_text(one.far)}" for one in known)
        or "no figure"
    )


def _method(evaluation: Evaluation) -> str:
    """How intervals were found."""
    measured = list_figures(evaluation.figures)
    return next((figure.method for figure in measured.values() if "bootstrap" in figure.method), "by Wilson's method")


def thresholds_of(evaluation: Evaluation) -> Sequence[SourcedThreshold]:
    """The thresholds that were measured, the first of which is the one in use."""
    return [at.used for at in evaluation.figures.at_thresholds]


def _rejects(curve: RejectCurve) -> _Rejects:
    columns = ["rejected", "quality below", "pairs left", "EER"]
    for used in curve.thresholds:
        columns += [f"FRR at {used.threshold:.3f}, {used.source}", "FAR there"]
    rows = [_reject_row(point) for point in curve.points]
    return _Rejects(columns, rows, describe_rejects(curve).capitalize(), summarise_rejects(curve))


def _reject_row(point: RejectPoint) -> _Row:
    cells = [
        f"{100 * point.share:g} %\n{count_of(point.faces_rejected, 'face')}",
        f"{point.lowest_quality:.2f}",
        f"{point.genuine:,} same\n{point.impostors:,} different",
        percent(point.equal_error_rate),
    ]
    for far, frr in zip(point.far, point.frr, strict=True):
        cells += [f"{percent(frr.estimate)}\n{interval_of(frr)}", percent(far)]
    return tuple(cells)
