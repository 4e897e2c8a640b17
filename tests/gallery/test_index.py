"""The first pass of a search: bounds that hold, so that nobody who is near is missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightface.faces import FloatArray
from lightface.gallery import index
from lightface.gallery.index import Codes, encode, find_near

NOBODY = np.empty(0, np.int64)


def unit_rows(rng: np.random.Generator, count: int, size: int, *, spread: float = 0.0, decimals: int = 8) -> FloatArray:
    """Rows of length 1; some directions of more weight than others, and ties where `decimals` are few."""
    rows = rng.normal(size=(count, size)) * np.exp(-spread * np.arange(size))
    rows = np.round(rows, decimals)
    rows[:, 0] += 1e-3  # never of length 0
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def nearest(templates: FloatArray, probe: FloatArray, k: int) -> set[int]:
    """Whoever is not certainly behind the k-th: a superset would be wrong without any of them."""
    scores = templates.astype(np.float64) @ probe.astype(np.float64)
    return set(np.flatnonzero(scores > np.sort(scores)[-k]).tolist()) if len(scores) > k else set(range(len(scores)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    size=st.sampled_from([1, 3, 16, 256]),
    probes=st.integers(1, 20),
    k=st.integers(1, 30),
    spread=st.sampled_from([0.0, 0.1, 2.0]),
    decimals=st.sampled_from([0, 1, 8]),
    by_torch=st.booleans(),
)
def test_nobody_who_is_near_is_missed(
    seed: int, count: int, size: int, probes: int, k: int, spread: float, decimals: int, by_torch: bool
) -> None:
    rng = np.random.default_rng(seed)
    templates = unit_rows(rng, count, size, spread=spread, decimals=decimals)
    templates[rng.random(count) < 0.05] = 0  # people whose samples cancel out
    looked_for = unit_rows(rng, probes, size, spread=spread, decimals=decimals)
    with pytest.MonkeyPatch.context() as patch:
        if not by_torch:
            patch.setattr(index, "_multiplies_exactly", lambda: False)
        found = set(find_near(encode(np.arange(count), templates), looked_for, k, leave_out=NOBODY).tolist())
    for probe in looked_for:
        assert nearest(templates, probe, k) <= found


def test_bounds_hold_and_are_close() -> None:
    rng = np.random.default_rng(0)
    templates, probes = unit_rows(rng, 3000, 256), unit_rows(rng, 40, 256)
    codes = encode(np.arange(len(templates)), templates)
    scores = probes.astype(np.float64) @ templates.T.astype(np.float64)
    for truth, (lowest, highest) in zip(scores, index._bounds(codes, probes), strict=True):
        assert np.all(lowest <= truth)
        assert np.all(truth <= highest)
        assert np.max(highest - lowest) < 0.05
    assert len(find_near(codes, probes[:1], 5, leave_out=NOBODY)) < 60


def test_a_row_of_one_number_is_coded_without_loss() -> None:
    codes = encode(np.arange(4), np.eye(4, dtype=np.float32))
    assert np.array_equal(codes.values, 127 * np.eye(4))
    assert np.all(codes.errors < 2e-6)


def test_who_is_left_out_is_not_found() -> None:
    templates = unit_rows(np.random.default_rng(0), 500, 32)
    codes = encode(np.arange(500), templates)
    assert 17 in find_near(codes, templates[17:18], 1, leave_out=NOBODY)
    left_out = np.array([17, 400])
    assert not set(left_out) & set(find_near(codes, templates[17:18], 1, leave_out=left_out))
    everybody = find_near(codes, templates[:1], 500, leave_out=left_out)
    assert np.array_equal(everybody, np.setdiff1d(np.arange(500), left_out))


def test_nobody_and_no_probe() -> None:
    codes = encode(np.arange(3), np.eye(3, dtype=np.float32))
    assert not len(find_near(codes, np.empty((0, 3), np.float32), 1, leave_out=NOBODY))
    assert not len(Codes.none())


def test_both_products_are_the_same() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (9000, 256)).astype(np.int8)
    rows[0], probes = 127, rng.integers(-127, 128, (3, 256)).astype(np.int8)
    probes[0] = 127
    expected = probes.astype(np.int64) @ rows.T.astype(np.int64)
    assert np.array_equal(index._multiply(rows, probes), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_multiplies_exactly", lambda: False)
        assert np.array_equal(index._multiply(rows, probes), expected)
