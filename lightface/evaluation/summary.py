"""Figures as people read them: a name, a value, an interval; and the whole evaluation as JSON."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lightface import __version__
from lightface.evaluation.evaluate import Evaluation, WorstPair
from lightface.evaluation.figures import TarAtFar, VerificationFigures, rate_text
from lightface.evaluation.groups import Grouping
from lightface.evaluation.identification import IdentificationFigures
from lightface.evaluation.intervals import Figure
from lightface.evaluation.rejects import RejectCurve
from lightface.metrics import RocCurve
from lightface.words import count_of

_ROC_POINTS = 400


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
    if figures.accuracy is None:
        rows.append(SummaryRow("10-fold accuracy", "too few pairs"))
    else:
        accuracy = figures.accuracy
        between = f"± {percent(accuracy.standard_deviation)} between folds"
        rows.append(SummaryRow("10-fold accuracy", percent(accuracy.mean), between))
    rows.append(SummaryRow("EER", percent(figures.equal_error_rate.estimate), interval_of(figures.equal_error_rate)))
    area = figures.area
    rows.append(SummaryRow("AUC", f"{area.estimate:.4f}", f"{area.low:.4f} to {area.high:.4f}"))
    rows += [_describe_tar(one) for one in figures.tar_at_far]
    for at in figures.at_thresholds:
        name = f"at {at.used.threshold:.3f}, {at.used.source}"
        limit = f"{at.used.threshold:.3f}"
        rows.append(SummaryRow(f"FAR {name}", percent(at.far.estimate), interval_of(at.far), limit))
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
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in count_reasons(evaluation).items())
    return (
        f"{failed:,} of {count_of(len(evaluation.pairs.pictures), 'picture')} failed ({reasons}). "
        f"{count_of(figures.genuine_lost, 'pair')} of one person and "
        f"{figures.impostors_lost:,} of two could not be compared."
    )


def count_reasons(evaluation: Evaluation) -> dict[str, int]:
    """Failed pictures by reason, the most frequent first."""
    return dict(Counter(failure.reason for failure in evaluation.failures).most_common())


def thin_roc(roc: RocCurve, points: int = _ROC_POINTS) -> RocCurve:
    """A curve of about as many points, evenly spread over TAR and over the logarithm of FAR; both ends are kept."""
    if roc.far.size <= points:
        return roc
    depth = np.log10(np.maximum(roc.far, 1e-6))
    steps = np.floor((roc.tar + (depth - depth[0]) / (depth[-1] - depth[0])) * points / 2)
    kept = np.union1d(np.flatnonzero(np.diff(steps, prepend=-1)), [0, roc.far.size - 1])
    return RocCurve(roc.thresholds[kept], roc.far[kept], roc.tar[kept])


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but the pictures, ready for `json.dump`. An infinite threshold, which accepts nothing, is null."""
    pairs, roc = evaluation.pairs, thin_roc(evaluation.roc)
    content = {
        "lightface": __version__,
        "made_at": evaluation.made_at.isoformat(timespec="seconds"),
        "protocol": pairs.name,
        "source": str(pairs.source),
        "framing": pairs.framing.value,
        "face_selection": pairs.selection.value,
        "model_id": evaluation.model_id,
        "device": evaluation.device,
        "precision": evaluation.precision,
        "pictures": len(pairs.pictures),
        "people": len(set(pairs.people.tolist())) if pairs.knows_people else None,
        "failures": {
            "count": len(evaluation.failures),
            "by_reason": count_reasons(evaluation),
            "pictures": [asdict(failure) for failure in evaluation.failures],
        },
        "figures": asdict(evaluation.figures),
        "roc": {"threshold": roc.thresholds.tolist(), "far": roc.far.tolist(), "tar": roc.tar.tolist()},
        "identification": None if evaluation.identification is None else asdict(evaluation.identification),
        "quality": None if evaluation.rejects is None else asdict(evaluation.rejects),
        "groups": [_group_to_json(grouping) for grouping in evaluation.groupings],
        "worst_false_matches": [_pair_to_json(evaluation, pair) for pair in evaluation.false_matches],
        "worst_false_non_matches": [_pair_to_json(evaluation, pair) for pair in evaluation.false_non_matches],
    }
    return {key: _without_infinity(value) for key, value in content.items()}


def _points(difference: float) -> str:
    return f"{100 * difference:.2f}"


def _describe_tar(one: TarAtFar) -> SummaryRow:
    name = f"TAR at FAR {rate_text(one.far)}"
    if one.tar is None or one.threshold is None:
        return SummaryRow(name, f"too few impostor pairs ({one.impostors_missing:,} more needed)")
    return SummaryRow(name, percent(one.tar.estimate), interval_of(one.tar), f"{one.threshold.estimate:.3f}")


def _group_to_json(grouping: Grouping) -> dict[str, Any]:
    spreads = [{**asdict(spread), "difference": spread.difference} for spread in grouping.spreads]
    return {**asdict(grouping), "spreads": spreads}


def _pair_to_json(evaluation: Evaluation, pair: WorstPair) -> dict[str, Any]:
    pictures = evaluation.pairs.pictures
    return {"a": pictures[pair.a].name, "b": pictures[pair.b].name, "similarity": pair.similarity}


def _without_infinity(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
