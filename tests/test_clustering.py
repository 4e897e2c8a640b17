"""Groups and their figures, on hand-made cases and against other implementations."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from lightface import clustering
from lightface.clustering import bcubed_score, cluster_vectors, cosines_to_centers, pairwise_score, strict_threshold
from lightface.errors import ClusterError, ThresholdError


def labels(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    rows = np.zeros((len(degrees), 256), np.float32)
    rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
    return rows


def make_people(count: int, faces: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.permutation(np.repeat(np.arange(count), faces))
    rows = generator.normal(size=(count, 256))[truth] + noise * generator.normal(size=(len(truth), 256))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), truth.astype(np.int64)


def test_groups_are_numbered_by_size() -> None:
    vectors = on_circle(170, 0, 90, 5, 95, 10)
    assert cluster_vectors(vectors, threshold=0.9).tolist() == [2, 0, 1, 0, 1, 0]


def test_the_mean_of_the_cosines_decides() -> None:
    # 0 and 30 join (0.866); 60 has 0.866 and 0.5 to them, 0.683 in the mean.
    vectors = on_circle(0, 30, 60)
    assert cluster_vectors(vectors, threshold=0.69).tolist() in ([0, 0, 1], [1, 0, 0])
    assert cluster_vectors(vectors, threshold=0.68).tolist() == [0, 0, 0]


def test_the_threshold_is_inclusive() -> None:
    vectors = np.zeros((2, 256), np.float32)
    vectors[0, 0] = 1
    vectors[1, :2] = 0.6, 0.8
    assert cluster_vectors(vectors, threshold=float(np.float32(0.6))).tolist() == [0, 0]
    assert cluster_vectors(vectors, threshold=0.601).tolist() == [0, 1]


@pytest.mark.parametrize("faces", [0, 1])
def test_nobody_and_somebody_alone(faces: int) -> None:
    assert cluster_vectors(on_circle(*[0] * faces), threshold=0.5).tolist() == [0] * faces


@pytest.mark.parametrize("threshold", [0.05, 0.15, 0.3, 0.6])
def test_it_agrees_with_scikit_learn(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which knows nothing of crowds."""
    from sklearn.cluster import AgglomerativeClustering

    monkeypatch.setattr(clustering, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(clustering, "_COLUMNS_AT_ONCE", 11)
    vectors, _ = make_people(12, 6, noise=1.5)
    distances = 1 - np.clip(vectors.astype(np.float64) @ vectors.T.astype(np.float64), -1, 1)
    reference = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - threshold
    ).fit_predict(distances)
    found = cluster_vectors(vectors, threshold=threshold)
    assert pairwise_score(found, reference.astype(np.int64)).f == 1
    assert np.all(np.diff(np.bincount(found)) <= 0)


def test_nobody_is_on_a_photograph_twice() -> None:
    vectors = on_circle(0, 1, 2, 3, 4)
    assert cluster_vectors(vectors, threshold=0.9).tolist() == [0] * 5
    found = cluster_vectors(vectors, threshold=0.9, photo_of_face=labels(1, 1, 2, 3, 3))
    assert found[0] != found[1] and found[3] != found[4]
    assert len(set(found.tolist())) == 2
    assert cluster_vectors(vectors, threshold=-1, photo_of_face=labels(7, 7, 7, 7, 7)).tolist() == [0, 1, 2, 3, 4]


def test_too_large_a_crowd_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "MAX_CROWD", 10)
    vectors, _ = make_people(8, 4, noise=1)
    assert cluster_vectors(vectors, threshold=0.3).max() == 7  # 32 faces, but in small crowds
    with pytest.raises(ClusterError, match=r"32 faces hang together at a similarity of -1.000.*raise `threshold`"):
        cluster_vectors(vectors, threshold=-1)


def test_two_poor_faces_must_be_more_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.clustering._ROWS_AT_ONCE", 2)
    vectors = on_circle(0, 40, 90, 130)
    poorness = np.array([0.5, 0.5, 0.5, 0], np.float32)
    assert cluster_vectors(vectors, threshold=0.7).tolist() == [0, 0, 1, 1]
    assert cluster_vectors(vectors, threshold=0.7, poorness=poorness).tolist() == [1, 2, 0, 0]
    assert cluster_vectors(vectors, threshold=0.65, poorness=poorness).tolist() == [0, 0, 1, 1]


def test_cosines_to_centers() -> None:
    found = cosines_to_centers(on_circle(0, 60, 200), labels(0, 0, 1))
    assert found.tolist() == pytest.approx([np.cos(np.pi / 6), np.cos(np.pi / 6), 1], abs=1e-6)
    assert cosines_to_centers(on_circle(), labels()).shape == (0,)


def test_pairwise_by_hand() -> None:
    # Groups {a a b} {b b} {c}: pairs in groups 3 + 1, right 1 + 1; pairs of people 1 + 3.
    score = pairwise_score(labels(0, 0, 0, 1, 1, 2), labels(0, 0, 1, 1, 1, 2))
    assert (score.precision, score.recall) == (2 / 4, 2 / 4)
    assert score.f == 0.5


def test_bcubed_by_hand() -> None:
    # Precision: a a have 2/3, b in it 1/3, the others 1. Recall: a a 1, b 1/3, b b 2/3, c 1.
    score = bcubed_score(labels(0, 0, 0, 1, 1, 2), labels(0, 0, 1, 1, 1, 2))
    assert score.precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1 + 1) / 6)
    assert score.recall == pytest.approx((1 + 1 + 1 / 3 + 2 / 3 + 2 / 3 + 1) / 6)


def test_scores_at_their_ends() -> None:
    truth = labels(0, 0, 1, 1)
    perfect, apart, heap = labels(1, 1, 0, 0), labels(0, 1, 2, 3), labels(0, 0, 0, 0)
    assert pairwise_score(perfect, truth).f == bcubed_score(perfect, truth).f == 1
    assert (pairwise_score(apart, truth).precision, pairwise_score(apart, truth).recall) == (1, 0)
    assert pairwise_score(apart, truth).f == 0
    assert (bcubed_score(apart, truth).precision, bcubed_score(apart, truth).recall) == (1, 0.5)
    assert (pairwise_score(heap, truth).precision, pairwise_score(heap, truth).recall) == (2 / 6, 1)
    assert (bcubed_score(heap, truth).precision, bcubed_score(heap, truth).recall) == (0.5, 1)


def test_pairwise_agrees_with_scikit_learn() -> None:
    from sklearn.metrics.cluster import pair_confusion_matrix

    generator = np.random.default_rng(0)
    found, truth = generator.integers(6, size=80), generator.integers(9, size=80)
    (_, false_positive), (false_negative, true_positive) = pair_confusion_matrix(truth, found)
    score = pairwise_score(found, truth)
    assert score.precision == pytest.approx(true_positive / (true_positive + false_positive))
    assert score.recall == pytest.approx(true_positive / (true_positive + false_negative))


def test_a_threshold_that_is_no_number() -> None:
    with pytest.raises(ThresholdError, match="nan; give a number"):
        cluster_vectors(on_circle(0, 10), threshold=float("nan"))


SHIPPED = {1e-2: 0.3854, 1e-3: 0.4849, 1e-4: 0.5611}


def test_the_more_faces_the_stricter() -> None:
    limits = [strict_threshold(SHIPPED, count) for count in (2, 200, 1000, 2000, 13_000, 1_000_000)]
    assert limits[0] == limits[1] == pytest.approx(0.418, abs=5e-4)
    assert limits[1:] == sorted(set(limits[1:]))
    for far, cosine in SHIPPED.items():  # as strict as the rate that was measured for one stranger a face
        if far < 5e-3:
            assert strict_threshold(SHIPPED, round(1 / far)) == pytest.approx(cosine, abs=2.5e-3)


def test_a_normal_distribution_is_found_again() -> None:
    normal = NormalDist(0.05, 0.1)
    known = {far: normal.inv_cdf(1 - far) for far in (1e-1, 1e-2, 1e-3)}
    assert strict_threshold(known, 100_000) == pytest.approx(normal.inv_cdf(1 - 1e-5))


def test_one_known_rate_is_enough_to_be_strict() -> None:
    only = {far: cosine for far, cosine in SHIPPED.items() if far == 1e-2}
    for count in (1000, 10_000, 1_000_000):
        assert strict_threshold(SHIPPED, count) < strict_threshold(only, count) < 1


def test_without_any_threshold_none_is_made_up() -> None:
    with pytest.raises(ThresholdError, match="no threshold is known"):
        strict_threshold({}, 10)


def test_equal_faces_whose_length_is_rounded_up_are_one_group() -> None:
    vectors = on_circle(0, 0, 0, 90) * np.float32(1 + 1e-6)
    assert cluster_vectors(vectors, threshold=0.5).tolist() == [0, 0, 0, 1]
