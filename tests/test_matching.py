"""Scores, ranking, decisions and the assignment of people to the faces of one photograph."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightface.errors import ThresholdError
from lightface.matching import (
    DecisionBands,
    PersonScoring,
    assign_people,
    cosine_scores,
    decide,
    is_same,
    measure_poorness,
    person_scores,
    rank_people,
    template_factor,
    threshold_of_pair,
)
from lightface.records import FloatArray, Status


def unit_rows(*rows: tuple[float, ...]) -> FloatArray:
    values = np.array(rows, dtype=np.float64)
    unit: FloatArray = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit


AXES = unit_rows((1, 0, 0), (0, 1, 0), (0, 0, 1))
SCORE_TABLES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=4),
    elements=st.integers(-10, 10).map(lambda tenths: tenths / 10),
)


class TestCosineScores:
    def test_values(self) -> None:
        scores = cosine_scores(unit_rows((1, 1, 0)), AXES)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, [[0.5**0.5, 0.5**0.5, 0]], atol=1e-7)

    def test_never_leave_the_range_of_a_cosine(self) -> None:
        rows = unit_rows(*np.random.default_rng(1).normal(size=(200, 256)).tolist())
        scores = cosine_scores(rows, rows)
        assert scores.max() <= 1.0
        assert cosine_scores(rows, -rows).min() >= -1.0

    @pytest.mark.parametrize(("probes", "samples"), [(0, 3), (3, 0), (0, 0)])
    def test_nothing_to_compare(self, probes: int, samples: int) -> None:
        empty = cosine_scores(np.zeros((probes, 256), np.float32), np.zeros((samples, 256), np.float32))
        assert empty.shape == (probes, samples)


class TestPersonScores:
    samples = unit_rows((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1))
    people = np.array([0, 0, 1, 1])

    def test_best_takes_the_most_similar_sample(self) -> None:
        scores = person_scores(AXES, self.samples, self.people, 2, how="best")
        np.testing.assert_allclose(scores, [[1, 0], [1, 0.5**0.5], [0, 1]], atol=1e-6)

    def test_mean_takes_the_cosine_to_the_normalised_mean(self) -> None:
        scores = person_scores(AXES, self.samples, self.people, 2, how="mean")
        template = np.array([0, 0.5**0.5, 1 + 0.5**0.5])
        template /= np.linalg.norm(template)
        expected = [[0.5**0.5, template[0]], [0.5**0.5, template[1]], [0, template[2]]]
        np.testing.assert_allclose(scores, expected, atol=1e-6)

    @pytest.mark.parametrize("how", ["best", "mean"])
    def test_the_order_of_samples_is_free(self, how: PersonScoring) -> None:
        order = np.array([2, 0, 3, 1])
        sorted_scores = person_scores(AXES, self.samples, self.people, 2, how=how)
        mixed_scores = person_scores(AXES, self.samples[order], self.people[order], 2, how=how)
        np.testing.assert_allclose(mixed_scores, sorted_scores, atol=1e-6)

    @pytest.mark.parametrize("how", ["best", "mean"])
    def test_a_person_without_samples_is_never_matched(self, how: PersonScoring) -> None:
        scores = person_scores(AXES, self.samples, self.people * 2, 3, how=how)
        assert np.all(np.isneginf(scores[:, 1]))
        assert np.all(np.isfinite(scores[:, [0, 2]]))
        assert [row for row in assign_people(scores, -1.0) if row == 1] == []

    @pytest.mark.parametrize("how", ["best", "mean"])
    def test_an_empty_gallery(self, how: PersonScoring) -> None:
        nobody = person_scores(AXES, np.zeros((0, 3), np.float32), np.zeros(0, np.int64), 0, how=how)
        assert nobody.shape == (3, 0)
        assert assign_people(nobody, 0.4) == [None, None, None]

    def test_samples_that_cancel_out_give_no_direction(self) -> None:
        opposite = np.concatenate([AXES[:1], -AXES[:1]])
        assert person_scores(AXES, opposite, np.array([0, 0]), 1, how="mean").tolist() == [[0], [0], [0]]


class TestDecide:
    def test_bands_are_inclusive(self) -> None:
        bands = DecisionBands(0.5, 0.25)
        expected = {0.5: Status.MATCHED, 0.4999: Status.REVIEW, 0.25: Status.REVIEW, 0.2499: Status.UNKNOWN}
        assert {similarity: decide(similarity, bands) for similarity in expected} == expected

    def test_without_a_review_band(self) -> None:
        bands = DecisionBands(0.5)
        assert bands.naming_threshold == 0.5
        assert decide(0.5, bands) is Status.MATCHED
        assert decide(0.4999, bands) is Status.UNKNOWN

    def test_a_float32_similarity_is_not_rounded_up_to_the_threshold(self) -> None:
        scores = np.array([[0.7]], dtype=np.float32)  # 0.699999988...
        assert not is_same(scores[0, 0], 0.7)
        assert is_same(scores[0, 0], float(scores[0, 0]))
        assert assign_people(scores, 0.7) == [None]

    def test_nan_is_unknown(self) -> None:
        assert decide(float("nan"), DecisionBands(-1.0)) is Status.UNKNOWN
        assert assign_people(np.array([[np.nan, 0.5]], dtype=np.float32), 0.4) == [1]

    @pytest.mark.parametrize(
        ("threshold", "review", "words"),
        [
            (0.4, 0.5, "above the threshold"),
            (float("nan"), None, "nan; give a number"),
            (0.4, float("-inf"), "-inf; give a number"),
        ],
    )
    def test_impossible_bands(self, threshold: float, review: float | None, words: str) -> None:
        with pytest.raises(ThresholdError, match=words):
            DecisionBands(threshold, review)


class TestRankPeople:
    def test_best_first_and_ties_in_order(self) -> None:
        scores = np.array([0.2, 0.9, 0.5, 0.9, -np.inf], dtype=np.float32)
        assert rank_people(scores).tolist() == [1, 3, 2, 0, 4]
        assert rank_people(scores, 2).tolist() == [1, 3]
        assert rank_people(scores, 99).tolist() == [1, 3, 2, 0, 4]


class TestAssignPeople:
    def test_one_person_is_named_once(self) -> None:
        assert assign_people(np.array([[0.9], [0.8]]), 0.4) == [0, None]

    def test_the_second_face_takes_its_own_next_best(self) -> None:
        assert assign_people(np.array([[0.9, 0.1], [0.8, 0.6]]), 0.4) == [0, 1]

    def test_no_pair_below_the_threshold_displaces_one_above(self) -> None:
        # The unconstrained optimum is 0.6 + 0.39 on the other diagonal, half of which may not be used.
        assert assign_people(np.array([[0.5, 0.39], [0.6, 0.0]]), 0.4) == [None, 0]

    def test_one_sure_match_is_not_traded_for_two_doubtful_ones(self) -> None:
        assert assign_people(np.array([[0.9, 0.46], [0.45, 0.0]]), 0.4) == [0, None]

    def test_exactly_at_the_threshold(self) -> None:
        assert assign_people(np.array([[0.5, 0.25]]), 0.5) == [0]

    @given(SCORE_TABLES, st.integers(-10, 10).map(lambda tenths: float(np.float32(tenths / 10))))
    def test_is_the_best_of_all_admissible_assignments(self, scores: FloatArray, threshold: float) -> None:
        chosen = assign_people(scores, threshold)
        named = [(face, person) for face, person in enumerate(chosen) if person is not None]
        assert len({person for _, person in named}) == len(named)
        assert all(is_same(scores[pair], threshold) for pair in named)

        margins = np.where(scores.astype(float) >= threshold, scores.astype(float) - threshold, 0.0)
        best = max(
            sum(margins[face, person] for face, person in enumerate(people) if person < scores.shape[1])
            for people in permutations(range(scores.shape[1] + len(scores)), len(scores))
        )
        assert sum(margins[pair] for pair in named) == pytest.approx(best, abs=1e-9)

    @given(st.lists(st.integers(-1000, 1000), min_size=1), st.integers(-1000, 1000))
    def test_a_lone_face_gets_its_best_person(self, thousandths: list[int], threshold: int) -> None:
        scores: FloatArray = np.array([thousandths], dtype=np.float32) / np.float32(1024)  # without rounding
        (person,) = assign_people(scores, threshold / 1024)
        best = max(thousandths)
        assert (None if person is None else thousandths[person]) == (best if best >= threshold else None)


class TestTemplateFactor:
    def test_a_single_sample_is_no_mean(self) -> None:
        assert template_factor({}) == template_factor({1: 7}) == 1.0

    def test_more_samples_ask_for_more(self) -> None:
        factors = [template_factor({samples: 1}) for samples in (1, 2, 3, 5, 8, 1000)]
        assert factors == sorted(factors) and factors[-1] < 1.15
        assert factors[3] == pytest.approx(((1 + 4 * 0.56) / 5) ** -0.21)

    def test_it_is_the_mean_over_people(self) -> None:
        assert template_factor({1: 3, 8: 1}) == pytest.approx((3 + template_factor({8: 1})) / 4)


class TestPoorFaces:
    def test_a_clear_face_and_an_unknown_quality_cost_nothing(self) -> None:
        assert measure_poorness([1.0, 0.9, None, float("nan"), 0.45, 0.0]).tolist() == [0, 0, 0, 0, 0.5, 1]
        assert measure_poorness([]).shape == (0,)

    def test_the_threshold_rises_with_the_poorness_of_both(self) -> None:
        assert threshold_of_pair(0.5, 0, 1, poor_raise=0.4) == 0.5
        assert threshold_of_pair(0.5, 0.5, 0.5, poor_raise=0.4) == pytest.approx(0.6)
        assert threshold_of_pair(0.9, 1, 1, poor_raise=0.4) == 1.0
        assert threshold_of_pair(1.5, 1, 1, poor_raise=0.4) == 1.5  # nobody is to be matched

    @pytest.mark.parametrize("poor_raise", [-0.1, float("nan"), float("inf")])
    def test_a_raise_that_is_none(self, poor_raise: float) -> None:
        with pytest.raises(ThresholdError, match="raise"):
            DecisionBands(0.5, poor_raise=poor_raise)
