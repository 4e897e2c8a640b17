"""Thresholds for one's own gallery or pairs: measured, with intervals, or refused where the pairs are too few.

    calibration = calibrate_gallery(gallery, far=1e-3)                 measured, nothing changed
    proposal = propose_thresholds(gallery, calibration, record)        what keeping it would do, and to whom
    store_calibration(gallery, proposal)                               from now on it decides

Two decisions are measured: a photograph against a photograph, as `verify` compares, and a photograph against a person
by the mean of their samples, as `identify` does. One threshold is kept, for two photographs; `pipeline.resolve_bands`
raises it for templates. It is the stricter of the two, so that neither lets more strangers in than was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lightface.errors import EvaluationError, ThresholdError, check_number
from lightface.evaluation.figures import ScoredPairs, rate_text
from lightface.gallery import Gallery, GalleryMatrix, StoredThreshold
from lightface.gallery.likeness import leave_out
from lightface.matching import POOR_RAISE, DecisionBands, person_scores, template_factor
from lightface.measurement.intervals import Figure, percentiles, resample, share_figure, share_over_people
from lightface.measurement.metrics import MIN_PEOPLE, impostors_needed, threshold_at_far
from lightface.measurement.pairs import DEFAULT_PAIR_LIMIT, cosines_of_pairs, pair_up
from lightface.models.registry import DEFAULT_FAR, WeightsRecord
from lightface.pipeline.thresholds import lower_threshold, raise_threshold, resolve_bands, resolve_threshold
from lightface.records import BoolArray, FloatArray, IntArray, fields_of
from lightface.words import count_of, visible

REVIEW_FACTOR = 10  # how much more often a stranger may come up for review than be matched, in one comparison
STRANGERS_SHOWN = 0.1  # of strangers' photographs, the share that a band for review may show, those named included


@dataclass(frozen=True, slots=True)
class MeasuredThreshold:
    """A threshold for a false-accept rate, and what it does to the comparisons that it was measured on."""

    far: float  # asked for
    threshold: Figure  # cosine
    measured_far: Figure  # at most `far`, with an interval that may reach beyond
    tar: Figure | None  # None where there are no comparisons of one person


@dataclass(frozen=True, slots=True)
class MeasuredBands:
    """Thresholds for a match and for review, of one kind of comparison."""

    match: MeasuredThreshold
    review: MeasuredThreshold | None  # None where there is no rate for it above that for a match


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds, and what they were measured on."""

    source: str
    people: int | None  # None where the pairs contradict each other as to who is who
    genuine: int  # pairs of one person
    impostors: int  # pairs of two
    pairs: MeasuredBands  # of two photographs
    templates: MeasuredBands | None  # of a photograph and a person; None where only pairs were given
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Decisions:
    """What decides in a gallery, and what comes of it for the people there.

    The shares are of the gallery's own photographs: each as a stranger's, compared with everybody else, and as its own
    person's, compared with the mean of their other samples. None where that cannot be told.
    """

    verify: float  # cosine of two photographs
    identify: DecisionBands
    strangers_named: Figure | None
    strangers_reviewed: Figure | None
    named_rightly: Figure | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What keeping a calibration does to a gallery."""

    calibration: Calibration
    threshold: float  # cosine of two photographs, to be kept
    review_threshold: float | None
    measured: float  # what `threshold` would be without that of the weights
    weights_threshold: float | None  # the weights' own, where it is stricter than `measured` and stays
    before: Decisions | None  # None where nothing decides yet
    after: Decisions

    def __str__(self) -> str:
        review = self.after.identify.review_threshold
        return visible(
            f"verify decides at {self.after.verify:.3f}, identify at {self.after.identify.threshold:.3f}"
            f"{'' if review is None else f', review from {review:.3f}'}; measured on {self.calibration.source}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields, for `json.dumps`."""
        return fields_of(self)


def calibrate_gallery(
    gallery: Gallery, *, far: float, review_far: float | None = None, within: Mapping[str, str] | None = None
) -> Calibration:
    """Measure thresholds on all pairs of the gallery's own samples; nothing is embedded and nothing is stored.

    `review_far` is `default_review_far` of the gallery's people unless given. `within` takes those people alone whose
    metadata say so: a threshold that strangers who resemble each other more than most do, such as children, do not pass
    more often than `far`. EvaluationError where the pairs are too few, and how many more are needed.
    """
    matrix = _pick_group(gallery, within or {})
    a, b, same = pair_up(matrix.person_index)
    scored = ScoredPairs(
        scores=cosines_of_pairs(matrix.vectors, a, b),
        same=same,
        a=a,
        b=b,
        folds=np.zeros(a.size, np.int64),
        people=(matrix.person_index[a], matrix.person_index[b]),
        genuine_lost=0,
        impostors_lost=0,
    )
    _check_rates([far])
    if review_far is None:
        review_far = default_review_far(far, people=len(matrix.people))
    source = f"the gallery's own {count_of(len(matrix.vectors), 'sample')}{describe_group(within or {})}"
    try:
        calibration = calibrate_pairs(scored, source=source, far=far, review_far=review_far)
    except _TooFewPairsError as error:
        each = max(1, round(len(matrix.vectors) / np.unique(matrix.person_index).size))
        more = count_of(_people_needed(len(matrix.vectors), each, error.missing), "more person", "more people")
        raise EvaluationError(
            f"{error}: enroll about {more}{describe_group(within or {})} with {count_of(each, 'photograph')} each, "
            "or take a higher `far`"
        ) from error
    scores, same, people = _compare_with_people(matrix)
    return replace(calibration, templates=_measure(scores, same, people, far, review_far))


def calibrate_pairs(pairs: ScoredPairs, *, source: str, far: float, review_far: float | None = None) -> Calibration:
    """Measure thresholds on scored pairs, which may be all of different people; without `review_far` none for review.

    EvaluationError for rates that make no sense, for fewer than ten people, and where pairs of different people are
    too few for `far`, with the number missing.
    """
    _check_rates([far] if review_far is None else [far, review_far])
    people = None if pairs.people is None else np.unique(np.concatenate(pairs.people)).size
    impostors = int((~pairs.same).sum())
    if people is not None and people < MIN_PEOPLE:
        raise EvaluationError(
            f"{count_of(people, 'person is', 'people are')} too few to measure a threshold on; "
            f"it takes {MIN_PEOPLE}, better many more"
        )
    if impostors < impostors_needed(far):
        raise _TooFewPairsError(far, impostors, impostors_needed(far) - impostors)
    return Calibration(
        source=source,
        people=people,
        genuine=pairs.scores.size - impostors,
        impostors=impostors,
        pairs=_measure(pairs.scores, pairs.same, pairs.people, far, review_far),
        templates=None,
    )


def default_review_far(far: float, *, people: int) -> float | None:
    """The false-accept rate for review in a gallery of so many people; None where no band would be of use.

    Ten times `far`, but no more than shows a tenth of all strangers: each of them is compared with everybody.
    """
    review_far = min(far * REVIEW_FACTOR, STRANGERS_SHOWN / max(1, people))
    return review_far if far < review_far < 1 else None


def propose_thresholds(
    gallery: Gallery, calibration: Calibration, record: WeightsRecord | None, *, allow_looser: bool = False
) -> Proposal:
    """What would decide once `calibration` is kept, and what would come of it. Nothing is stored.

    The weights' own threshold, at FAR 1e-3, stays where what was measured is looser, unless `allow_looser`. `record` is
    that of the gallery's weights; None where they are not registered here, and then what was measured decides.
    """
    factor = template_factor(gallery.template_sizes())
    match, shown = _join(calibration, factor)
    measured, review = match.estimate, None if shown is None else shown.estimate
    own = None if record is None else record.thresholds.get(DEFAULT_FAR)
    floor = None if own is None or measured >= own or allow_looser else own
    threshold = measured if floor is None else floor
    review = None if review is None or review >= threshold else review
    bands = DecisionBands(
        raise_threshold(threshold, factor), None if review is None else raise_threshold(review, factor), POOR_RAISE
    )
    look_back = _Outcomes(gallery.matrix())
    return Proposal(
        calibration=calibration,
        threshold=threshold,
        review_threshold=review,
        measured=measured,
        weights_threshold=floor,
        before=_decisions_of(gallery, record, look_back),
        after=look_back.tell(threshold, bands),
    )


def store_calibration(gallery: Gallery, proposal: Proposal) -> None:
    """Keep the thresholds in the gallery, where they decide from now on. EvaluationError where nobody is enrolled."""
    if gallery.model_id is None:
        raise EvaluationError(f"nobody is enrolled in {gallery.location}, so it has no model yet; enroll people first")
    calibration = proposal.calibration
    match, review = _join(calibration, template_factor(gallery.template_sizes()))
    source = _describe_source(proposal, match)
    # The match threshold first: it alone is safe, should the second never be written.
    gallery.set_threshold(StoredThreshold(calibration.pairs.match.far, proposal.threshold, source, calibration.made_at))
    if proposal.review_threshold is not None:
        assert calibration.pairs.review is not None and review is not None
        far, source = calibration.pairs.review.far, _describe_source(proposal, review)
        gallery.set_threshold(StoredThreshold(far, proposal.review_threshold, source, calibration.made_at))


def describe_group(within: Mapping[str, str]) -> str:
    """` within age=child`; "" for everybody."""
    return f" within {', '.join(f'{key}={value}' for key, value in within.items())}" if within else ""


def _pick_group(gallery: Gallery, within: Mapping[str, str]) -> GalleryMatrix:
    matrix = gallery.matrix().within(within)
    if within and not matrix.people:
        raise EvaluationError(f"nobody is enrolled{describe_group(within)}; add that to the metadata of people first")
    return matrix


class _TooFewPairsError(EvaluationError):
    """Too few pairs of different people; `missing` more are needed."""

    def __init__(self, far: float, impostors: int, missing: int) -> None:
        self.missing = missing
        super().__init__(
            f"{count_of(impostors, 'pair of different people is', 'pairs of different people are')} too few for a "
            f"false-accept rate of {rate_text(far)}: it takes {impostors + missing:,}, so add {missing:,} more"
        )


class _Outcomes:
    """What becomes of a gallery's own photographs at any threshold."""

    def __init__(self, matrix: GalleryMatrix) -> None:
        self._person_index = matrix.person_index
        self._left_out = leave_out(matrix.vectors, matrix.person_index) if len(matrix.people) > 1 else None

    def tell(self, verify: float, identify: DecisionBands) -> Decisions:
        """Those of thresholds for two photographs and for a photograph and people."""
        left_out = self._left_out
        if left_out is None:
            return Decisions(verify, identify, None, None, None)
        named = left_out.other >= np.float64(identify.threshold)
        shown = (left_out.other >= np.float64(identify.naming_threshold)) & ~named
        others = np.isfinite(left_out.own)  # whose person has other samples
        rightly = (left_out.own >= np.float64(identify.threshold)) & (left_out.own > left_out.other)
        return Decisions(
            verify,
            identify,
            strangers_named=share_over_people(named, self._person_index),
            strangers_reviewed=share_over_people(shown, self._person_index),
            named_rightly=share_over_people(rightly[others], self._person_index[others]) if others.any() else None,
        )


def _decisions_of(gallery: Gallery, record: WeightsRecord | None, outcomes: _Outcomes) -> Decisions | None:
    """What decides in the gallery as it is; None where nothing does."""
    try:
        return outcomes.tell(resolve_threshold(record, gallery=gallery), resolve_bands(record, gallery=gallery))
    except ThresholdError:
        return None


def _join(calibration: Calibration, factor: float) -> tuple[Figure, Figure | None]:
    """One threshold for two photographs, as strict as each kind of comparison asks for; and one for review.

    For review no more is asked than that of templates: `verify` has none. Each with the interval of its own kind.
    """
    pairs, templates = calibration.pairs, calibration.templates
    if templates is None:
        return pairs.match.threshold, None if pairs.review is None else pairs.review.threshold
    of_templates = _lower(templates.match.threshold, factor)
    match = max(pairs.match.threshold, of_templates, key=lambda one: one.estimate)
    return match, None if templates.review is None else _lower(templates.review.threshold, factor)


def _lower(figure: Figure, factor: float) -> Figure:
    estimate, low, high = (lower_threshold(one, factor) for one in (figure.estimate, figure.low, figure.high))
    return replace(figure, estimate=estimate, low=low, high=high)


def _describe_source(proposal: Proposal, limit: Figure) -> str:
    """What a stored threshold was measured on, in words; `limit` is what was measured."""
    calibration = proposal.calibration
    people = "" if calibration.people is None else f"{count_of(calibration.people, 'person')}, "
    measured = (
        f"{calibration.source}; {people}{count_of(calibration.impostors, 'pair')} of different people; "
        f"95 % interval {limit.low:.3f} to {limit.high:.3f}"
    )
    if proposal.weights_threshold is None:
        return measured
    return f"the weights' own, stricter than {proposal.measured:.3f} as measured on {measured}"


def _check_rates(fars: Sequence[float]) -> None:
    for far in fars:
        check_number("a false-accept rate", far, low=0, high=1, ends=False, error=EvaluationError)
    if fars != sorted(set(fars)):
        raise EvaluationError(
            f"the false-accept rate for review, {fars[1]:g}, must be above that for a match, {fars[0]:g}"
        )


def _measure(
    scores: FloatArray,
    same: BoolArray,
    people: tuple[IntArray, IntArray] | None,
    far: float,
    review_far: float | None,
) -> MeasuredBands:
    """The thresholds of comparisons (N,), with intervals over people."""
    fars = [far] if review_far is None else [far, review_far]
    thresholds = [threshold_at_far(scores[~same], one) for one in fars]
    drawn = resample(scores, same, people, fars=fars, thresholds=thresholds)
    measured = []
    for place, (one, threshold) in enumerate(zip(fars, thresholds, strict=True)):
        passed = scores >= np.float64(threshold)
        tar = share_figure(passed[same], drawn.tar_at[:, place], drawn.method) if same.any() else None
        measured.append(
            MeasuredThreshold(
                one,
                percentiles(threshold, drawn.threshold[:, place], drawn.method),
                share_figure(passed[~same], drawn.far_at[:, place], drawn.method),
                tar,
            )
        )
    return MeasuredBands(measured[0], measured[1] if review_far is not None else None)


def _compare_with_people(matrix: GalleryMatrix) -> tuple[FloatArray, BoolArray, tuple[IntArray, IntArray]]:
    """Scores (N,) of samples and people, whether a sample is that person's, and who is on either side.

    As `identify` compares: with a person's template, which for the sample's own person is made without it. A sample
    that is its person's only one is compared with the others alone. Some million comparisons at most, of samples that
    are drawn evenly.
    """
    count, people = len(matrix.vectors), len(matrix.people)
    probes = np.arange(count)
    if count * people > DEFAULT_PAIR_LIMIT:
        chosen = max(1, min(count, DEFAULT_PAIR_LIMIT // people))
        probes = np.sort(np.random.default_rng(0).choice(count, chosen, replace=False))
    scores = person_scores(matrix.vectors[probes], matrix.vectors, matrix.person_index, people)
    own = leave_out(matrix.vectors, matrix.person_index).own[probes]
    scores[np.arange(len(probes)), matrix.person_index[probes]] = own
    compared = ~np.isnan(scores)
    row, person = np.nonzero(compared)
    probe_person = matrix.person_index[probes][row]
    return scores[compared], probe_person == person, (probe_person, person.astype(np.int64))


def _people_needed(samples: int, each: int, missing: int) -> int:
    """People with so many photographs each that give the missing pairs beside those samples.

    Their x photographs make x * samples + x (x - each) / 2 pairs of different people, which is solved for x.
    """
    half = samples - each / 2
    return math.ceil((-half + math.sqrt(half * half + 2 * missing)) / each)
