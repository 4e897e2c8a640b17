from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightface.errors import EvaluationError
from lightface.evaluation.calibrate import (
    Proposal,
    calibrate_gallery,
    calibrate_pairs,
    default_review_far,
    propose_thresholds,
    store_calibration,
)
from lightface.evaluation.figures import ScoredPairs
from lightface.gallery import Gallery, NewSample, open_gallery
from lightface.matching import template_factor
from lightface.measurement.metrics import threshold_at_far
from lightface.models.registry import WeightsRecord, find_weights
from lightface.pipeline import resolve_bands, resolve_threshold


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with open_gallery(tmp_path / "gallery.sqlite", create=True) as gallery:
        yield gallery


def enroll(gallery: Gallery, people: int, samples: int, *, noise: float = 1.0, directions: int = 256) -> np.ndarray:
    """Made-up embeddings, (people * samples, 256), in the gallery's order.

    People differ in so many directions, photographs in all. The fewer, the more a mean of samples is like strangers.
    """
    generator = np.random.default_rng(5)
    centres = generator.normal(size=(people, 1, 256))
    centres[..., directions:] = 0
    rows = centres * np.sqrt(256 / directions) + noise * generator.normal(size=(people, samples, 256))
    rows = (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)
    for person, vectors in enumerate(rows):
        gallery.enroll(
            f"person {person}",
            [
                NewSample(row, "weights-1", f"/{person}/{n}", f"{1000 * person + n:064x}")
                for n, row in enumerate(vectors)
            ],
        )
    return np.reshape(rows, (-1, 256))


def weights_with(threshold: float | None) -> WeightsRecord:
    return replace(find_weights("lightcnn9"), thresholds={} if threshold is None else {"1e-3": threshold})


def calibrate(gallery: Gallery, threshold_of_weights: float | None = None, **options: float | bool) -> Proposal:
    """Measure at FAR 1e-2 and keep it, beside weights with that threshold of their own."""
    looser = {"allow_looser": bool(options.pop("allow_looser", False))}
    measured = calibrate_gallery(gallery, **{"far": 1e-2, **options})  # type: ignore[arg-type]
    proposal = propose_thresholds(gallery, measured, weights_with(threshold_of_weights), **looser)
    store_calibration(gallery, proposal)
    return proposal


def compare_with_people(rows: np.ndarray, people: int, samples: int) -> np.ndarray:
    """(photographs, people) cosines to the mean of each person's samples, a photograph's own left out of its own."""
    by_person = rows.reshape(people, samples, -1)
    sums = by_person.sum(axis=1)
    scores = rows @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T
    own = (sums[:, None] - by_person).reshape(rows.shape)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    scores[np.arange(len(rows)), np.repeat(np.arange(people), samples)] = (rows * own).sum(axis=1)
    return np.asarray(scores)


def test_the_gallerys_own_pairs_give_both_bands(gallery: Gallery) -> None:
    rows = enroll(gallery, 20, 4)
    calibration = calibrate_gallery(gallery, far=1e-2, review_far=1e-1)
    scores, who = rows @ rows.T, np.repeat(np.arange(20), 4)
    upper = np.triu_indices(80, k=1)
    impostors = scores[upper][who[upper[0]] != who[upper[1]]]
    assert (calibration.people, calibration.genuine, calibration.impostors) == (20, 120, 3040)
    for band, far in ((calibration.pairs.match, 1e-2), (calibration.pairs.review, 1e-1)):
        assert band is not None and band.far == far
        assert band.threshold.estimate == pytest.approx(threshold_at_far(impostors, far), abs=1e-6)
        assert band.threshold.low < band.threshold.estimate < band.threshold.high
        assert band.measured_far.estimate <= far < band.measured_far.high
        assert band.tar is not None and band.tar.estimate > 0.9


def test_what_identify_does_is_measured_by_itself(gallery: Gallery) -> None:
    rows = enroll(gallery, 20, 4, directions=32)
    calibration = calibrate_gallery(gallery, far=1e-2, review_far=1e-1)
    scores, own = compare_with_people(rows, 20, 4), np.repeat(np.arange(20), 4)[:, None] == np.arange(20)
    assert calibration.templates is not None
    for band, far in ((calibration.templates.match, 1e-2), (calibration.templates.review, 1e-1)):
        assert band is not None and band.far == far and band.tar is not None
        assert band.threshold.estimate == pytest.approx(threshold_at_far(scores[~own], far), abs=1e-6)
        assert band.measured_far.estimate == pytest.approx(np.mean(scores[~own] >= band.threshold.estimate), abs=1e-3)
        assert band.measured_far.estimate <= far
        assert band.tar.estimate == np.mean(scores[own] >= band.threshold.estimate)
    assert calibration.templates.match.threshold.estimate > calibration.pairs.match.threshold.estimate


def test_of_a_large_gallery_some_photographs_are_enough(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    enroll(gallery, 20, 4, directions=32)
    whole = calibrate_gallery(gallery, far=1e-2).templates
    monkeypatch.setattr("lightface.evaluation.calibrate.DEFAULT_PAIR_LIMIT", 800)  # 40 of 80 photographs
    part = calibrate_gallery(gallery, far=1e-2).templates
    assert whole is not None and part is not None
    assert part.match.threshold.estimate == pytest.approx(whole.match.threshold.estimate, abs=0.05)
    assert part.match.threshold.estimate != whole.match.threshold.estimate


def test_identify_keeps_the_rate_that_was_asked_for(gallery: Gallery) -> None:
    rows = enroll(gallery, 20, 4, directions=32)
    proposal = calibrate(gallery)
    scores, own = compare_with_people(rows, 20, 4), np.repeat(np.arange(20), 4)[:, None] == np.arange(20)
    decides = resolve_bands(weights_with(None), gallery=gallery).threshold
    assert decides == proposal.after.identify.threshold
    assert np.mean(scores[~own] >= decides) <= 1e-2 < np.mean(scores[~own] >= proposal.after.verify)


def test_what_is_proposed_is_counted_in_strangers_and_people(gallery: Gallery) -> None:
    rows = enroll(gallery, 12, 5)
    proposal = propose_thresholds(gallery, calibrate_gallery(gallery, far=1e-2), weights_with(0.05), allow_looser=True)
    scores, who = compare_with_people(rows, 12, 5), np.repeat(np.arange(12), 5)
    own, others = scores[np.arange(60), who], np.where(who[:, None] == np.arange(12), -1, scores).max(axis=1)
    assert proposal.before is not None
    for decisions in (proposal.before, proposal.after):
        limit, review = decisions.identify.threshold, decisions.identify.naming_threshold
        assert decisions.strangers_named is not None and decisions.strangers_reviewed is not None
        assert decisions.strangers_named.estimate == np.mean(others >= limit)
        assert decisions.strangers_reviewed.estimate == np.mean((others >= review) & (others < limit))
        assert decisions.named_rightly is not None
        assert decisions.named_rightly.estimate == np.mean((own >= limit) & (own > others))
    assert proposal.before.verify == 0.05
    assert proposal.before.strangers_named.estimate > 0.5 > proposal.after.strangers_named.estimate  # type: ignore[union-attr]


def test_nothing_is_loosened_unless_it_is_asked_for(gallery: Gallery) -> None:
    enroll(gallery, 20, 4)
    proposal = calibrate(gallery, 0.6)
    assert proposal.measured < 0.6 == proposal.threshold == proposal.weights_threshold
    record = weights_with(0.6)
    assert resolve_threshold(record, gallery=gallery) == 0.6
    assert resolve_bands(record, gallery=gallery).threshold == proposal.after.identify.threshold > 0.6
    assert gallery.thresholds()[-1].source.startswith(f"the weights' own, stricter than {proposal.measured:.3f} as ")
    asked = calibrate(gallery, 0.6, allow_looser=True)
    assert asked.weights_threshold is None
    assert resolve_threshold(record, gallery=gallery) == asked.threshold == proposal.measured


def test_what_is_stricter_than_the_weights_decides(gallery: Gallery) -> None:
    enroll(gallery, 20, 4)
    proposal = calibrate(gallery, 0.05)
    assert proposal.weights_threshold is None
    assert resolve_threshold(weights_with(0.05), gallery=gallery) == proposal.measured > 0.05


def test_calibrations_are_taken_back(gallery: Gallery) -> None:
    enroll(gallery, 20, 4)
    record = weights_with(0.05)
    before = resolve_bands(record, gallery=gallery)
    for far in (2e-2, 1e-2):
        calibrate(gallery, 0.05, far=far)
    assert resolve_bands(record, gallery=gallery) != before
    kept = gallery.thresholds()
    assert gallery.forget_thresholds() == len(kept)
    assert gallery.thresholds() == [] and gallery.forget_thresholds() == 0
    assert resolve_bands(record, gallery=gallery) == before


@pytest.mark.parametrize(
    ("far", "people", "review_far"),
    [(1e-3, 5, 1e-2), (1e-3, 25, 4e-3), (1e-3, 100, None), (1e-2, 5, 2e-2), (1e-2, 12, None), (0.2, 0, None)],
)
def test_review_shows_a_tenth_of_all_strangers_at_most(far: float, people: int, review_far: float | None) -> None:
    assert default_review_far(far, people=people) == pytest.approx(review_far)


def test_few_strangers_come_up_for_review(gallery: Gallery) -> None:
    enroll(gallery, 25, 8, noise=1.0, directions=32)
    after = calibrate(gallery, far=1e-3).after
    assert after.strangers_named is not None and after.strangers_reviewed is not None
    assert 0 < after.strangers_reviewed.estimate < 0.1
    assert after.strangers_named.estimate + after.strangers_reviewed.estimate <= 0.1


def test_one_photograph_a_person_is_enough_for_a_threshold(gallery: Gallery) -> None:
    enroll(gallery, 50, 1)
    calibration = calibrate_gallery(gallery, far=1e-2)
    assert (calibration.genuine, calibration.impostors, calibration.pairs.match.tar) == (0, 1225, None)
    assert calibration.templates is not None and calibration.templates.match.tar is None
    assert calibration.templates.match.threshold.estimate == pytest.approx(
        calibration.pairs.match.threshold.estimate, abs=1e-6
    )
    assert calibrate(gallery).after.named_rightly is None


def test_too_few_pairs_are_refused_with_what_is_missing(gallery: Gallery) -> None:
    enroll(gallery, 20, 2)
    with pytest.raises(
        EvaluationError,
        match=r"760 pairs of different people are too few for a false-accept rate of 1e-3: it takes 10,000, so add "
        r"9,240 more: enroll about 52 more people with 2 photographs each, or take a higher `far`",
    ):
        calibrate_gallery(gallery, far=1e-3)
    assert gallery.thresholds() == []


def test_too_few_pairs_of_a_group_say_of_whom_more_are_needed(gallery: Gallery) -> None:
    enroll(gallery, 12, 3)
    for person in gallery.people():
        gallery.set_metadata(person.name, {"age": "child"})
    with pytest.raises(EvaluationError, match=r"enroll about \d+ more people within age=child with 3 photographs each"):
        calibrate_gallery(gallery, far=1e-3, within={"age": "child"})


def test_with_as_many_people_as_it_says_there_are_pairs_enough(gallery: Gallery) -> None:
    enroll(gallery, 72, 2)
    assert calibrate_gallery(gallery, far=1e-3).impostors == 72 * 71 * 4 // 2 >= 10_000 > 71 * 70 * 4 // 2


@pytest.mark.parametrize(
    ("people", "far", "review_far", "problem"),
    [
        (9, 0.1, None, "9 people are too few to measure a threshold on; it takes 10"),
        (0, 0.1, None, "0 people are too few"),
        (12, 0.0, None, "is 0.0; give a number between 0 and 1"),
        (12, 1.5, None, "is 1.5; give a number between 0 and 1"),
        (12, 0.1, 0.05, "for review, 0.05, must be above that for a match, 0.1"),
        (12, 0.1, 0.1, "must be above"),
    ],
)
def test_what_makes_no_sense_is_refused(
    gallery: Gallery, people: int, far: float, review_far: float | None, problem: str
) -> None:
    enroll(gallery, people, 3)
    with pytest.raises(EvaluationError, match=problem):
        calibrate_gallery(gallery, far=far, review_far=review_far)


def test_what_is_stored_decides_from_then_on(gallery: Gallery) -> None:
    enroll(gallery, 20, 4)
    proposal = calibrate(gallery, review_far=5e-2)
    review, match = gallery.thresholds()
    assert (match.far, review.far) == (1e-2, 5e-2)
    assert match.created_at == review.created_at == proposal.calibration.made_at
    record, factor = find_weights("lightcnn9"), template_factor({4: 20})
    templates = proposal.calibration.templates
    assert templates is not None and templates.review is not None
    for stored, measured in ((match, proposal.calibration.pairs.match), (review, templates.review)):
        # Each with the interval of the comparisons that it comes from, as a cosine of two photographs.
        scale = 1.0 if stored is match else factor
        low, high = measured.threshold.low / scale, measured.threshold.high / scale
        assert stored.threshold == pytest.approx(measured.threshold.estimate / scale)
        assert stored.source == (
            "the gallery's own 80 samples; 20 people, 3,040 pairs of different people; "
            f"95 % interval {low:.3f} to {high:.3f}"
        )
    bands = resolve_bands(record, gallery=gallery)
    assert bands == proposal.after.identify
    assert bands.threshold == pytest.approx(match.threshold * factor)
    assert bands.review_threshold == pytest.approx(review.threshold * factor)
    assert resolve_threshold(record, gallery=gallery) == match.threshold == proposal.threshold
    assert resolve_bands(record, gallery=gallery, threshold=0.9).review_threshold is None
    assert resolve_bands(record, gallery=gallery, review_threshold=-0.5).review_threshold == -0.5


def test_a_later_calibration_replaces_both_bands(gallery: Gallery) -> None:
    enroll(gallery, 20, 4)
    calibrate(gallery, review_far=0.2)
    later = calibrate(gallery, far=0.2)  # without a band for review: ten times as much makes no rate
    bands = resolve_bands(weights_with(None), gallery=gallery)
    assert (bands.threshold, bands.review_threshold) == (later.after.identify.threshold, None)


def test_pairs_of_other_people_decide_for_people_by_the_factor(gallery: Gallery) -> None:
    enroll(gallery, 20, 4)
    scores = np.random.default_rng(0).normal(0.2, 0.1, 2000).astype(np.float32)
    nobody = np.zeros(2000, np.int64)
    pairs = ScoredPairs(scores, np.arange(2000) < 200, nobody, nobody, nobody, None, 0, 0)
    measured = calibrate_pairs(pairs, source="a list", far=1e-2, review_far=5e-2)
    proposal = propose_thresholds(gallery, measured, weights_with(None))
    assert measured.templates is None and measured.pairs.review is not None
    assert proposal.threshold == measured.pairs.match.threshold.estimate
    assert proposal.review_threshold == measured.pairs.review.threshold.estimate
    assert proposal.after.identify.threshold == pytest.approx(proposal.threshold * template_factor({4: 20}))


def test_an_empty_gallery_has_no_model_to_keep_a_threshold_for(gallery: Gallery, tmp_path: Path) -> None:
    with open_gallery(tmp_path / "other.sqlite", create=True) as other:
        enroll(other, 20, 4)
        proposal = calibrate(other)
    with pytest.raises(EvaluationError, match="nobody is enrolled"):
        store_calibration(gallery, proposal)
