"""Thresholds for one's own gallery or pairs: measured, with intervals, or refused where the pairs are too few."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from lightface.errors import EvaluationError
from lightface.evaluation.all_pairs import pair_up
from lightface.evaluation.figures import rate_text
from lightface.evaluation.intervals import Figure, percentiles, resample, share_figure, share_over_people
from lightface.evaluation.scoring import ScoredPairs, cosines_of_pairs
from lightface.gallery import Gallery, GalleryMatrix, StoredThreshold
from lightface.matching import person_scores
from lightface.metrics import MIN_PEOPLE, BoolArray, impostors_needed, threshold_at_far
from lightface.words import count_of

REVIEW_FACTOR = 10  # how much more often a stranger may come up for review than be matched
_PROBES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class MeasuredThreshold:
    """A threshold for a false-accept rate, and what it does to the pairs that it was measured on."""

    far: float  # asked for
    threshold: Figure  # cosine
    measured_far: Figure  # at most `far`, with an interval that may reach beyond
    tar: Figure | None  # None where there are no pairs of one person


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds, and what they were measured on."""

    source: str
    people: int | None  # None where the pairs contradict each other as to who is who
    genuine: int  # pairs of one person
    impostors: int  # pairs of two
    match: MeasuredThreshold
    review: MeasuredThreshold | None
    strangers_named: Figure | None  # share of people's pictures that match somebody else of the gallery
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def calibrate_gallery(
    gallery: Gallery, *, far: float, review_far: float | None = None, within: Mapping[str, str] | None = None
) -> Calibration:
    """Measure thresholds on all pairs of the gallery's own samples; nothing is embedded and nothing is stored.

    `review_far` is ten times `far` unless given. EvaluationError where the pairs are too few, and how many more are
    needed. `within` takes those people alone whose metadata say so: a threshold that strangers who resemble each other
    more than most do, such as children, do not pass more often than `far`.
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
    source = f"the gallery's own {count_of(len(matrix.vectors), 'sample')}{describe_group(within or {})}"
    try:
        calibration = calibrate_pairs(scored, source=source, far=far, review_far=review_far)
    except _TooFewPairsError as error:
        each = max(1, round(len(matrix.vectors) / np.unique(matrix.person_index).size))
        more = _people_needed(len(matrix.vectors), each, error.missing)
        raise EvaluationError(
            f"{error}: enroll about {count_of(more, 'more person', 'more people')} with {count_of(each, 'photograph')} "
            "each, or take a higher --far"
        ) from error
    return _with_strangers(calibration, matrix)


def calibrate_pairs(pairs: ScoredPairs, *, source: str, far: float, review_far: float | None = None) -> Calibration:
    """Measure thresholds on scored pairs, which may be all of different people.

    EvaluationError for rates that make no sense, for fewer than ten people, and where pairs of different people are
    too few for `far`, with the number missing.
    """
    if review_far is None and far * REVIEW_FACTOR < 1:
        review_far = far * REVIEW_FACTOR
    fars = [far] if review_far is None else [far, review_far]
    _check_rates(fars)
    people = None if pairs.people is None else np.unique(np.concatenate(pairs.people)).size
    impostors = int((~pairs.same).sum())
    if people is not None and people < MIN_PEOPLE:
        raise EvaluationError(
            f"{count_of(people, 'person is', 'people are')} too few to measure a threshold on; "
            f"it takes {MIN_PEOPLE}, better many more"
        )
    if impostors < impostors_needed(far):
        raise _TooFewPairsError(far, impostors, impostors_needed(far) - impostors)
    match, *review = _measure(pairs, fars)
    return Calibration(
        source=source,
        people=people,
        genuine=pairs.scores.size - impostors,
        impostors=impostors,
        match=match,
        review=review[0] if review else None,
        strangers_named=None,
    )


def store_calibration(gallery: Gallery, calibration: Calibration) -> None:
    """Keep the thresholds in the gallery, where they decide from now on. EvaluationError where nobody is enrolled."""
    if gallery.model_id is None:
        raise EvaluationError(f"nobody is enrolled in {gallery.location}, so it has no model yet; enroll people first")
    # The match threshold first: it alone is safe, should the second never be written.
    for one in (calibration.match, calibration.review):
        if one is not None:
            people = "" if calibration.people is None else f"{count_of(calibration.people, 'person')}, "
            source = (
                f"{calibration.source}; {people}{count_of(calibration.impostors, 'pair')} of different people; "
                f"95 % interval {one.threshold.low:.3f} to {one.threshold.high:.3f}"
            )
            gallery.set_threshold(StoredThreshold(one.far, one.threshold.estimate, source, calibration.made_at))


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


def _check_rates(fars: Sequence[float]) -> None:
    for far in fars:
        if not 0 < far < 1:
            raise EvaluationError(f"a false-accept rate lies between 0 and 1, {far:g} does not; 1e-3 is usual")
    if fars != sorted(set(fars)):
        raise EvaluationError(
            f"the false-accept rate for review, {fars[1]:g}, must be above that for a match, {fars[0]:g}"
        )


def _measure(pairs: ScoredPairs, fars: Sequence[float]) -> list[MeasuredThreshold]:
    scores, same = pairs.scores, pairs.same
    thresholds = [threshold_at_far(scores[~same], far) for far in fars]
    drawn = resample(scores, same, pairs.people, fars=fars, thresholds=thresholds)
    measured = []
    for place, (far, threshold) in enumerate(zip(fars, thresholds, strict=True)):
        passed = scores >= np.float64(threshold)
        tar = share_figure(passed[same], drawn.tar_at[:, place], drawn.method) if same.any() else None
        measured.append(
            MeasuredThreshold(
                far,
                percentiles(threshold, drawn.threshold[:, place], drawn.method),
                share_figure(passed[~same], drawn.far_at[:, place], drawn.method),
                tar,
            )
        )
    return measured


def _with_strangers(calibration: Calibration, matrix: GalleryMatrix) -> Calibration:
    """Add how often somebody who is not enrolled would be named: each sample against everybody else, as `identify`."""
    best = np.empty(len(matrix.vectors), np.float32)
    for start in range(0, len(best), _PROBES_AT_ONCE):
        part = slice(start, start + _PROBES_AT_ONCE)
        own = matrix.person_index[part]
        scores = person_scores(matrix.vectors[part], matrix.vectors, matrix.person_index, len(matrix.people))
        scores[np.arange(len(own)), own] = -np.inf
        best[part] = scores.max(axis=1)
    named: BoolArray = best >= np.float64(calibration.match.threshold.estimate)
    return replace(calibration, strangers_named=share_over_people(named, matrix.person_index))


def _people_needed(samples: int, each: int, missing: int) -> int:
    """People with so many photographs each that give the missing pairs beside those samples.

    Their x photographs make x * samples + x (x - each) / 2 pairs of different people, which is solved for x.
    """
    half = samples - each / 2
    return math.ceil((-half + math.sqrt(half * half + 2 * missing)) / each)
