"""Faces are followed by where they are and whom they resemble."""

from __future__ import annotations

import numpy as np
import pytest

from lightface.pipeline.tracks import Tracker, overlap_of
from lightface.records import DetectedFace, FaceEmbedding


def face(direction: tuple[float, float, float], x: float, *, quality: float = 0.5) -> FaceEmbedding:
    vector = np.zeros(256, np.float32)
    vector[:3] = direction
    vector /= np.linalg.norm(vector)
    return FaceEmbedding(
        vector, "m", DetectedFace((x, 0.0, x + 100, 100.0), np.zeros((5, 2), np.float32), 0.99), quality
    )


ADA, BOB = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def test_two_people_who_cross_stay_two_tracks() -> None:
    tracker = Tracker(0.5)
    for step in range(11):
        tracker.add(step / 2, [face(ADA, 40.0 * step), face(BOB, 400 - 40.0 * step)])
    assert [(track.start_s, track.end_s) for track in tracker.tracks] == [(0, 5), (0, 5)]
    assert [int(track.vector.argmax()) for track in tracker.tracks] == [0, 1]


def test_who_comes_back_after_a_gap_is_another_track() -> None:
    tracker = Tracker(0.5)
    for time_s in (0.0, 0.5, 1.5, 5.0, 5.5):
        tracker.add(time_s, [face(ADA, 0)])
    assert [(track.start_s, track.end_s) for track in tracker.tracks] == [(0, 1.5), (5, 5.5)]


def test_a_cut_to_somebody_else_at_the_same_place_begins_a_track() -> None:
    tracker = Tracker(0.5)
    tracker.add(0, [face(ADA, 0)])
    tracker.add(0.5, [face(BOB, 0)])
    assert len(tracker.tracks) == 2


def test_a_turned_head_stays_itself_where_it_is_and_nowhere_else() -> None:
    turned = (0.4, 0.0, 0.9165)  # a cosine of 0.4, under the threshold
    here, elsewhere = Tracker(0.5), Tracker(0.5)
    here.add(0, [face(ADA, 0)])
    here.add(0.5, [face(turned, 10)])
    elsewhere.add(0, [face(ADA, 0)])
    elsewhere.add(0.5, [face(turned, 300)])
    assert (len(here.tracks), len(elsewhere.tracks)) == (1, 2)


def test_a_track_keeps_its_best_faces_however_long_it_is() -> None:
    tracker = Tracker(0.5)
    for step in range(1000):
        tracker.add(step / 2, [face(ADA, 0, quality=1 - abs(step - 700) / 1000)])
    (track,) = tracker.tracks
    assert track.best_s == 350 and len(track.best) == 5
    assert float(np.linalg.norm(track.vector)) == pytest.approx(1, abs=1e-6)


def test_overlap_is_intersection_over_union() -> None:
    assert overlap_of((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap_of((0, 0, 1, 1), (1, 0, 2, 1)) == 0
