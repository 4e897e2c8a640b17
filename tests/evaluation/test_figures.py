from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from lightface.evaluation.evaluate import thin_roc
from lightface.evaluation.figures import ScoredPairs, measure_pairs, rate_text
from lightface.evaluation.pair_list import stratified_folds
from lightface.evaluation.summary import summarise
from lightface.measurement.metrics import SourcedThreshold, impostors_needed, roc_points


def make_scored(scores: np.ndarray, same: np.ndarray, *, genuine_lost: int = 0) -> ScoredPairs:
    count = scores.size
    return ScoredPairs(
        scores=scores.astype(np.float32),
        same=same,
        a=np.arange(count),
        b=np.arange(count),
        folds=stratified_folds(same),
        people=None,
        genuine_lost=genuine_lost,
        impostors_lost=0,
    )


def draw_scored(seed: int, genuine: int, impostors: int, *, decimals: int = 6) -> ScoredPairs:
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(0.45, 0.2, genuine), generator.normal(0.1, 0.15, impostors)])
    return make_scored(np.round(scores, decimals), np.arange(genuine + impostors) < genuine)


@pytest.mark.parametrize("decimals", [1, 6])
def test_figures_agree_with_scikit_learn(decimals: int) -> None:
    pairs = draw_scored(1, 400, 12_000, decimals=decimals)
    far, tar, _ = roc_curve(pairs.same, pairs.scores, drop_intermediate=False)
    figures = measure_pairs(pairs)
    assert figures.area.estimate == pytest.approx(roc_auc_score(pairs.same, pairs.scores), abs=1e-12)  # type: ignore[union-attr]
    for one in figures.tar_at_far[:3]:
        assert one.tar is not None
        assert one.tar.estimate == tar[far <= one.far].max()
    crossing = np.interp(0, far + tar - 1, far)  # FAR - FRR, which rises
    assert figures.equal_error_rate.estimate == pytest.approx(crossing, abs=1e-9)  # type: ignore[union-attr]


def test_a_thinned_curve_lies_on_the_whole_one() -> None:
    pairs = draw_scored(2, 5000, 50_000)
    whole = roc_points(pairs.scores, pairs.same)
    thin = thin_roc(whole)
    assert thin.far.size < 1000 < whole.far.size
    assert (thin.far[0], thin.tar[0], thin.far[-1], thin.tar[-1]) == (0, 0, 1, 1)
    assert {*zip(thin.far, thin.tar, strict=True)} <= {*zip(whole.far, whole.tar, strict=True)}
    assert np.diff(np.interp(np.linspace(0, 1, 50), thin.tar, thin.tar)).max() < 0.03


def test_figures_by_hand() -> None:
    # 100 impostors at 0.00 .. 0.99, ten genuine pairs: eight above them all, one at 0.955, one at 0.5.
    scores = np.concatenate([np.arange(100) / 100, np.full(8, 2.0), [0.955, 0.5]])
    figures = measure_pairs(
        make_scored(scores, np.arange(110) >= 100, genuine_lost=2), thresholds=[SourcedThreshold(0.945, "a test")]
    )
    (first, second, *_) = figures.tar_at_far
    assert first.tar is not None and first.tar.estimate == 0.9  # at 0.90 or just below lie ten impostors
    assert first.tar_with_failures == pytest.approx(9 / 12)
    assert first.threshold is not None and first.threshold.estimate == pytest.approx(0.89, abs=1e-6)
    assert (second.tar, second.threshold, second.impostors_missing) == (None, None, 900)
    (at,) = figures.at_thresholds
    assert (at.far.estimate, at.tar.estimate) == (0.05, 0.9)  # type: ignore[union-attr]
    assert (figures.genuine, figures.impostors, figures.genuine_lost) == (10, 100, 2)
    assert figures.guessing == pytest.approx(100 / 110)


def test_too_few_impostors_give_words_and_no_figure() -> None:
    rows = {row.name: row for row in summarise(measure_pairs(draw_scored(3, 50, 3000)))}
    assert rows["TAR at FAR 1e-2"].value.endswith(" %")
    assert rows["TAR at FAR 1e-3"].value == "too few impostor pairs (7,000 more needed)"
    assert rows["TAR at FAR 1e-4"].value == "too few impostor pairs (97,000 more needed)"
    few = {row.name: row for row in summarise(measure_pairs(draw_scored(3, 9, 3000)))}
    assert few["10-fold accuracy"].value == "too few pairs"


@pytest.mark.parametrize(("far", "needed"), [(1e-1, 100), (1e-3, 10_000), (1e-4, 100_000), (0.3, 34)])
def test_ten_false_accepts_make_a_rate(far: float, needed: int) -> None:
    assert impostors_needed(far) == needed


@pytest.mark.parametrize(("rate", "text"), [(1e-3, "1e-3"), (0.025, "0.025"), (2e-4, "2e-4"), (0.1, "1e-1")])
def test_rates_are_written_as_they_are_typed(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 200), st.sampled_from([1, 2, 6]))
def test_a_looser_rate_never_accepts_fewer_and_never_at_a_higher_threshold(
    seed: int, genuine: int, decimals: int
) -> None:
    pairs = draw_scored(seed, genuine, 3000, decimals=decimals)
    measured = [one for one in measure_pairs(pairs, fars=(0.5, 0.2, 0.1, 0.02, 0.01)).tar_at_far if one.tar]
    tars = [one.tar.estimate for one in measured if one.tar]
    thresholds = [one.threshold.estimate for one in measured if one.threshold]
    assert tars == sorted(tars, reverse=True) and thresholds == sorted(thresholds)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 6]))
def test_turning_labels_and_scores_around_changes_neither_eer_nor_area(seed: int, decimals: int) -> None:
    pairs = draw_scored(seed, 100, 150, decimals=decimals)
    there, back = measure_pairs(pairs), measure_pairs(make_scored(-pairs.scores, ~pairs.same))
    assert back.area.estimate == pytest.approx(there.area.estimate, abs=1e-12)  # type: ignore[union-attr]
    assert back.equal_error_rate.estimate == pytest.approx(there.equal_error_rate.estimate, abs=1e-9)  # type: ignore[union-attr]
