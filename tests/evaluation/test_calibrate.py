from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightface.errors import EvaluationError
from lightface.evaluation.calibrate import calibrate_gallery, store_calibration
from lightface.gallery import FaceSample, Gallery, open_gallery
from lightface.metrics import threshold_at_far
from lightface.models.registry import find_weights
from lightface.pipeline import resolve_bands


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with open_gallery(tmp_path / "gallery.sqlite", create=True) as gallery:
        yield gallery


def enroll(gallery: Gallery, people: int, samples: int, *, noise: float = 1.0) -> np.ndarray:
    """Made-up embeddings, (people * samples, 256), in the gallery's order."""
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(people, 1, 256)) + noise * generator.normal(size=(people, samples, 256))
    rows = (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)
    for person, vectors in enumerate(rows):
        gallery.enroll(
            f"person {person}",
            [
                FaceSample(row, "weights-1", f"/{person}/{n}", f"{1000 * person + n:064x}")
                for n, row in enumerate(vectors)
            ],
        )
    return rows.reshape(-1, 256)


def test_the_gallerys_own_pairs_give_both_bands(gallery: Gallery) -> None:
    rows = enroll(gallery, 20, 4)
    calibration = calibrate_gallery(gallery, far=1e-2)
    scores, who = rows @ rows.T, np.repeat(np.arange(20), 4)
    upper = np.triu_indices(80, k=1)
    impostors = scores[upper][who[upper[0]] != who[upper[1]]]
    assert (calibration.people, calibration.genuine, calibration.impostors) == (20, 120, 3040)
    for band, far in ((calibration.match, 1e-2), (calibration.review, 1e-1)):
        assert band is not None and band.far == far
        assert band.threshold.estimate == pytest.approx(threshold_at_far(impostors, far), abs=1e-6)
        assert band.threshold.low < band.threshold.estimate < band.threshold.high
        assert band.measured_far.estimate <= far < band.measured_far.high
        assert band.tar is not None and band.tar.estimate > 0.9


def test_how_often_a_stranger_would_be_named_is_counted_person_by_person(gallery: Gallery) -> None:
    rows = enroll(gallery, 12, 5)
    calibration = calibrate_gallery(gallery, far=1e-2)
    people = rows.reshape(12, 5, -1).mean(axis=1)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    who = np.repeat(np.arange(12), 5)
    best = np.where(who[:, None] == np.arange(12), -1, rows @ people.T).max(axis=1)
    assert calibration.strangers_named is not None
    assert calibration.strangers_named.estimate == np.mean(best >= calibration.match.threshold.estimate)
    # Being compared with 11 people, a stranger passes more often than in a single comparison.
    assert calibration.strangers_named.estimate > calibration.match.measured_far.estimate


def test_one_photograph_a_person_is_enough_for_a_threshold(gallery: Gallery) -> None:
    enroll(gallery, 50, 1)
    calibration = calibrate_gallery(gallery, far=1e-2)
    assert (calibration.genuine, calibration.impostors, calibration.match.tar) == (0, 1225, None)


def test_too_few_pairs_are_refused_with_what_is_missing(gallery: Gallery) -> None:
    enroll(gallery, 20, 2)
    with pytest.raises(
        EvaluationError,
        match=r"760 pairs of different people are too few for a false-accept rate of 1e-3: it takes 10,000, so add "
        r"9,240 more: enroll about 52 more people with 2 photographs each, or take a higher --far",
    ):
        calibrate_gallery(gallery, far=1e-3)
    assert gallery.thresholds() == []


def test_with_as_many_people_as_it_says_there_are_pairs_enough(gallery: Gallery) -> None:
    enroll(gallery, 72, 2)
    assert calibrate_gallery(gallery, far=1e-3).impostors == 72 * 71 * 4 // 2 >= 10_000 > 71 * 70 * 4 // 2


@pytest.mark.parametrize(
    ("people", "far", "review_far", "problem"),
    [
        (9, 0.1, None, "9 people are too few to measure a threshold on; it takes 10"),
        (0, 0.1, None, "0 people are too few"),
        (12, 0.0, None, "lies between 0 and 1, 0 does not"),
        (12, 1.5, None, "lies between 0 and 1, 1.5 does not"),
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
    calibration = calibrate_gallery(gallery, far=1e-2, review_far=5e-2)
    store_calibration(gallery, calibration)
    review, match = gallery.thresholds()
    assert (match.far, review.far) == (1e-2, 5e-2)
    assert match.created_at == review.created_at == calibration.made_at
    low, high = calibration.match.threshold.low, calibration.match.threshold.high
    assert match.source == (
        "the gallery's own 80 samples; 20 people, 3,040 pairs of different people; "
        f"95 % interval {low:.3f} to {high:.3f}"
    )
    record = find_weights("lightcnn9")
    bands = resolve_bands(record, gallery=gallery)
    assert (bands.threshold, bands.review_threshold) == (match.threshold, review.threshold)
    assert resolve_bands(record, gallery=gallery, threshold=0.9).review_threshold is None
    assert resolve_bands(record, gallery=gallery, review_threshold=-0.5).review_threshold == -0.5


def test_a_later_calibration_replaces_both_bands(gallery: Gallery) -> None:
    enroll(gallery, 20, 4)
    store_calibration(gallery, calibrate_gallery(gallery, far=1e-2))
    later = calibrate_gallery(gallery, far=0.2)  # without a band for review: ten times as much makes no rate
    store_calibration(gallery, replace(later, review=None))
    bands = resolve_bands(find_weights("lightcnn9"), gallery=gallery)
    assert (bands.threshold, bands.review_threshold) == (later.match.threshold.estimate, None)


def test_an_empty_gallery_has_no_model_to_keep_a_threshold_for(gallery: Gallery, tmp_path: Path) -> None:
    with open_gallery(tmp_path / "other.sqlite", create=True) as other:
        enroll(other, 20, 4)
        calibration = calibrate_gallery(other, far=1e-2)
    with pytest.raises(EvaluationError, match="nobody is enrolled"):
        store_calibration(gallery, calibration)
