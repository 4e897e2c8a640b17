"""All pairs of pictures whose people are known, or a sample of them where there would be too many."""

from __future__ import annotations

import numpy as np

from lightface.measurement.metrics import BoolArray, IntArray

DEFAULT_PAIR_LIMIT = 1_000_000  # of each kind: more would narrow no interval, since pairs share people


def pair_up(
    people: IntArray, *, limit: int = DEFAULT_PAIR_LIMIT, seed: int = 0
) -> tuple[IntArray, IntArray, BoolArray]:
    """Pairs (a, b, same), each (P,), of pictures of `people` (N,): first those of one person, then those of two.

    At most `limit` of each kind, drawn evenly and without repetition; the same ones for the same seed.
    """
    generator = np.random.default_rng(seed)
    genuine = _choose(_genuine_pairs(people), limit, generator)
    impostors = _impostor_pairs(people, limit, generator)
    a, b = (np.concatenate([genuine[side], impostors[side]]) for side in (0, 1))
    return a, b, np.arange(a.size) < genuine.shape[1]


def _genuine_pairs(people: IntArray) -> IntArray:
    """(2, pairs) of one person each."""
    order = np.argsort(people, kind="stable")
    starts = np.flatnonzero(np.diff(people[order])) + 1
    parts = [rows[np.array(np.triu_indices(rows.size, k=1))] for rows in np.split(order, starts)]
    return np.concatenate(parts, axis=1)


def _impostor_pairs(people: IntArray, limit: int, generator: np.random.Generator) -> IntArray:
    """(2, pairs) of two people each."""
    count = people.size
    total = count * (count - 1) // 2 - int((np.bincount(people) * (np.bincount(people) - 1) // 2).sum()) if count else 0
    if total <= 2 * limit:
        pairs = np.array(np.triu_indices(count, k=1))
        return _choose(pairs[:, people[pairs[0]] != people[pairs[1]]], limit, generator)
    drawn = np.zeros(0, np.int64)
    while drawn.size < limit:  # fewer than half of all are wanted, so this ends soon
        a, b = np.sort(generator.integers(count, size=(2, 2 * limit)), axis=0)
        codes = (a * count + b)[people[a] != people[b]]
        drawn = np.unique(np.concatenate([drawn, codes]))
    chosen = np.sort(generator.choice(drawn, limit, replace=False))
    return np.array(np.divmod(chosen, count))


def _choose(pairs: IntArray, limit: int, generator: np.random.Generator) -> IntArray:
    if pairs.shape[1] <= limit:
        return pairs
    return pairs[:, np.sort(generator.choice(pairs.shape[1], limit, replace=False))]
