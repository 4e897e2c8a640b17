"""An explicit threshold wins over the gallery's, the gallery's over that of the weights."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lightface.errors import ThresholdError
from lightface.gallery import Gallery, StoredThreshold
from lightface.models.registry import WeightsRecord, find_weights
from lightface.pipeline import resolve_bands


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
