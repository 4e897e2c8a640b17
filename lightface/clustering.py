"""Group the faces of unknown people, and measure how well that was done.

Agglomerative clustering with average linkage: two groups become one while the mean of all cosines between them reaches
a threshold. Of average, complete and single linkage and HDBSCAN, tried at their best settings on 25 and 60 people with
LightCNN-9 and SFace, average linkage was never behind; single linkage and HDBSCAN fell apart away from their best
setting.

The more faces there are, the more strangers each of them meets, and the stricter the threshold must be. At a
false-accept rate of 1 / N each of N faces resembles one stranger on average, most of whom average linkage still keeps
apart: `strict_threshold`. With the weights of run 12 in weights/RUNS.md, 199 photographs of 25 people are grouped at
0.418 with a pairwise precision of 0.987 and a B-cubed F of 0.928; 11,898 crops of 4,883 people, most of whom have one,
at 0.568 with 0.995 and 0.859, where 0.385 gives 0.857 and 0.734 (`scripts/measure_thresholds`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from lightface.errors import ClusterError, ThresholdError, check_number
from lightface.matching import POOR_RAISE
from lightface.records import FloatArray, IntArray

# All distances within one crowd are held twice, in float64: some 2 GB.
MAX_CROWD = 16_000
LOOSEST_FAR = 5e-3  # of any number of faces: that of 200, the fewest that were measured
_NEVER = 1e12  # a distance that no mean with others, at most 2, brings below a threshold
_ROWS_AT_ONCE = 1024
_COLUMNS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class GroupingScore:
    """How well a grouping agrees with the truth: of what was put together, how much belongs together, and back."""

    precision: float  # 0..1
    recall: float  # 0..1

    @property
    def f(self) -> float:
        """Their harmonic mean."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def strict_threshold(thresholds: Mapping[float, float], face_count: int) -> float:
    """The cosine that suits so many faces: where each resembles one stranger, at a false-accept rate of 1 / N.

    From 200 faces down the threshold is that of 200. `thresholds` and errors are those of `threshold_at_rate`.
    """
    return threshold_at_rate(thresholds, min(1 / max(face_count, 1), LOOSEST_FAR))


def threshold_at_rate(thresholds: Mapping[float, float], far: float) -> float:
    """The cosine at a false-accept rate between 0 and 1 that was not measured.

    `thresholds` are those measured for the weights, false-accept rate (0..1) -> cosine. Cosines of different people are
    close to normally distributed in their tail: a line through cosine and normal quantile misses those of the shipped
    weights by 0.002. Where one rate alone is known, the mean cosine of different people is taken for 0. It is above
    that, so the line is too steep, on the strict side for lower rates.

    ThresholdError where no threshold is known.
    """
    known = {rate: cosine for rate, cosine in thresholds.items() if 0 < rate < 0.5}
    if not known:
        raise ThresholdError("no threshold is known for these weights, so none can be derived; give one")
    normal = NormalDist()
    quantiles = [-normal.inv_cdf(rate) for rate in known]
    cosines = list(known.values())
    slope, start = np.polyfit(quantiles, cosines, 1) if len(cosines) > 1 else (cosines[0] / quantiles[0], 0.0)
    return float(start - slope * normal.inv_cdf(far))


def cluster_vectors(
    vectors: FloatArray,
    *,
    threshold: float,
    photo_of_face: IntArray | None = None,
    poorness: FloatArray | None = None,
) -> IntArray:
    """Group unit rows (N, D): (N,) numbers of groups from 0, the largest first. Who is like nobody is a group alone.

    Average linkage at the cosine `threshold`, inclusive. Faces of one photograph, those of equal numbers in
    `photo_of_face` (N,), are never in one group: nobody is on a photograph twice. Two faces of `poorness` (N,) above 0
    must be more alike, as `lightface.matching.threshold_of_pair` says: their cosine counts for less by as much.

    Groups can only grow where two faces reach the threshold, so each crowd, whoever is linked through such pairs, is
    worked on by itself, and memory grows with the square of the largest crowd, not of N: 2.1 GB and half a minute for
    16,000 faces in one crowd, 240 MB and as long for 50,000 in small ones. ClusterError where a crowd has more than
    16,000 faces, ThresholdError for a threshold that is no finite number.
    """
    check_number("a threshold", threshold, error=ThresholdError)
    poorness = np.zeros(len(vectors), np.float32) if poorness is None else poorness
    crowd_of_face = _find_crowds(vectors, poorness, threshold)
    order = np.argsort(crowd_of_face, kind="stable")
    crowds = np.split(order, np.flatnonzero(np.diff(crowd_of_face[order])) + 1) if len(order) else []
    largest = max(map(len, crowds), default=0)
    if largest > MAX_CROWD:
        raise ClusterError(
            f"{largest:,} faces hang together at a similarity of {threshold:.3f}, and at most {MAX_CROWD:,} can be "
            "sorted out in memory; raise `threshold`, or group fewer photographs at a time"
        )
    if photo_of_face is None:
        photo_of_face = np.arange(len(vectors), dtype=np.int64)
    labels = np.zeros(len(vectors), np.int64)
    count = 0
    for crowd in crowds:
        within = _link(vectors[crowd], poorness[crowd], photo_of_face[crowd], threshold)
        labels[crowd] = within + count
        count += int(within.max()) + 1
    return _number_by_size(labels)


def cosines_to_centers(vectors: FloatArray, labels: IntArray) -> FloatArray:
    """(N,) the cosine of each unit row (N, D) to the normalised mean of its group."""
    centers = np.zeros((int(labels.max(initial=-1)) + 1, vectors.shape[1]))
    np.add.at(centers, labels, vectors)
    lengths = np.maximum(np.linalg.norm(centers, axis=1), 1e-9)
    cosines = np.einsum("nd,nd->n", vectors, centers[labels]) / lengths[labels]
    return np.asarray(np.clip(cosines, -1, 1), np.float32)


def pairwise_score(labels: IntArray, truth: IntArray) -> GroupingScore:
    """Over pairs of faces: those in one group, and those of one person. `labels` and `truth` are (N,) from 0.

    Without any pair in one group, precision is 1; without any of one person, recall is 1.
    """
    together = _count_together(labels, truth)
    both, grouped, true = (_pairs(counts) for counts in (together, together.sum(axis=1), together.sum(axis=0)))
    return GroupingScore(both / grouped if grouped else 1.0, both / true if true else 1.0)


def bcubed_score(labels: IntArray, truth: IntArray) -> GroupingScore:
    """Over faces: the mean share of each face's group that is its person, and of its person that is in its group.

    Each face counts itself. (Bagga and Baldwin, Entity-based cross-document coreferencing, 1998.)
    """
    if not len(labels):
        return GroupingScore(1.0, 1.0)
    together = _count_together(labels, truth).astype(np.float64)
    in_group, of_person = together.sum(axis=1, keepdims=True), together.sum(axis=0, keepdims=True)
    squares = together**2
    return GroupingScore(
        float((squares / np.maximum(in_group, 1)).sum() / len(labels)),
        float((squares / np.maximum(of_person, 1)).sum() / len(labels)),
    )


def _find_crowds(vectors: FloatArray, poorness: FloatArray, threshold: float) -> IntArray:
    """(N,) which faces are linked by pairs that reach the threshold, directly or through others."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(vectors)
    crowds = np.arange(count, dtype=np.int64)
    for rows, columns in _like_pairs(vectors, poorness, threshold):
        links = coo_matrix((np.ones(len(rows), np.bool_), (crowds[rows], crowds[columns])), shape=(count, count))
        crowds = connected_components(links, directed=False)[1].astype(np.int64)[crowds]
    return crowds


def _like_pairs(vectors: FloatArray, poorness: FloatArray, threshold: float) -> Iterator[tuple[IntArray, IntArray]]:
    """The places of pairs that reach the threshold, block by block."""
    costs = np.float32(POOR_RAISE) * poorness
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        for first in range(start, len(vectors), _COLUMNS_AT_ONCE):
            rows, columns = slice(start, start + _ROWS_AT_ONCE), slice(first, first + _COLUMNS_AT_ONCE)
            scores = vectors[rows] @ vectors[columns].T
            scores -= np.outer(costs[rows], poorness[columns])
            # A hair lower than the threshold: what rounding adds here only makes a crowd larger than need be.
            above, beside = np.nonzero(scores >= np.float64(threshold) - 1e-6)
            yield above + start, beside + first


def _link(vectors: FloatArray, poorness: FloatArray, photos: IntArray, threshold: float) -> IntArray:
    """Average linkage of one crowd (n, D): (n,) numbers from 0."""
    if len(vectors) == 1:
        return np.zeros(1, np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage

    distances = np.empty(len(vectors) * (len(vectors) - 1) // 2)
    end = 0
    for place in range(len(vectors) - 1):  # the upper triangle row by row, as scipy wants it
        start, end = end, end + len(vectors) - 1 - place
        np.subtract(1, vectors[place + 1 :] @ vectors[place], out=distances[start:end])
        distances[start:end] += POOR_RAISE * poorness[place] * poorness[place + 1 :]
        distances[start:end][photos[place + 1 :] == photos[place]] = _NEVER
    np.maximum(distances, 0, out=distances)  # rounding carries equal vectors past a cosine of 1, and scipy refuses that
    numbers = fcluster(linkage(distances, "average"), 1 - threshold, "distance")
    return np.asarray(numbers, np.int64) - 1


def _number_by_size(labels: IntArray) -> IntArray:
    """The largest group is 0; of equal ones, whose first face comes first."""
    present, first, places, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    numbers = np.empty(len(present), np.int64)
    numbers[np.lexsort((first, -counts))] = np.arange(len(present))
    return numbers[places]


def _count_together(labels: IntArray, truth: IntArray) -> IntArray:
    """(groups, people) how many faces of a person are in a group."""
    counts = np.zeros((int(labels.max(initial=-1)) + 1, int(truth.max(initial=-1)) + 1), np.int64)
    np.add.at(counts, (labels, truth), 1)
    return counts


def _pairs(counts: IntArray) -> int:
    return int((counts * (counts - 1)).sum()) // 2
