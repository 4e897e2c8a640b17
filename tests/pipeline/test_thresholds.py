"""An explicit threshold wins over the gallery's, the gallery's over that of the weights; templates ask for more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from lightface.errors import ThresholdError
from lightface.gallery import Gallery, NewSample, StoredThreshold
from lightface.matching import template_factor
from lightface.models.registry import WeightsRecord, find_weights
from lightface.pipeline import resolve_bands, resolve_threshold


@pytest.fixture
def record() -> WeightsRecord:
    return replace(find_weights("lightcnn9"), thresholds={"1e-2": 0.3, "1e-3": 0.45})


def test_the_threshold_of_the_weights_is_that_of_one_in_a_thousand(record: WeightsRecord, gallery: Gallery) -> None:
    assert resolve_bands(record).threshold == 0.45
    assert resolve_bands(record, gallery=gallery).threshold == 0.45
    assert resolve_bands(record).review_threshold is None


def test_the_gallerys_latest_threshold_comes_first(record: WeightsRecord, gallery: Gallery) -> None:
    for far, threshold, year in [(0.01, 0.31, 2024), (0.0001, 0.62, 2023)]:
        gallery.set_threshold(StoredThreshold(far, threshold, "a test", datetime(year, 1, 1, tzinfo=UTC)))
    assert resolve_bands(record, gallery=gallery).threshold == 0.31


@pytest.mark.parametrize("threshold", [0.7, 0.0, -1.0])
def test_an_explicit_threshold_comes_before_all(record: WeightsRecord, gallery: Gallery, threshold: float) -> None:
    gallery.set_threshold(StoredThreshold(0.01, 0.31, "a test"))
    bands = resolve_bands(record, gallery=gallery, threshold=threshold, review_threshold=-1.0)
    assert (bands.threshold, bands.review_threshold) == (threshold, -1.0)


def test_without_any_the_way_to_one_is_told(record: WeightsRecord, gallery: Gallery) -> None:
    with pytest.raises(ThresholdError, match="lightface calibrate"):
        resolve_bands(replace(record, thresholds={"1e-2": 0.3}), gallery=gallery)


def test_bands_that_do_not_fit_each_other(record: WeightsRecord) -> None:
    with pytest.raises(ThresholdError, match="above the threshold"):
        resolve_bands(record, review_threshold=0.5)


def enroll(gallery: Gallery, **samples_of: int) -> None:
    number = sum(people * size for size, people in gallery.template_sizes().items())
    for name, count in samples_of.items():
        for _ in range(count):
            number += 1
            gallery.enroll(name, [NewSample(np.eye(256, dtype=np.float32)[number], "m", "/x", f"{number:064x}")])


def test_means_of_samples_ask_for_more_than_photographs(record: WeightsRecord, gallery: Gallery) -> None:
    enroll(gallery, Ada=1, Grace=1)
    assert resolve_bands(record, gallery=gallery).threshold == 0.45
    enroll(gallery, Mary=5, Rosa=8)
    factor = (1 + 1 + template_factor({5: 1}) + template_factor({8: 1})) / 4
    assert resolve_bands(record, gallery=gallery).threshold == pytest.approx(0.45 * factor)
    assert resolve_threshold(record, gallery=gallery) == 0.45


def test_what_was_calibrated_before_is_raised_too(record: WeightsRecord, gallery: Gallery) -> None:
    enroll(gallery, Ada=5)
    for far, threshold in [(1e-3, 0.5), (1e-2, 0.4)]:
        gallery.set_threshold(StoredThreshold(far, threshold, "a test", datetime(2025, 1, 1, tzinfo=UTC)))
    bands, factor = resolve_bands(record, gallery=gallery), template_factor({5: 1})
    assert bands.threshold == pytest.approx(0.5 * factor)
    assert bands.review_threshold == pytest.approx(0.4 * factor)
    assert resolve_threshold(record, gallery=gallery) == 0.5


def test_no_threshold_is_raised_out_of_reach(record: WeightsRecord, gallery: Gallery) -> None:
    enroll(gallery, Ada=8)
    gallery.set_threshold(StoredThreshold(1e-3, 0.99, "a test"))
    assert resolve_bands(record, gallery=gallery).threshold == 1.0


def test_what_is_given_is_compared_as_it_is(record: WeightsRecord, gallery: Gallery) -> None:
    enroll(gallery, Ada=8)
    bands = resolve_bands(record, gallery=gallery, threshold=0.5, review_threshold=0.4)
    assert (bands.threshold, bands.review_threshold) == (0.5, 0.4)
    assert resolve_threshold(record, threshold=0.3) == 0.3
