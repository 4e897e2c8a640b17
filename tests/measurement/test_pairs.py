from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lightface.measurement.pairs import pair_up


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
