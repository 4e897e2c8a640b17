from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightface.measurement.pairs import Pairs, cosines_of_pairs, pair_for_training, pair_up


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=40), st.sampled_from([3, 50, 10_000]))
def test_every_pair_once_or_as_many_as_are_wanted(people: list[int], limit: int) -> None:
    who = np.array(people, np.int64)
    a, b, same = pair_up(who, limit=limit)
    assert len({*zip(a.tolist(), b.tolist(), strict=True)}) == a.size  # nothing twice
    assert (a < b).all() and ((who[a] == who[b]) == same).all()
    rows = range(len(people))
    for kind in (True, False):
        possible = sum((people[x] == people[y]) is kind for x in rows for y in rows if x < y)
        assert int((same == kind).sum()) == min(possible, limit)


def test_a_sample_is_even_and_the_same_each_time() -> None:
    people = np.repeat(np.arange(500), 2)
    a, b, same = pair_up(people, limit=20_000)
    assert same.sum() == 500 and (~same).sum() == 20_000
    counts = np.bincount(np.concatenate([a[~same], b[~same]]), minlength=1000)
    assert counts.min() > 20 and counts.max() < 66  # 40 on average
    assert all(np.array_equal(x, y) for x, y in zip((a, b), pair_up(people, limit=20_000)[:2], strict=True))


def test_training_pairs_all_rows_of_three_people() -> None:
    pairs = pair_for_training(np.array([5, 5, 7, 9]))
    found = {(int(a), int(b)): bool(same) for a, b, same in zip(pairs.a, pairs.b, pairs.same, strict=True)}
    assert found == {(0, 1): True, (0, 2): False, (0, 3): False, (1, 2): False, (1, 3): False, (2, 3): False}


def test_training_draws_the_pairs_that_it_always_drew() -> None:
    """They are part of the fingerprint of runs that are to be resumed."""
    people = np.random.default_rng(5).integers(9, size=200)
    pairs = pair_for_training(people, limit=500, seed=3)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(side).data for side in pairs)).hexdigest()
    assert digest.startswith("85ee9237c1665d2b")


def test_the_limit_of_training_takes_impostors_only() -> None:
    people = np.repeat(np.arange(10), 4)
    pairs = pair_for_training(people, limit=100)
    assert int(pairs.same.sum()) == 60 and int((~pairs.same).sum()) == 100
    assert np.array_equal(pairs.same, people[pairs.a] == people[pairs.b])
    assert int((~pair_for_training(people, limit=None).same).sum()) == 720


def test_many_rows_are_drawn_from() -> None:
    pairs = pair_for_training(np.arange(5000), limit=1000)
    assert len(np.unique(np.concatenate([pairs.a, pairs.b]))) > 1000
    assert pairs.a.max() > 4000  # not the first ones


def test_scores_are_cosines_of_the_named_rows() -> None:
    embeddings = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    pairs = Pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([False, True, True]))
    assert cosines_of_pairs(embeddings, pairs.a, pairs.b).tolist() == pytest.approx([0, 0.6, 0.8])
