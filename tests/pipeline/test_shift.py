"""What two sets of embeddings of the same samples differ in, held to plain counting."""

from __future__ import annotations

import numpy as np
import pytest

from lightface.faces import FloatArray
from lightface.pipeline.shift import Naming, PairFlips, SourcedThreshold, compare_embeddings


def make_rows(noise: float, *, seed: int = 0, people: int = 40) -> tuple[FloatArray, np.ndarray]:
    """More samples than fit in one block, sorted by person; the same people whatever the noise."""
    person = np.sort(np.random.default_rng(1).integers(0, people, 600))
    _, person = np.unique(person, return_inverse=True)
    directions = np.random.default_rng(2).normal(size=(people, 32))
    rows = directions[person] + noise * np.random.default_rng(seed).normal(size=(600, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), person.astype(np.int64)


def at(threshold: float) -> SourcedThreshold:
    return SourcedThreshold(threshold, "a test")


def test_scores_and_flips_are_those_of_plain_counting() -> None:
    (before, person), (after, _) = make_rows(1.0), make_rows(0.8, seed=3)
    shift = compare_embeddings(before, after, person, threshold_before=at(0.4), threshold_after=at(0.5))
    rows, columns = np.triu_indices(600, 1)
    same = person[rows] == person[columns]
    scores = [np.clip(each @ each.T, -1, 1)[rows, columns] for each in (before, after)]
    for kind, found in ((same, shift.same), (~same, shift.different)):
        assert found is not None and found.pairs == kind.sum()
        assert [found.mean_before, found.mean_after] == pytest.approx([each[kind].mean() for each in scores], abs=1e-5)
        assert [found.median_before, found.median_after] == pytest.approx(
            [np.median(each[kind]) for each in scores], abs=1e-4
        )
    was, now = scores[0] >= 0.4, scores[1] >= 0.5
    assert shift.pair_flips == PairFlips(
        same_lost=int((same & was & ~now).sum()),
        same_gained=int((same & ~was & now).sum()),
        different_lost=int((~same & was & ~now).sum()),
        different_gained=int((~same & ~was & now).sum()),
    )
    assert min(shift.pair_flips.same_lost, shift.pair_flips.same_gained, shift.pair_flips.different_lost) > 0


def name_plainly(vectors: FloatArray, person: np.ndarray, place: int, threshold: float) -> int | None:
    left = np.arange(len(person)) != place
    templates = {who: vectors[left & (person == who)].sum(axis=0) for who in np.unique(person[left]).tolist()}
    cosines = {who: float(vectors[place] @ (sum_ / np.linalg.norm(sum_))) for who, sum_ in templates.items()}
    best = max(cosines, key=lambda who: cosines[who])
    return best if cosines[best] >= threshold else None


def test_a_sample_is_named_by_all_others() -> None:
    (before, person), (after, _) = make_rows(1.5), make_rows(1.2, seed=3)
    shift = compare_embeddings(before, after, person, threshold_before=at(0.5), threshold_after=at(0.6))
    plain = [
        (name_plainly(before, person, place, 0.5), name_plainly(after, person, place, 0.6)) for place in range(600)
    ]
    flips = {flip.sample: (flip.before.person, flip.after.person) for flip in shift.flipped}
    assert flips == {place: pair for place, pair in enumerate(plain) if pair[0] != pair[1]} != {}
    assert shift.named_right_before == sum(pair[0] == who for pair, who in zip(plain, person, strict=True))
    assert shift.named_right_after == sum(pair[1] == who for pair, who in zip(plain, person, strict=True))


def test_the_only_sample_of_a_person_can_be_nobody_but_others() -> None:
    before = np.eye(4, dtype=np.float32)[[0, 0, 1]]
    after = np.eye(4, dtype=np.float32)[[0, 0, 0]]
    shift = compare_embeddings(before, after, np.array([0, 0, 1]), threshold_before=at(0.5), threshold_after=at(0.5))
    (flip,) = shift.flipped
    assert (flip.sample, flip.before, flip.after) == (2, Naming(None, 0.0), Naming(0, 1.0))
    assert (shift.named_right_before, shift.named_right_after) == (2, 2)


def test_an_unknown_threshold_is_made_as_strict_as_the_known_one() -> None:
    (before, person), (after, _) = make_rows(1.0), make_rows(0.8, seed=3)
    shift = compare_embeddings(before, after, person, threshold_before=None, threshold_after=at(0.45))
    assert shift.threshold_before is not None and "as strict" in shift.threshold_before.source
    rows, columns = np.triu_indices(600, 1)
    different = person[rows] != person[columns]
    accepted = [
        int(((each @ each.T)[rows, columns][different] >= limit).sum())
        for each, limit in ((before, shift.threshold_before.threshold), (after, 0.45))
    ]
    assert accepted[0] == pytest.approx(accepted[1], abs=3) and accepted[1] > 50
    other = compare_embeddings(after, before, person, threshold_before=at(0.45), threshold_after=None)
    assert other.threshold_after is not None
    assert other.threshold_after.threshold == shift.threshold_before.threshold


def test_without_any_threshold_nothing_is_decided() -> None:
    rows, person = make_rows(1.0)
    shift = compare_embeddings(rows, rows, person, threshold_before=None, threshold_after=None)
    assert shift.same is not None and shift.same.mean_before == shift.same.mean_after
    assert (shift.pair_flips, shift.named_right_before, shift.flipped) == (None, None, ())
    alone = compare_embeddings(rows[:1], rows[:1], person[:1], threshold_before=None, threshold_after=at(0.4))
    assert (alone.same, alone.different, alone.threshold_before, alone.pair_flips) == (None, None, None, None)


def test_no_samples_are_no_shift() -> None:
    nothing = np.zeros((0, 4), np.float32)
    shift = compare_embeddings(
        nothing, nothing, np.zeros(0, np.int64), threshold_before=at(0.4), threshold_after=at(0.4)
    )
    assert (shift.same, shift.different, shift.pair_flips, shift.flipped) == (None, None, None, ())
