"""Compare embeddings with the people of a gallery and decide who is who. numpy and scipy only.

The steps of an identification, with P probes (the faces of one photograph), S samples and K people:

    scores = person_scores(probes, vectors, person_of_sample, K)      (P, K) cosines
    people = assign_people(scores, bands.naming_threshold)            a person or None for each face
    status = decide(scores[face, person], bands)                      matched, review or unknown

A cosine is not a probability. Every decision is inclusive: a similarity equal to the threshold passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightface.errors import ThresholdError, check_number
from lightface.records import FloatArray, IntArray, Status

PersonScoring = Literal["best", "mean"]

# Of 20 people enrolled with four photographs each, rank-1 is 0.93 by the mean and 0.88 by the best sample
# (`pytest -s tests/pipeline/test_people.py`, the weights of run 3 in weights/RUNS.md).
DEFAULT_PERSON_SCORING: PersonScoring = "mean"

# Chosen on 1,217 crops of 60 people (the split dev of the training data), for the weights of run 12 in weights/RUNS.md.
# At the cosine of FAR 1e-3, people of 1, 2, 3, 5 and 8 samples let in 0.12, 0.23, 0.28, 0.34 and 0.36 % of strangers;
# raised, 0.12, 0.13, 0.12, 0.11 and 0.10 % (`scripts/measure_thresholds`).
_TEMPLATE_COSINE = 0.56
_TEMPLATE_POWER = 0.42

# Of 35 kinds of degraded photographs and crops of 25 people, thirteen let in more than 0.4 % of strangers of the same
# kind at a threshold of FAR 1e-3; with this raise one does, with 0.43 %. It costs clean photographs a point of TAR
# (`scripts/measure_false_accepts`).
POOR_RAISE = 0.4
_CLEAR_QUALITY = 0.9  # half of all portraits are above


@dataclass(frozen=True, slots=True)
class DecisionBands:
    """The similarities at which a probe is named, or shown to a human first.

    From `threshold` upwards a probe is MATCHED; from `review_threshold` up to it, REVIEW; below, UNKNOWN. Where the
    faces are poor, MATCHED begins higher, and REVIEW where it would. Raises ThresholdError where a bound is not finite
    or the review band would lie above the threshold.
    """

    threshold: float  # cosine
    review_threshold: float | None = None  # cosine, not above `threshold`; None: no review band
    poor_raise: float = 0.0  # see `threshold_of_pair`: how much, at most, two poor faces must be more alike

    def __post_init__(self) -> None:
        check_number("a threshold", self.threshold, error=ThresholdError)
        check_number("a raise for poor faces", self.poor_raise, low=0, error=ThresholdError)
        check_number("a review threshold", self.naming_threshold, error=ThresholdError)
        if self.naming_threshold > self.threshold:
            raise ThresholdError(
                f"the review threshold {self.review_threshold} is above the threshold {self.threshold}; "
                "lower it, or leave it out"
            )

    @property
    def naming_threshold(self) -> float:
        """The lowest similarity at which a name is given at all, be it for review."""
        return self.threshold if self.review_threshold is None else self.review_threshold


def cosine_scores(probes: FloatArray, samples: FloatArray) -> FloatArray:
    """Cosines between the unit rows `probes` (P, D) and `samples` (S, D): (P, S) float32, -1..1."""
    if len(probes) == 0 or len(samples) == 0:
        return np.zeros((len(probes), len(samples)), dtype=np.float32)
    scores = np.asarray(probes, dtype=np.float32) @ np.asarray(samples, dtype=np.float32).T
    return np.clip(scores, -1.0, 1.0, out=scores)  # rounding carries equal vectors past 1


def person_scores(
    probes: FloatArray,
    samples: FloatArray,
    person_of_sample: IntArray,
    person_count: int,
    *,
    how: PersonScoring = DEFAULT_PERSON_SCORING,
) -> FloatArray:
    """Similarity of each probe to each person: (P, K) float32.

    `probes` (P, D) and `samples` (S, D) are unit rows, `person_of_sample` (S,) holds 0..K-1. `how="best"`
    takes a person's most similar sample; `how="mean"` takes the cosine to the normalised mean of their
    samples, one template a person. A person without samples scores -inf, which no threshold admits.
    """
    scores = np.full((len(probes), person_count), -np.inf, dtype=np.float32)
    if len(samples) == 0:
        return scores
    if np.any(np.diff(person_of_sample) < 0):  # a gallery's matrix is sorted already
        order = np.argsort(person_of_sample, kind="stable")
        samples, person_of_sample = samples[order], person_of_sample[order]
    present, first_samples = np.unique(person_of_sample, return_index=True)
    if how == "mean":
        scores[:, present] = cosine_scores(probes, mean_templates(samples, first_samples))
    else:
        scores[:, present] = np.maximum.reduceat(cosine_scores(probes, samples), first_samples, axis=1)
    return scores


def mean_templates(samples: FloatArray, first_samples: IntArray) -> FloatArray:
    """Unit rows (K, D) float32, one for each run of `samples` (S, D) that begins at `first_samples` (K,).

    A template is the normalised mean of its run; zeros where the run cancels out.
    """
    sums = np.add.reduceat(samples, first_samples, axis=0, dtype=np.float64)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    templates: FloatArray = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0).astype(np.float32)
    return templates


def template_factor(template_sizes: Mapping[int, int]) -> float:
    """How much higher a threshold of pairs must be to keep its false-accept rate where templates are compared.

    `template_sizes` says how many people have a template of so many samples. The factor is the mean over people: 1
    where each has one sample, or where there is nobody.

    A mean has less noise than a single embedding. What is left, scaled to length 1, resembles some strangers more: at
    the threshold of pairs, templates of five samples accept three times as many. The mean of n rows has the length
    sqrt((1 + (n - 1) r) / n), with r the mean cosine of two samples of a person, and the thresholds of equal
    false-accept rate rise as a power of 1 / length. See `_TEMPLATE_COSINE` for how both were measured.
    """
    if not template_sizes:
        return 1.0
    samples, people = (np.array(column, np.float64) for column in (list(template_sizes), [*template_sizes.values()]))
    lengths = np.sqrt((1 + (samples - 1) * _TEMPLATE_COSINE) / samples)
    return float(np.average(lengths**-_TEMPLATE_POWER, weights=people))


def is_same(similarity: float, threshold: float) -> bool:
    """Whether a similarity passes a threshold; equality passes, NaN never does."""
    # As Python floats: numpy would round the threshold to the similarity's float32 and admit values below it.
    return float(similarity) >= float(threshold)


def measure_poorness(qualities: Iterable[float | None]) -> FloatArray:
    """How poor faces of these qualities (0..1) are: (N,) float32, 0 for clear faces and unknown qualities, to 1."""
    known = np.array([np.nan if quality is None else quality for quality in qualities], np.float32)
    poorness: FloatArray = np.maximum(1 - known / np.float32(_CLEAR_QUALITY), np.float32(0))
    return np.nan_to_num(poorness, nan=0.0)


def threshold_of_pair(threshold: float, poorness_a: float, poorness_b: float, *, poor_raise: float) -> float:
    """The cosine from which two faces of such poorness (0..1) show one person: the higher, the poorer both are.

    Faces that show little resemble each other for what they lack. Where one of the two is clear, `threshold` holds as
    it is: strangers who are looked up by a poor photograph among clear ones are accepted no more often than others.
    """
    return max(threshold, min(1.0, threshold + poor_raise * float(poorness_a) * float(poorness_b)))


def decide(similarity: float, bands: DecisionBands, *, threshold: float | None = None) -> Status:
    """MATCHED, REVIEW or UNKNOWN, both bounds inclusive; NaN is UNKNOWN. A `threshold` stands for that of the bands."""
    if is_same(similarity, bands.threshold if threshold is None else threshold):
        return Status.MATCHED
    return Status.REVIEW if is_same(similarity, bands.naming_threshold) else Status.UNKNOWN


def rank_people(scores: FloatArray, k: int | None = None) -> IntArray:
    """Indices of the `k` highest of `scores` (K,), best first, ties in the order given."""
    if k is not None and 0 < k < len(scores):  # of a million people, only those who can be among the first k are sorted
        likely = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        return likely[np.argsort(-scores[likely], kind="stable")][:k].astype(np.int64, copy=False)
    return np.argsort(-scores, kind="stable")[:k].astype(np.int64, copy=False)


def assign_people(scores: FloatArray | npt.NDArray[np.float64], threshold: float) -> list[int | None]:
    """Name the faces of one photograph, nobody twice: for each row of `scores` (P, K), its column or None.

    Of all one-to-one assignments that use only pairs at or above `threshold`, the one whose similarities
    exceed the threshold by the most in sum. Leaving a face unknown is thereby worth exactly the threshold: a
    plain sum of similarities would trade one sure match for two doubtful ones.
    """
    from scipy.optimize import linear_sum_assignment  # here: half of what `verify` would import beside torch

    margins = scores.astype(np.float64) - float(threshold)
    admissible = margins >= 0
    people = np.flatnonzero(admissible.any(axis=0))  # few of many: keeps the assignment small
    # The lift, below any step of float32 cosines, makes a pair exactly at the threshold better than no pair.
    gains = np.where(admissible, margins + 1e-12, 0.0)[:, people]
    assigned: list[int | None] = [None] * len(scores)
    for face, column in zip(*linear_sum_assignment(gains, maximize=True), strict=True):
        if admissible[face, people[column]]:
            assigned[face] = int(people[column])
    return assigned
