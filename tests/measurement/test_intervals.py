from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from lightface.measurement.intervals import Figure, resample, share_figure, share_over_people, wilson
from lightface.measurement.metrics import Scores, equal_error_rate, roc_points, tar_at_far, threshold_at_far
from lightface.records import BoolArray


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_gives_the_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    figure = wilson(successes, trials)
    assert (figure.low, figure.high) == pytest.approx((low, high), abs=5e-5)
    assert figure.estimate == successes / trials


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_its_estimate_and_stays_between_0_and_1(trials: int, data: st.DataObject) -> None:
    figure = wilson(data.draw(st.integers(0, trials)), trials)
    assert 0 <= figure.low <= figure.estimate <= figure.high <= 1


@given(st.integers(1, 1_000_000), st.data())
def test_wilson_is_scipys_up_to_rounding(trials: int, data: st.DataObject) -> None:
    """scipy's own would take 0.4 ms, and a second to import."""
    successes = data.draw(st.integers(0, trials))
    figure = wilson(successes, trials)
    theirs = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    assert (figure.low, figure.high) == pytest.approx((theirs.low, theirs.high), abs=1e-14)


def make_pairs(seed: int = 0, *, decimals: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, and who is on either side: 300 pairs among 12 people."""
    generator = np.random.default_rng(seed)
    people = generator.integers(12, size=(2, 300))
    people[1, :100] = people[0, :100]
    scores = generator.normal(size=300) + 1.2 * (people[0] == people[1])
    return np.round(scores, decimals).astype(np.float32), people[0], people[1]


def repeat_pairs(
    figure: Callable[[Scores, BoolArray], float],
    scores: Scores,
    a: np.ndarray,
    b: np.ndarray,
    *,
    rounds: int,
    seed: int,
) -> list[float]:
    """The bootstrap over people as it is described, to compare with: pairs are repeated as often as they are drawn."""
    same = a == b
    people, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    generator = np.random.default_rng(seed)
    figures: list[float] = []
    while len(figures) < rounds:
        draws = np.bincount(generator.integers(len(people), size=len(people)), minlength=len(people))
        counts = np.where(same, draws[places[: a.size]], draws[places[: a.size]] * draws[places[a.size :]])
        if counts[same].any() and counts[~same].any():
            figures.append(figure(np.repeat(scores, counts), np.repeat(same, counts)))
    return figures


@pytest.mark.parametrize("decimals", [1, 6])
def test_weights_come_to_what_repeated_pairs_would(decimals: int) -> None:
    """The reference repeats and sorts the pairs in each round; the same seed draws the same people."""
    scores, a, b = make_pairs(decimals=decimals)
    drawn = resample(scores, a == b, (a, b), fars=[0.1], rounds=60, seed=3)
    figures: list[tuple[Callable[[Scores, BoolArray], float], Scores]] = [
        (partial(tar_at_far, far=0.1), drawn.tar[:, 0]),
        (equal_error_rate, drawn.equal_error_rate),
        (lambda scores, same: roc_points(scores, same).area, drawn.area),
        (lambda scores, same: threshold_at_far(scores[~same], 0.1), drawn.threshold[:, 0]),
    ]
    for figure, values in figures:
        assert values == pytest.approx(repeat_pairs(figure, scores, a, b, rounds=60, seed=3), abs=1e-12)


def test_what_a_fixed_threshold_does_is_redrawn_too() -> None:
    scores, a, b = make_pairs()
    same = a == b
    drawn = resample(scores, same, None, thresholds=[0.5, float(scores.min()), 99.0], rounds=400)
    assert drawn.far_at[:, 0].mean() == pytest.approx((scores[~same] >= 0.5).mean(), abs=0.02)
    assert drawn.tar_at[:, 0].mean() == pytest.approx((scores[same] >= 0.5).mean(), abs=0.02)
    assert (drawn.far_at[:, 1] == 1).all() and (drawn.tar_at[:, 2] == 0).all()
    assert drawn.method == "bootstrap over pairs, 400 rounds"


def test_pairs_of_few_people_are_trusted_less_than_as_many_independent_ones() -> None:
    scores, a, b = make_pairs()
    spread = [
        np.ptp(np.quantile(resample(scores, a == b, people, rounds=300).area, [0.025, 0.975]))
        for people in ((a, b), None)
    ]
    assert spread[0] > spread[1]


def test_pairs_that_all_passed_are_no_proof_that_all_will() -> None:
    figure = share_figure(np.ones(50, np.bool_), np.ones(200), "bootstrap")
    assert figure.high == 1 and figure.low == pytest.approx(0.9287, abs=5e-4)
    assert figure.method == "Wilson"
    assert share_over_people(np.zeros(40, np.bool_), np.arange(40), repeats=2) == wilson(0, 20)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.05, 0.1, 0.5]))
def test_a_share_lies_within_its_interval(seed: int, far: float) -> None:
    scores, a, b = make_pairs(seed)
    drawn = resample(scores, a == b, (a, b), fars=[far], rounds=50)
    passed = scores[a == b] >= np.float64(threshold_at_far(scores[a != b], far))
    figure = share_figure(passed, drawn.tar[:, 0], drawn.method)
    assert 0 <= figure.low <= figure.estimate <= figure.high <= 1


def test_without_pairs_of_one_person_thresholds_are_drawn_all_the_same() -> None:
    generator = np.random.default_rng(0)
    scores, a = generator.normal(size=500).astype(np.float32), generator.integers(20, size=500)
    drawn = resample(scores, np.zeros(500, np.bool_), (a, a + 20), fars=[0.1], rounds=20)
    assert np.isfinite(drawn.threshold).all() and (drawn.tar == 0).all()


def pairs_of_people(people: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two photographs a person, all pairs, each person with a shift of their own."""
    generator = np.random.default_rng(seed)
    photos = np.repeat(np.arange(people), 2)
    first, second = np.triu_indices(photos.size, k=1)
    ease = generator.normal(0, 0.15, people)
    a, b = photos[first], photos[second]
    scores = np.where(a == b, 0.5, 0.0) + (ease[a] + ease[b]) / 2 + generator.normal(0, 0.1, a.size)
    return scores, a, b


def far_interval(people: int, *, seed: int = 0, rounds: int = 200, draw_seed: int = 0) -> Figure:
    """How often impostors reach 0.1, whose true share is known: their scores are normal around 0."""
    scores, a, b = pairs_of_people(people, seed=seed)
    drawn = resample(scores, a == b, (a, b), thresholds=[0.1], rounds=rounds, seed=draw_seed)
    return share_figure(scores[a != b] >= 0.1, drawn.far_at[:, 0], drawn.method)


def test_an_interval_holds_its_estimate_and_is_repeatable() -> None:
    figure = far_interval(40, draw_seed=7)
    assert figure.low < figure.estimate < figure.high
    assert far_interval(40, draw_seed=7) == figure != far_interval(40, draw_seed=8)


def test_an_interval_narrows_with_people() -> None:
    many, few = far_interval(100), far_interval(20)
    assert many.high - many.low < few.high - few.low


def test_an_interval_is_wider_than_one_that_takes_pairs_for_independent() -> None:
    scores, a, b = pairs_of_people(40)
    naive, figure = wilson(int((scores[a != b] >= 0.1).sum()), int((a != b).sum())), far_interval(40)
    assert figure.high - figure.low > 3 * (naive.high - naive.low)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    truth = 1 - NormalDist(0, math.sqrt(0.15**2 / 2 + 0.1**2)).cdf(0.1)
    figures = [far_interval(25, seed=seed) for seed in range(100)]
    assert 88 <= sum(figure.low <= truth <= figure.high for figure in figures) <= 100


def test_a_round_without_a_kind_is_drawn_again() -> None:
    people = np.array([1, 1]), np.array([1, 2])
    drawn = resample(np.array([0.9, 0.1], np.float32), np.array([True, False]), people, rounds=20)
    assert (drawn.equal_error_rate == 0).all() and drawn.equal_error_rate.size == 20
