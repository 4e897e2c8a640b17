"""What other weights change in a gallery: the scores of its samples, and the decisions that rest upon them.

Both sets of embeddings are of the same samples, and each is judged at its own threshold, since cosines of different
weights are no common scale. Products are made in blocks, so that memory does not grow with the square of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightface.faces import FloatArray
from lightface.gallery.likeness import leave_out

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_ROWS_AT_ONCE = 256
_STEPS = 20_000  # of the cosines from -1 to 1: medians are exact to 0.0001


@dataclass(frozen=True, slots=True)
class SourcedThreshold:
    """A cosine from which two faces are one person, and where it comes from."""

    threshold: float
    source: str


@dataclass(frozen=True, slots=True)
class ScoreShift:
    """The cosines of pairs of samples of one kind, before and after."""

    pairs: int
    mean_before: float
    mean_after: float
    median_before: float
    median_after: float


@dataclass(frozen=True, slots=True)
class PairFlips:
    """How many pairs of samples are judged otherwise."""

    same_lost: int  # of one person: accepted before, not after
    same_gained: int
    different_lost: int  # of different people: accepted, by mistake, before and not after
    different_gained: int


@dataclass(frozen=True, slots=True)
class Naming:
    """Whom a sample is taken for, when it is not in the gallery itself."""

    person: int | None  # position among the people; None: nobody reaches the threshold
    similarity: float  # cosine to the template of that person, or of the most similar one


@dataclass(frozen=True, slots=True)
class FlippedNaming:
    """A sample that is named otherwise."""

    sample: int  # position
    before: Naming
    after: Naming


@dataclass(frozen=True, slots=True)
class EmbeddingShift:
    """All that two sets of embeddings differ in. Without thresholds nothing is decided, and so nothing flips."""

    same: ScoreShift | None  # None where there is no such pair
    different: ScoreShift | None
    threshold_before: SourcedThreshold | None
    threshold_after: SourcedThreshold | None
    pair_flips: PairFlips | None
    named_right_before: int | None  # samples that get their own person's name
    named_right_after: int | None
    flipped: tuple[FlippedNaming, ...]


def compare_embeddings(
    before: FloatArray,
    after: FloatArray,
    person_index: IntArray,
    *,
    threshold_before: SourcedThreshold | None,
    threshold_after: SourcedThreshold | None,
) -> EmbeddingShift:
    """Compare unit rows `before` and `after` (S, D) of samples sorted by person, `person_index` (S,) 0..K-1.

    Where only one threshold is known, the other is the one that accepts as large a share of the pairs of different
    people here. Samples are named leaving each out of its own person's template.
    """
    counts = _count_scores(before, after, person_index)
    impostors_before, impostors_after = counts[1]
    if threshold_before is None and threshold_after is not None:
        threshold_before = _match(impostors_after, threshold_after, impostors_before, "after")
    elif threshold_after is None and threshold_before is not None:
        threshold_after = _match(impostors_before, threshold_before, impostors_after, "before")
    if threshold_before is None or threshold_after is None or not len(before):
        return EmbeddingShift(*_shifts(counts), threshold_before, threshold_after, None, None, None, ())
    limits = threshold_before.threshold, threshold_after.threshold
    named = [_name(vectors, person_index, limit) for vectors, limit in zip((before, after), limits, strict=True)]
    right = [
        sum(one.person == person for one, person in zip(each, person_index.tolist(), strict=True)) for each in named
    ]
    return EmbeddingShift(
        *_shifts(counts),
        threshold_before,
        threshold_after,
        _count_flips(before, after, person_index, limits),
        named_right_before=right[0],
        named_right_after=right[1],
        flipped=tuple(
            FlippedNaming(place, old, new)
            for place, (old, new) in enumerate(zip(*named, strict=True))
            if old.person != new.person
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """How often each cosine occurs among the pairs of a kind."""

    histogram: IntArray  # (_STEPS + 1,)
    total: float  # sum of the cosines

    @property
    def pairs(self) -> int:
        return int(self.histogram.sum())

    @property
    def mean(self) -> float:
        return self.total / self.pairs

    @property
    def median(self) -> float:
        reached = np.cumsum(self.histogram)
        low, high = (int(np.searchsorted(reached, rank)) for rank in ((self.pairs + 1) // 2, self.pairs // 2 + 1))
        return (_cosine(low) + _cosine(high)) / 2


def _count_scores(
    before: FloatArray, after: FloatArray, person_index: IntArray
) -> tuple[tuple[_Scores, _Scores], tuple[_Scores, _Scores]]:
    """Of pairs of one person before and after, of pairs of different people before and after."""
    histograms = np.zeros((2, 2, _STEPS + 1), np.int64)
    totals = np.zeros((2, 2))
    for *scores, same in _blocks(before, after, person_index):
        for kind, chosen in enumerate((same, ~same)):
            for time, values in enumerate(scores):
                steps = np.rint((values[chosen] + 1) * (_STEPS / 2)).astype(np.int64)
                histograms[kind, time] += np.bincount(steps, minlength=_STEPS + 1)
                totals[kind, time] += values[chosen].sum(dtype=np.float64)
    genuine, impostors = (
        (
            _Scores(histograms[kind, 0], float(totals[kind, 0])),
            _Scores(histograms[kind, 1], float(totals[kind, 1])),
        )
        for kind in (0, 1)
    )
    return genuine, impostors


def _blocks(
    before: FloatArray, after: FloatArray, person_index: IntArray
) -> Iterator[tuple[FloatArray, FloatArray, BoolArray]]:
    """Each pair of samples once: cosines before and after, (P,) each, and whether they are of one person."""
    for start in range(0, len(before), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        places = np.arange(start, len(before))
        once = places[None, :] > places[:_ROWS_AT_ONCE, None]
        same = person_index[rows, None] == person_index[None, start:]
        scores_before, scores_after = (
            np.clip(vectors[rows] @ vectors[start:].T, -1, 1)[once] for vectors in (before, after)
        )
        yield scores_before, scores_after, same[once]


def _match(known: _Scores, threshold: SourcedThreshold, unknown: _Scores, which: str) -> SourcedThreshold | None:
    """The threshold that accepts the same share of pairs as `threshold` does with the other weights."""
    if not known.pairs:
        return None
    admitted = int(known.histogram[_step(threshold.threshold) :].sum())
    # The lowest step from which upwards no more pairs lie.
    above = np.cumsum(unknown.histogram[::-1])[::-1]
    lowest = int(np.flatnonzero(np.append(above, 0) <= admitted)[0])
    source = f"as strict among this gallery's pairs of different people as the one {which}"
    return SourcedThreshold(_cosine(lowest) - 1 / _STEPS, source)


def _step(cosine: float) -> int:
    return int(np.clip(np.rint((cosine + 1) * (_STEPS / 2)), 0, _STEPS))


def _cosine(step: int) -> float:
    return step / (_STEPS / 2) - 1


def _shifts(
    counts: tuple[tuple[_Scores, _Scores], tuple[_Scores, _Scores]],
) -> tuple[ScoreShift | None, ScoreShift | None]:
    genuine, impostors = (
        ScoreShift(before.pairs, before.mean, after.mean, before.median, after.median) if before.pairs else None
        for before, after in counts
    )
    return genuine, impostors


def _count_flips(
    before: FloatArray, after: FloatArray, person_index: IntArray, limits: tuple[float, float]
) -> PairFlips:
    flips = np.zeros(4, np.int64)
    for scores_before, scores_after, same in _blocks(before, after, person_index):
        was, is_now = scores_before >= np.float64(limits[0]), scores_after >= np.float64(limits[1])
        lost, gained = was & ~is_now, ~was & is_now
        flips += [int((flip & kind).sum()) for kind in (same, ~same) for flip in (lost, gained)]
    return PairFlips(*flips.tolist())


def _name(vectors: FloatArray, person_index: IntArray, threshold: float) -> list[Naming]:
    """Whom each sample is taken for by the templates of everybody, its own person's made without it."""
    left_out = leave_out(vectors, person_index)
    own = np.nan_to_num(left_out.own, nan=-np.inf)  # nobody knows who has no other sample
    is_own = own >= left_out.other
    best = np.where(is_own, own, left_out.other)
    people = np.where(is_own, person_index, left_out.other_person)
    passed = best >= np.float64(threshold)
    return [
        Naming(person if named else None, similarity)
        for person, similarity, named in zip(people.tolist(), best.tolist(), passed.tolist(), strict=True)
    ]
