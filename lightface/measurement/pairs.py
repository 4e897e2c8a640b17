"""Pairs of pictures whose people are known: which there are, a sample where there would be too many, their cosines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lightface.records import BoolArray, FloatArray, IntArray

DEFAULT_PAIR_LIMIT = 1_000_000  # of each kind: more would narrow no interval, since pairs share people
_MAX_TRAINING_ROWS = 4000  # their pairs, 8 million, still fit into memory
_MAX_TRAINING_IMPOSTORS = 2_000_000  # more say no more after an epoch, and would take longer than some epochs do
_PAIRS_AT_ONCE = 1 << 16


class Pairs(NamedTuple):
    """Pairs of rows of a table of embeddings, or of pictures."""

    a: IntArray  # (P,)
    b: IntArray  # (P,)
    same: BoolArray  # (P,) whether a pair is of one person


def pair_up(people: IntArray, *, limit: int | None = DEFAULT_PAIR_LIMIT, seed: int = 0) -> Pairs:
    """Pair rows of `people` (N,): first the pairs of one person, then those of two.

    At most `limit` of each kind, drawn evenly and without repetition; the same ones for the same seed. None: all.
    """
    generator = np.random.default_rng(seed)
    genuine = _choose(_genuine_pairs(people), limit, generator)
    impostors = _impostor_pairs(people, limit, generator)
    a, b = (np.concatenate([genuine[side], impostors[side]]) for side in (0, 1))
    return Pairs(a, b, np.arange(a.size) < genuine.shape[1])


def pair_for_training(people: IntArray, *, limit: int | None = _MAX_TRAINING_IMPOSTORS, seed: int = 0) -> Pairs:
    """Pair rows of `people` (N,) as `pair_up`, but with every pair of one person; `limit` is that of the others.

    Of more than 4,000 rows, that many at random are paired. What is drawn, and its order, is part of a training run's
    fingerprint: a change here would keep runs from being resumed.
    """
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(len(people), min(len(people), _MAX_TRAINING_ROWS), replace=False))
    a, b, same = pair_up(people[rows], limit=None)
    genuine, impostors = np.flatnonzero(same), np.flatnonzero(~same)
    genuine = genuine[np.lexsort((b[genuine], a[genuine]))]
    if limit is not None and len(impostors) > limit:
        impostors = generator.choice(impostors, limit, replace=False)
    chosen = np.concatenate([genuine, impostors])
    return Pairs(rows[a[chosen]], rows[b[chosen]], same[chosen])


def cosines_of_pairs(vectors: FloatArray, a: IntArray, b: IntArray) -> FloatArray:
    """(P,) cosines, -1..1, of the unit rows of `vectors` (N, D) at `a` and `b` (P,)."""
    scores = np.empty(a.size, np.float32)
    for start in range(0, a.size, _PAIRS_AT_ONCE):  # the gathered rows of all pairs would take gigabytes
        part = slice(start, start + _PAIRS_AT_ONCE)
        scores[part] = np.einsum("pd,pd->p", vectors[a[part]], vectors[b[part]])
    return np.clip(scores, -1, 1, out=scores)


def _genuine_pairs(people: IntArray) -> IntArray:
    """(2, pairs) of one person each."""
    order = np.argsort(people, kind="stable")
    starts = np.flatnonzero(np.diff(people[order])) + 1
    parts = [rows[np.array(np.triu_indices(rows.size, k=1))] for rows in np.split(order, starts)]
    return np.concatenate(parts, axis=1)


def _impostor_pairs(people: IntArray, limit: int | None, generator: np.random.Generator) -> IntArray:
    """(2, pairs) of two people each."""
    count = people.size
    total = count * (count - 1) // 2 - int((np.bincount(people) * (np.bincount(people) - 1) // 2).sum()) if count else 0
    if limit is None or total <= 2 * limit:
        pairs = np.array(np.triu_indices(count, k=1))
        return _choose(pairs[:, people[pairs[0]] != people[pairs[1]]], limit, generator)
    drawn = np.zeros(0, np.int64)
    while drawn.size < limit:  # fewer than half of all are wanted, so this ends soon
        a, b = np.sort(generator.integers(count, size=(2, 2 * limit)), axis=0)
        codes = (a * count + b)[people[a] != people[b]]
        drawn = np.unique(np.concatenate([drawn, codes]))
    chosen = np.sort(generator.choice(drawn, limit, replace=False))
    return np.array(np.divmod(chosen, count))


def _choose(pairs: IntArray, limit: int | None, generator: np.random.Generator) -> IntArray:
    if limit is None or pairs.shape[1] <= limit:
        return pairs
    return pairs[:, np.sort(generator.choice(pairs.shape[1], limit, replace=False))]
