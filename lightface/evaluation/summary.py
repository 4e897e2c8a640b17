"""Figures as people read them: a name, a value, an interval; a section of a model card; all of them as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from lightface.evaluation.evaluate import Evaluation, Repeats
from lightface.evaluation.figures import TarAtFar, VerificationFigures, rate_text
from lightface.evaluation.groups import Grouping, Spread
from lightface.evaluation.identification import IdentificationFigures
from lightface.evaluation.rejects import RejectCurve
from lightface.measurement.intervals import Figure
from lightface.words import count_of

_GROUPS_FAR = 1e-2  # a cell of fifty pictures has pairs enough for it


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One line of a table of figures."""

    name: str
    value: str
    interval: str = ""  # 95 %
    threshold: str = ""  # cosine


def summarise(figures: VerificationFigures) -> list[SummaryRow]:
    """The figures of a verification, a row each."""
    rows = []
    if figures.accuracy is None and figures.genuine:
        rows.append(SummaryRow("10-fold accuracy", "too few pairs"))
    elif figures.accuracy is not None:
        accuracy = figures.accuracy
        between = f"± {percent(accuracy.standard_deviation)} between folds"
        rows.append(SummaryRow("10-fold accuracy", percent(accuracy.mean), between))
    for name, figure in (("EER", figures.equal_error_rate), ("AUC", figures.area)):
        if figure is not None:
            rows.append(SummaryRow(name, figure_text(name, figure.estimate), figure_interval(name, figure)))
    rows += [_describe_tar(one, with_tar=figures.genuine > 0) for one in figures.tar_at_far]
    for at in figures.at_thresholds:
        name = f"at {at.used.threshold:.3f}, {at.used.source}"
        limit = f"{at.used.threshold:.3f}"
        rows.append(SummaryRow(f"FAR {name}", percent(at.far.estimate), interval_of(at.far), limit))
        if at.tar is not None:
            rows.append(SummaryRow(f"TAR {name}", percent(at.tar.estimate), interval_of(at.tar), limit))
    return rows


def summarise_identification(figures: IdentificationFigures | None) -> list[SummaryRow]:
    """The figures of an identification, a row each; none where there was none."""
    if figures is None:
        return []
    rows = [SummaryRow("rank-1", percent(figures.rank_1.estimate), interval_of(figures.rank_1))]
    for one in figures.open_set:
        name = f"TPIR at FPIR {rate_text(one.fpir)}"
        if one.tpir is None or one.threshold is None:
            missing = f"too few strangers' pictures ({one.strangers_missing:,} more needed)"
            rows.append(SummaryRow(name, missing))
        else:
            rows.append(SummaryRow(name, percent(one.tpir.estimate), interval_of(one.tpir), f"{one.threshold:.3f}"))
    return rows


def summarise_rejects(curve: RejectCurve | None) -> list[tuple[str, str, str, str]]:
    """What rejecting the worst tenth of the faces gains: figure, value of all, value without, how much lower.

    None where there is nothing to compare.
    """
    point = None if curve is None else curve.without_worst_tenth
    if curve is None or point is None:
        return []
    rates = [curve.points[0].equal_error_rate, point.equal_error_rate]
    rows = [("EER", percent(rates[0]), percent(rates[1]), _points(rates[0] - rates[1]))]
    for used, before, after, gain in zip(curve.thresholds, curve.points[0].frr, point.frr, curve.gain, strict=True):
        lower = f"{_points(gain.estimate)} ({_points(gain.low)} to {_points(gain.high)})"
        name = f"FRR at {used.threshold:.3f}, {used.source}"
        rows.append((name, percent(before.estimate), percent(after.estimate), lower))
    return rows


def describe_rejects(curve: RejectCurve) -> str:
    """How many faces make the worst tenth, and where it ends."""
    point = curve.without_worst_tenth
    if point is None:
        return f"No tenth of the {curve.faces:,} faces is of lower quality than the others."
    worst = f"{point.faces_rejected:,} of {count_of(curve.faces, 'face')}"
    return f"without the {worst} under a quality of {point.lowest_quality:.2f}"


def summarise_grouping(grouping: Grouping) -> list[tuple[str, str, str, str, str, str]]:
    """A row a group: group, pictures, pairs of different people, false matches at the threshold in use, their
    interval, and the cosine that keeps FAR 1e-2 within the group.
    """
    rows = []
    for group in grouping.groups:
        far, interval, cosine = "too few pairs", "", "too few pairs"
        if group.figures is not None:
            for at in group.figures.at_thresholds[:1]:
                far, interval = percent(at.far.estimate), interval_of(at.far)
            for one in group.figures.tar_at_far:
                if one.far == _GROUPS_FAR and one.threshold is not None:
                    cosine = f"{one.threshold.estimate:.3f}"
        rows.append((group.group, f"{group.pictures:,}", f"{group.impostors:,}", far, interval, cosine))
    return rows


def columns_of(grouping: Grouping) -> tuple[str, str, str, str, str, str]:
    """The header of `summarise_grouping`."""
    used = [at.used for group in grouping.groups if group.figures for at in group.figures.at_thresholds[:1]]
    far = f"FAR at {used[0].threshold:.3f}" if used else "FAR"
    return grouping.column, "pictures", "pairs", far, "95 % interval", f"cosine at FAR {rate_text(_GROUPS_FAR)}"


def describe_grouping(grouping: Grouping) -> str:
    """Who is in no group, or why there are none."""
    without = f"{count_of(grouping.without_group, 'picture is', 'pictures are')} in no group."
    if grouping.too_many:
        return f"{grouping.too_many:,} groups are so many that they are measured only where they are asked for."
    return without if grouping.without_group else "Every picture is in a group."


def describe_factor(spread: Spread) -> str:
    """How many times as high as the lowest the highest error is; "" for other figures."""
    if spread.factor_at_least is None:
        return ""
    least = f"at least {spread.factor_at_least:,.1f}" if spread.factor_at_least > 1 else "may be chance"
    return least if spread.factor is None else f"{spread.factor:,.1f} ({least})"


def describe_spread(spread: Spread) -> str:
    """Lowest, highest and factor in a sentence."""
    low, high = (figure_text(spread.figure, value) for value in (spread.lowest, spread.highest))
    factor = describe_factor(spread)
    times = f": factor {factor}" if factor else ""
    return f"{spread.figure}: from {low} ({spread.lowest_group}) to {high} ({spread.highest_group}){times}."


def describe_repeats(repeats: Repeats) -> str:
    """Pairs of different people that may be of one, and what was done about them; "" where there are none."""
    if not repeats.count:
        return ""
    alike = (
        f"{count_of(repeats.count, 'pair')} of different people {'reaches' if repeats.count == 1 else 'reach'} "
        f"a cosine of {repeats.similarity:.2f}: perhaps one person twice."
    )
    if repeats.left_out:
        return f"{alike} The second picture of each was left out, so false matches may be more than is said here."
    return f"{alike} They count as different people, so false matches may be fewer than is said here."


def figure_text(name: str, value: float) -> str:
    """A value of the figure of that name: an area, a cosine, or else a share in percent."""
    return f"{value:.4f}" if name == "AUC" else f"{value:.3f}" if name.startswith("cosine") else percent(value)


def figure_interval(name: str, figure: Figure) -> str:
    """`0.0241 to 0.0262`, as `figure_text` would have each."""
    return f"{figure_text(name, figure.low)} to {figure_text(name, figure.high)}"


def percent(share: float) -> str:
    """`0.1234` -> `12.34 %`, with more digits for the smallest."""
    return f"{100 * share:.3f} %" if 0 < share < 0.001 else f"{100 * share:.2f} %"


def interval_of(figure: Figure) -> str:
    """`24.1 % to 26.2 %`."""
    return f"{percent(figure.low)} to {percent(figure.high)}"


def describe_loss(evaluation: Evaluation) -> str:
    """What failed, in a sentence."""
    failed, figures = len(evaluation.failures), evaluation.figures
    if not failed:
        return f"No picture of {len(evaluation.pairs.pictures):,} failed; every pair was compared."
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in evaluation.count_reasons().items())
    return (
        f"{failed:,} of {count_of(len(evaluation.pairs.pictures), 'picture')} failed ({reasons}). "
        f"{count_of(figures.genuine_lost, 'pair')} of one person and "
        f"{figures.impostors_lost:,} of two could not be compared."
    )


def to_card_section(evaluation: Evaluation) -> str:
    """The section in Markdown: a heading with the data's name, how it was measured, and the table of figures."""
    pairs, figures = evaluation.pairs, evaluation.figures
    rows = summarise(figures) + summarise_identification(evaluation.identification)
    table = [f"| {row.name} | {row.value} | {row.interval} | {row.threshold} |" for row in rows]
    averaging = "with" if evaluation.model_id.endswith("+flip") else "without"
    return "\n".join(
        [
            f"## Evaluated: {pairs.source.name} ({pairs.name})",
            "",
            f"`lightface evaluate`, {evaluation.made_at:%d %B %Y}, {evaluation.precision}, {averaging} flip averaging: "
            f"{count_of(figures.genuine, 'pair')} of one person, {figures.impostors:,} of two. "
            f"{describe_loss(evaluation)} {describe_repeats(evaluation.repeats)}".rstrip(),
            "",
            "| figure | value | 95 % interval | cosine |",
            "|---|---|---|---|",
            *table,
            "",
            *(line for grouping in evaluation.groupings for line in _format_grouping(grouping)),
            "",
        ]
    )


def _format_grouping(grouping: Grouping) -> list[str]:
    """Lines: a table of the groups, and how far their false matches lie apart."""
    if grouping.too_many:
        return [f"{grouping.column}: {describe_grouping(grouping)}", ""]
    rows = [columns_of(grouping), ("---",) * 6, *summarise_grouping(grouping)]
    spreads = [describe_spread(one) for one in grouping.spreads if one.figure.startswith("FAR")]
    return [*(f"| {' | '.join(row)} |" for row in rows), "", *(line for text in spreads for line in (text, ""))]


def _points(difference: float) -> str:
    return f"{100 * difference:.2f}"


def _describe_tar(one: TarAtFar, *, with_tar: bool) -> SummaryRow:
    """Without pairs of one person, the cosine that keeps the rate is all there is to say."""
    name = f"{'TAR' if with_tar else 'cosine'} at FAR {rate_text(one.far)}"
    if one.threshold is None:
        return SummaryRow(name, f"too few impostor pairs ({one.impostors_missing:,} more needed)")
    if one.tar is None:
        return SummaryRow(name, figure_text(name, one.threshold.estimate), figure_interval(name, one.threshold))
    return SummaryRow(name, percent(one.tar.estimate), interval_of(one.tar), f"{one.threshold.estimate:.3f}")
