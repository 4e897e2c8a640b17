"""What rejecting faces of low quality gains, counted by hand and on real photographs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightface.evaluation.evaluate import evaluate_pairs
from lightface.evaluation.figures import ScoredPairs
from lightface.evaluation.pair_list import stratified_folds
from lightface.evaluation.protocols import read_protocol
from lightface.evaluation.rejects import measure_rejects
from lightface.evaluation.summary import describe_rejects, percent, summarise_rejects
from lightface.measurement.metrics import FloatRow, equal_error_rate

PEOPLE = Path(__file__).parents[2].parent / "shared" / "photos" / "people"
PEOPLE_COUNT, PICTURES_EACH = 10, 4


def make_pairs(scores_of: FloatRow | None = None, *, consistent: bool = True) -> ScoredPairs:
    """All pairs of ten people with four pictures each. A genuine pair scores 0.8, an impostor pair 0.2.

    `scores_of` (40,) is taken off the score of each pair that has the picture.
    """
    people = np.repeat(np.arange(PEOPLE_COUNT), PICTURES_EACH)
    a, b = (part.astype(np.int64) for part in np.triu_indices(people.size, 1))
    same = people[a] == people[b]
    scores = np.where(same, 0.8, 0.2)
    if scores_of is not None:
        scores = scores - scores_of[a] - scores_of[b]
    return ScoredPairs(
        scores=scores.astype(np.float32),
        same=same,
        a=a,
        b=b,
        folds=stratified_folds(same),
        people=(people[a], people[b]) if consistent else None,
        genuine_lost=0,
        impostors_lost=0,
    )


def spoil(*pictures: int) -> FloatRow:
    """Nothing off, but 0.7 off the pictures named."""
    off = np.zeros(PEOPLE_COUNT * PICTURES_EACH)
    off[list(pictures)] = 0.7
    return off


def test_rejecting_the_pictures_that_err_leaves_no_error() -> None:
    quality = np.linspace(0.5, 1, 40)
    quality[[3, 17]] = 0.1, 0.2
    pairs = make_pairs(spoil(3, 17))
    curve = measure_rejects(pairs, quality, fars=(1e-1, 1e-2))
    assert curve is not None and curve.faces == 40
    everything, tenth = curve.points[0], curve.without_worst_tenth
    assert (everything.genuine, everything.impostors, everything.faces_rejected) == (60, 720, 0)
    assert [far.source for far in curve.thresholds] == ["FAR 1e-1"]  # 720 impostor pairs are too few for 1e-2
    assert everything.frr[0].estimate == 6 / 60  # each of the two spoils the three pairs of its person
    assert everything.equal_error_rate == equal_error_rate(pairs.scores, pairs.same) > 0
    assert tenth is not None and tenth.faces_rejected == 4  # these two and pictures 0 and 1
    assert tenth.lowest_quality == quality[2]
    assert tenth.frr[0].estimate == tenth.equal_error_rate == 0
    assert tenth.genuine == 60 - 5 - 3 - 1  # picture 3's pairs overlap with those of 0 and 1
    (gain,) = curve.gain
    assert gain.estimate == 6 / 60 and gain.low < 0.1 < gain.high
    assert "bootstrap over people" in gain.method


def test_the_thresholds_stay_where_all_pairs_put_them() -> None:
    pairs = make_pairs(np.random.default_rng(1).normal(0, 0.2, 40))
    quality = np.random.default_rng(0).random(40)
    curve = measure_rejects(pairs, quality, fars=(1e-1,))
    assert curve is not None
    (used,) = curve.thresholds
    assert curve.points[0].far[0] == 72 / 720
    last = curve.points[-1]
    left = np.minimum(quality[pairs.a], quality[pairs.b]) >= last.lowest_quality
    assert last.far[0] == np.mean(pairs.scores[left & ~pairs.same] >= np.float64(used.threshold))


def test_a_quality_that_tells_nothing_gains_nothing_for_certain() -> None:
    pairs = make_pairs(spoil(*range(0, 40, 4)))
    curve = measure_rejects(pairs, np.random.default_rng(0).random(40), fars=(1e-1,))
    assert curve is not None
    assert curve.gain[0].low < 0 < curve.gain[0].high


def test_pairs_of_unknown_quality_are_left_out() -> None:
    quality = np.linspace(0, 1, 40)
    quality[:4] = math.nan
    curve = measure_rejects(make_pairs(), quality, fars=(1e-1,))
    assert curve is not None and curve.faces == 36
    assert (curve.points[0].genuine, curve.points[0].impostors) == (54, 576)


def test_where_nothing_can_be_said_nothing_is() -> None:
    pairs = make_pairs()
    assert measure_rejects(pairs, np.full(40, math.nan)) is None
    assert measure_rejects(pairs, np.full(40, 0.7)) is None
    quality = np.full(40, math.nan)
    quality[:4] = np.linspace(0, 1, 4)  # one person: no impostors
    assert measure_rejects(pairs, quality) is None
    assert summarise_rejects(None) == []


def test_equally_bad_faces_stay_together_and_few_pairs_end_the_curve() -> None:
    quality = np.repeat([0.5, 1.0], 20)
    curve = measure_rejects(make_pairs(), quality, fars=(1e-1,))
    assert curve is not None
    assert [point.faces_rejected for point in curve.points] == [0] * (len(curve.points) - 1) + [20]
    assert curve.without_worst_tenth is None and summarise_rejects(curve) == []
    assert describe_rejects(curve) == "No tenth of the 40 faces is of lower quality than the others."
    quality = np.tile([0.1, 0.2, 0.3, 0.4], 10)  # half of them leaves a pair a person; more leave none
    curve = measure_rejects(make_pairs(), quality, fars=(1e-1,), shares=(0, 0.25, 0.5, 0.75))
    assert curve is not None
    assert [point.genuine for point in curve.points] == [60, 30, 10]


def test_a_list_without_people_draws_pairs() -> None:
    curve = measure_rejects(make_pairs(spoil(3), consistent=False), np.linspace(0, 1, 40), fars=(1e-1,))
    assert curve is not None
    assert curve.points[0].frr[0].method == "Wilson" and "over pairs" in curve.gain[0].method


def test_the_summary_names_both_figures_and_the_difference() -> None:
    quality = np.linspace(0.5, 1, 40)
    quality[3] = 0.1
    curve = measure_rejects(make_pairs(spoil(3)), quality, fars=(1e-1,))
    assert curve is not None
    (equal, refused) = summarise_rejects(curve)
    assert equal[0] == "EER" and equal[2] == percent(0)
    assert refused[1:3] == ("5.00 %", "0.00 %") and refused[3].startswith("5.00 (")
    assert describe_rejects(curve) == "without the 4 of 40 faces under a quality of 0.55"


@pytest.mark.slow
def test_rejecting_the_worst_tenth_of_real_photographs_lowers_the_error(
    photo_paths: list[Path], record_testsuite_property: Callable[[str, object], None]
) -> None:
    """25 people with eight photographs each, of which none belongs to the training data."""
    from lightface.pipeline import load_pipeline

    assert photo_paths
    evaluation = evaluate_pairs(load_pipeline(device="cpu"), read_protocol(PEOPLE))
    curve = evaluation.rejects
    assert curve is not None and curve.without_worst_tenth is not None
    for figure, with_all, without, lower in summarise_rejects(curve):
        record_testsuite_property(figure, f"{with_all} -> {without}, lower by {lower} points")
        print(f"{figure}: {with_all} -> {without}, lower by {lower} points")
    before, after = curve.points[0], curve.without_worst_tenth
    assert after.equal_error_rate < before.equal_error_rate
    for used, gain in zip(curve.thresholds, curve.gain, strict=True):
        assert gain.estimate > 0, used
    # Not by accepting more strangers.
    assert all(now <= 1.5 * then for now, then in zip(after.far, before.far, strict=True))
