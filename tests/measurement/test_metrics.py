"""Verification figures: against hand-made cases, scikit-learn and their own laws."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from lightface.errors import LightfaceError
from lightface.measurement.metrics import (
    accept_rate,
    equal_error_rate,
    kfold_accuracy,
    roc_points,
    tar_at_far,
    threshold_at_far,
)

Pairs = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]


def pairs_of(genuine: list[float], impostors: list[float]) -> Pairs:
    scores = np.array(genuine + impostors, dtype=np.float32)
    return scores, np.arange(scores.size) < len(genuine)


def normal_pairs(genuine: int, impostors: int, *, seed: int = 0) -> Pairs:
    generator = np.random.default_rng(seed)
    return pairs_of(generator.normal(0.6, 0.2, genuine).tolist(), generator.normal(0.0, 0.2, impostors).tolist())


COSINES = st.floats(-1, 1, width=32)
TIED = st.integers(-5, 5).map(lambda fifths: fifths / 5)  # few values, so that many scores are equal
CLASSES = st.lists(COSINES | TIED, min_size=1, max_size=30)
PAIRS = st.builds(pairs_of, CLASSES, CLASSES)
RATES = st.floats(0, 1, exclude_max=True)


class TestRoc:
    def test_by_hand(self) -> None:
        roc = roc_points(*pairs_of([0.9, 0.5], [0.7, 0.5, 0.1]))
        np.testing.assert_allclose(roc.thresholds, [np.inf, 0.9, 0.7, 0.5, 0.1], rtol=1e-6)
        np.testing.assert_allclose(roc.far, [0, 0, 1 / 3, 2 / 3, 1])
        np.testing.assert_allclose(roc.tar, [0, 0.5, 0.5, 1, 1])
        assert roc.area == pytest.approx((1 / 3) * 0.5 + (1 / 3) * 0.75 + (1 / 3) * 1)

    @given(PAIRS)
    def test_agrees_with_scikit_learn(self, pairs: Pairs) -> None:
        scores, same = pairs
        roc = roc_points(scores, same)
        far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
        every_point = set(zip(thresholds.tolist(), far.tolist(), tar.tolist(), strict=True))
        kept = zip(roc.thresholds.tolist(), roc.far.tolist(), roc.tar.tolist(), strict=True)
        assert every_point.issuperset(kept)
        # far + tar grows along the curve: each point that was left out lies on a line that was kept.
        np.testing.assert_allclose(np.interp(far + tar, roc.far + roc.tar, roc.far), far, atol=1e-12)
        assert roc.area == pytest.approx(roc_auc_score(same, scores), abs=1e-12)

    @given(PAIRS)
    def test_never_falls(self, pairs: Pairs) -> None:
        roc = roc_points(*pairs)
        assert np.all(np.diff(roc.thresholds) < 0)
        assert np.all(np.diff(roc.far) >= 0)
        assert np.all(np.diff(roc.tar) >= 0)
        assert (roc.far[0], roc.tar[0], roc.far[-1], roc.tar[-1]) == (0, 0, 1, 1)

    def test_stays_small_for_many_impostors(self) -> None:
        roc = roc_points(*normal_pairs(50, 100_000))
        assert len(roc.thresholds) <= 2 * 50 + 2


class TestEqualErrorRate:
    def test_by_hand(self) -> None:
        assert equal_error_rate(*pairs_of([0.9, 0.8], [0.1, 0.2])) == 0
        assert equal_error_rate(*pairs_of([0.1, 0.2], [0.9, 0.8])) == 1
        assert equal_error_rate(*pairs_of([0.9, 0.4], [0.5, 0.1])) == 0.5
        assert equal_error_rate(*pairs_of([0.5], [0.5])) == 0.5
        # A tie of two genuine and one impostor draws a straight line from FAR 0, FRR 2/3 to FAR 1/2, FRR 0.
        assert equal_error_rate(*pairs_of([0.9, 0.5, 0.5], [0.5, 0.1])) == pytest.approx(2 / 7)

    @given(PAIRS)
    def test_is_where_scikit_learns_curve_crosses(self, pairs: Pairs) -> None:
        scores, same = pairs
        far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
        length = np.arange(far.size)  # walk along the curve, so that its vertical parts are interpolated as well
        far_at, tar_at = interp1d(length, far), interp1d(length, tar)
        crossing = brentq(lambda at: float(far_at(at) + tar_at(at) - 1), 0, far.size - 1, xtol=1e-12)
        assert equal_error_rate(scores, same) == pytest.approx(float(far_at(crossing)), abs=1e-9)

    @given(PAIRS)
    def test_flipping_labels_and_signs_changes_nothing(self, pairs: Pairs) -> None:
        scores, same = pairs
        assert equal_error_rate(-scores, ~same) == pytest.approx(equal_error_rate(scores, same), abs=1e-12)

    @given(PAIRS)
    def test_only_the_order_of_scores_counts(self, pairs: Pairs) -> None:
        scores, same = pairs
        _, ranks = np.unique(scores, return_inverse=True)
        assert equal_error_rate(ranks.astype(np.float64), same) == equal_error_rate(scores, same)


class TestThresholdAtFar:
    def test_by_hand(self) -> None:
        impostors = np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32)
        assert threshold_at_far(impostors, 0) == np.nextafter(np.float32(0.4), np.float32(1))
        assert threshold_at_far(impostors, 0.24) == threshold_at_far(impostors, 0)
        assert threshold_at_far(impostors, 0.25) == np.nextafter(np.float32(0.3), np.float32(1))
        assert accept_rate(impostors, threshold_at_far(impostors, 0.25)) == 0.25

    def test_ties_are_refused_together(self) -> None:
        impostors = np.array([0.5, 0.5, 0.5, 0.1], dtype=np.float32)
        assert accept_rate(impostors, threshold_at_far(impostors, 0.5)) == 0
        assert accept_rate(impostors, threshold_at_far(impostors, 0.75)) == 0.75

    @pytest.mark.parametrize("far", [0.29, 0.07, 0.57])  # far * 100 falls below the whole number it stands for
    def test_a_rate_that_can_be_met_exactly_is(self, far: float) -> None:
        impostors = np.arange(100, dtype=np.float64)
        assert accept_rate(impostors, threshold_at_far(impostors, far)) == far

    def test_a_rate_that_is_missed_by_a_hair_is_missed(self) -> None:
        impostors, far = np.arange(6.0), float(np.nextafter(5 / 6, 0))  # far * 6 is rounded to 5
        assert accept_rate(impostors, threshold_at_far(impostors, far)) == 4 / 6

    @given(CLASSES, RATES, st.sampled_from([np.float32, np.float64]))
    def test_is_the_lowest_that_keeps_the_rate(self, impostors: list[float], far: float, dtype: Any) -> None:
        scores = np.array(impostors, dtype=dtype)
        threshold = threshold_at_far(scores, far)
        assert accept_rate(scores, threshold) <= far
        just_below = float(np.nextafter(dtype(threshold), dtype(-np.inf)))
        assert accept_rate(scores, just_below) > far

    @pytest.mark.parametrize("far", [-0.1, 1.0, math.nan])
    def test_impossible_rates(self, far: float) -> None:
        with pytest.raises(LightfaceError, match="false-accept rate"):
            threshold_at_far(np.array([0.5], dtype=np.float32), far)


class TestTarAtFar:
    def test_by_hand(self) -> None:
        pairs = pairs_of([0.9, 0.35, 0.3, 0.0], [0.1, 0.2, 0.3, 0.4])
        assert tar_at_far(*pairs, 0) == 0.25
        assert tar_at_far(*pairs, 0.25) == 0.5  # the genuine 0.3 is tied with an impostor that is refused
        assert tar_at_far(*pairs, 0.5) == 0.75

    @given(PAIRS, RATES, RATES)
    def test_never_falls_as_the_rate_rises(self, pairs: Pairs, far_a: float, far_b: float) -> None:
        low, high = sorted([far_a, far_b])
        assert tar_at_far(*pairs, low) <= tar_at_far(*pairs, high)

    @given(PAIRS, RATES)
    def test_is_the_highest_of_scikit_learns_points_within_the_rate(self, pairs: Pairs, far: float) -> None:
        scores, same = pairs
        fars, tars, _ = roc_curve(same, scores, drop_intermediate=False)
        assert tar_at_far(scores, same, far) == pytest.approx(tars[fars <= far].max(), abs=1e-12)

    def test_a_float32_score_is_not_rounded_up_to_the_threshold(self) -> None:
        assert accept_rate(np.array([0.7], dtype=np.float32), 0.7) == 0  # the score is 0.69999999


class TestKfoldAccuracy:
    def test_parts_what_can_be_parted(self) -> None:
        generator = np.random.default_rng(3)
        same = np.tile(np.arange(60) < 30, 10)  # LFW's order: each fold half genuine, then half impostors
        scores = np.where(same, 0.7, 0.1) + generator.uniform(-0.2, 0.2, same.size)
        result = kfold_accuracy(scores, same)
        assert (result.mean, result.standard_deviation) == (1, 0)
        assert result.accuracies == (1.0,) * 10
        assert all(0.3 < threshold < 0.5 for threshold in result.thresholds)

    def test_by_hand(self) -> None:
        scores, same = np.array([0.9, 0.2, 0.5, 0.4, 0.8, 0.6]), np.array([True, False] * 3)
        result = kfold_accuracy(scores, same, np.array([0, 0, 1, 1, 2, 2]))
        # Folds 0 and 1 are decided at (0.8 + 0.6) / 2, the higher of two ties, fold 2 at (0.5 + 0.4) / 2.
        assert result.thresholds == pytest.approx((0.7, 0.7, 0.45))
        assert result.accuracies == (1.0, 0.5, 0.5)
        assert result.mean == pytest.approx(2 / 3)
        assert result.standard_deviation == pytest.approx(np.std([1, 0.5, 0.5]))

    def test_the_threshold_never_sees_its_own_fold(self) -> None:
        scores, same = normal_pairs(500, 500)
        folds = np.arange(1000) % 10
        original = kfold_accuracy(scores, same, folds)
        changed = scores.copy()
        changed[folds == 4] = -changed[folds == 4]
        assert kfold_accuracy(changed, same, folds).thresholds[4] == original.thresholds[4]

    def test_may_refuse_everything(self) -> None:
        scores, same = np.array([0.1, 0.8, 0.9, 0.1, 0.8, 0.9]), np.array([True, False, False] * 2)
        result = kfold_accuracy(scores, same, np.array([0, 0, 0, 1, 1, 1]))
        assert result.thresholds == (math.inf, math.inf)
        assert result.mean == pytest.approx(2 / 3)

    def test_neighbouring_numbers_are_parted(self) -> None:
        scores = np.array([np.nextafter(0.5, 1), 0.5] * 2)
        result = kfold_accuracy(scores, np.array([True, False] * 2), np.array([0, 0, 1, 1]))
        assert result.mean == 1

    @given(PAIRS)
    def test_no_threshold_is_better_than_the_chosen_one(self, pairs: Pairs) -> None:
        scores, same = pairs
        twice = np.concatenate([scores, scores]).astype(np.float64)
        result = kfold_accuracy(twice, np.concatenate([same, same]), np.arange(twice.size) // scores.size)
        candidates = [math.inf, *np.unique(twice)]
        best = max(float(np.mean((scores >= threshold) == same)) for threshold in candidates)
        assert result.accuracies == pytest.approx((best, best))

    def test_one_fold_is_no_cross_validation(self) -> None:
        with pytest.raises(LightfaceError, match="two folds"):
            kfold_accuracy(*normal_pairs(5, 5), np.zeros(10, dtype=np.int64))
        with pytest.raises(LightfaceError, match="fold of each pair"):
            kfold_accuracy(*normal_pairs(5, 5), np.arange(9))


class TestRefusals:
    figures = (
        equal_error_rate,
        roc_points,
        kfold_accuracy,
        partial(tar_at_far, far=0.1),
    )

    @pytest.mark.parametrize("figure", figures)
    @pytest.mark.parametrize(
        ("genuine", "impostors", "words"),
        [
            ([], [0.1], "no genuine pairs"),
            ([0.1], [], "no impostor pairs"),
            ([], [], "no genuine pairs"),
            ([math.nan, 0.5], [0.1], "genuine pairs have no finite score"),
            ([0.5], [0.1, math.inf], "impostor pairs have no finite score"),
        ],
    )
    def test_no_figure_without_scores(
        self, figure: Any, genuine: list[float], impostors: list[float], words: str
    ) -> None:
        with pytest.raises(LightfaceError, match=words):
            figure(*pairs_of(genuine, impostors))

    def test_labels_must_fit(self) -> None:
        with pytest.raises(LightfaceError, match="as many true or false labels"):
            equal_error_rate(np.array([0.1, 0.2]), np.array([True]))
        with pytest.raises(LightfaceError, match="as many true or false labels"):
            equal_error_rate(np.array([0.1, 0.2]), np.array([1, 0]))

    def test_threshold_of_no_impostors(self) -> None:
        with pytest.raises(LightfaceError, match="no impostor pairs"):
            threshold_at_far(np.array([]), 0.1)
