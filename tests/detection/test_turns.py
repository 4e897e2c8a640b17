"""Which way up a face is, on made-up sightings."""

from __future__ import annotations

import numpy as np
import pytest

from lightface.detection.turns import QUARTERS, Sighting, needs_turn, quarters_of, rate_views, settle, turn_back
from lightface.records import BoxPx, DetectedFace

LANDMARKS = np.array([(30, 40), (60, 40), (45, 55), (33, 70), (57, 70)], np.float32)


def sight(box_px: BoxPx, *views: float, turn: int = 0, score: float = 0.99) -> Sighting:
    return Sighting(DetectedFace(box_px, LANDMARKS, score), np.array(views, np.float32), turn)


@pytest.mark.parametrize("quarters", QUARTERS)
def test_points_and_boxes_come_back_to_their_pixels(quarters: int) -> None:
    picture = np.zeros((70, 90), np.uint8)
    picture[20:31, 40:56] = 1  # what is marked: rows 20 to 30, columns 40 to 55
    turned = np.rot90(picture, quarters)
    rows, columns = np.nonzero(turned)
    box_px = (columns.min() + 1.0, rows.min() + 1.0, columns.max() + 1.0, rows.max() + 1.0)  # counted from 1
    corners = np.array([(columns[0], rows[0])] * 5, np.float32)
    seen = Sighting(DetectedFace(box_px, corners, 1.0), np.zeros(4, np.float32), quarters)
    back = seen.turned_back(turned.shape).face
    assert back.box_px == (41, 21, 56, 31)
    assert picture[tuple(back.landmarks_px[0, ::-1].astype(int))] == 1
    assert turn_back(np.array([[0.5, 0.25]], np.float32), quarters, (1, 1)).min() >= 0


def test_the_line_between_the_eyes_tells_the_quarter() -> None:
    for quarters in QUARTERS:
        turned = LANDMARKS
        for _ in range(quarters):  # a picture turned clockwise has to be turned back counter-clockwise
            turned = np.stack([100 - turned[:, 1], turned[:, 0]], axis=1)
        assert quarters_of(DetectedFace((0, 0, 100, 100), turned, 1.0)) == quarters


def test_a_face_is_seen_best_where_its_mirror_image_agrees() -> None:
    points = np.stack([LANDMARKS / 100, LANDMARKS / 100])
    points[1, :, 0] = 1 - points[1, :, 0]
    points[1] = points[1, (1, 0, 2, 4, 3)]
    apart = points.copy()
    apart[1, :, 1] += 0.03  # a tenth of the distance of the eyes
    scores = np.full((2, 2), 0.999, np.float32)
    (agreed, differed), landmarks = rate_views(scores, np.stack([points, apart]).astype(np.float32))
    assert agreed == pytest.approx(np.log(0.999 / 0.001), abs=1e-3)
    assert differed == pytest.approx(agreed - 1, abs=1e-2)
    assert np.abs(landmarks[0] - LANDMARKS / 100).max() < 1e-6


def test_other_turns_are_searched_only_where_nothing_upright_is_sure() -> None:
    sure, doubtful = sight((0, 0, 9, 9), 5, -9, -9, -9), sight((0, 0, 9, 9), 1, -9, -9, -9, score=0.8)
    on_its_side = sight((20, 0, 29, 9), 2, 4, -9, -9)
    assert [needs_turn([sure], turn) for turn in (1, 2, 3)] == [False] * 3
    assert [needs_turn([doubtful], turn) for turn in (1, 2, 3)] == [True] * 3
    assert [needs_turn([], turn) for turn in (1, 2, 3)] == [True] * 3
    assert [needs_turn([sure, on_its_side], turn) for turn in (1, 2, 3)] == [True, False, False]


def test_a_face_counts_in_the_turn_in_which_it_is_upright() -> None:
    wrong = sight((0, 0, 40, 40), 1, 6, -9, -9)
    right = sight((1, 1, 41, 41), 7, -9, -9, -9, turn=1)
    beside = sight((100, 0, 120, 20), 3, -9, -9, -9)
    assert settle([wrong, beside, right]) == [right.face, beside.face]
    assert settle([wrong, beside]) == [wrong.face, beside.face]  # nothing was found in the turn that it asks for
    assert settle([]) == []
