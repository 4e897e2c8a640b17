"""The geometry of candidate boxes, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lightface.detection.candidates import (
    Candidates,
    find_peaks,
    join,
    make_square,
    move_edges,
    place_points,
    place_windows,
    suppress_nested,
    suppress_overlapping,
)
from lightface.records import FloatArray


def boxes(*rows: tuple[float, float, float, float]) -> FloatArray:
    return np.array(rows, np.float32).reshape(-1, 4)


def candidates(box_rows: FloatArray, scores: list[float], image_index: list[int]) -> Candidates:
    return Candidates(box_rows, np.array(scores, np.float32), np.array(image_index, np.int64))


def test_windows_are_placed_in_the_photograph() -> None:
    # Row 3, column 5 at half size: the window starts at pixel 2*5+1 across and ends 11 further.
    placed = place_windows(np.array([[3, 5], [0, 0]]), scale=0.5)
    assert placed.tolist() == [[22, 14, 44, 36], [2, 2, 24, 24]]
    assert placed.dtype == np.float32
    assert place_windows(np.empty((0, 2), np.int64), scale=0.5).shape == (0, 4)


def test_peaks_are_no_lower_than_their_neighbours() -> None:
    scores = np.array([[0.9, 0.8, 0.1, 0.7], [0.2, 0.85, 0.1, 0.7], [0.75, 0.1, 0.1, 0.1]], np.float32)
    assert find_peaks(scores, threshold=0.0).tolist() == [[0, 0], [0, 3], [1, 3]]
    assert find_peaks(scores, threshold=0.7).tolist() == [[0, 0], [0, 3], [1, 3]]
    assert find_peaks(scores, threshold=0.71).tolist() == [[0, 0]]
    assert find_peaks(scores, threshold=0.95).shape == (0, 2)


def test_edges_move_by_shares_of_the_sides() -> None:
    moved = move_edges(boxes((10, 20, 29, 59)), boxes((0.1, -0.1, 0.5, 0.25)))
    assert moved.tolist() == [[12, 16, 39, 69]]
    inexact = move_edges(boxes((10, 20, 30, 60)), boxes((0.1, -0.1, 0.5, 0.25)), extra_px=0)
    assert inexact == pytest.approx(boxes((12, 16, 40, 70)))


def test_boxes_grow_to_squares_about_their_middle() -> None:
    assert make_square(boxes((0, 0, 10, 20), (0, 0, 20, 10))).tolist() == [[-5, 0, 15, 20], [0, -5, 20, 15]]


def test_points_are_placed_in_pixels_counted_from_0() -> None:
    points = np.zeros((1, 5, 2), np.float32)
    points[0, 1] = 0.5, 1.0
    placed = place_points(boxes((11, 21, 30, 60)), points)
    assert placed[0, 0].tolist() == [10, 20]
    assert placed[0, 1].tolist() == [20, 60]


def test_overlapping_boxes_go_within_their_group_only() -> None:
    rows = boxes((0, 0, 10, 10), (0, 0, 10, 9), (0, 0, 10, 10), (30, 0, 40, 10))
    many = candidates(rows, [0.8, 0.9, 0.7, 0.6], [0, 0, 1, 0])
    assert suppress_overlapping(many, many.image_index, max_overlap=0.5).tolist() == [1, 2, 3]


def test_a_box_within_a_better_one_goes() -> None:
    outer, inner, beside = (0, 0, 100, 100), (10, 10, 20, 20), (95, 0, 140, 40)
    many = candidates(boxes(inner, outer, beside, inner), [0.8, 0.9, 0.7, 0.95], [0, 0, 0, 1])
    assert suppress_overlapping(many, many.image_index, max_overlap=0.7).tolist() == [3, 1, 0, 2]
    assert suppress_nested(many, max_overlap=0.7).tolist() == [3, 1, 2]


def test_the_better_inner_box_wins_over_the_outer_one() -> None:
    many = candidates(boxes((0, 0, 100, 100), (10, 10, 20, 20)), [0.8, 0.9], [0, 0])
    assert suppress_nested(many, max_overlap=0.7).tolist() == [1]


def test_nothing_goes_through_everything() -> None:
    none = join([])
    assert len(none) == 0
    assert suppress_overlapping(none, none.image_index, max_overlap=0.5).tolist() == []
    assert suppress_nested(none, max_overlap=0.5).tolist() == []
    assert make_square(move_edges(none.boxes_px, none.boxes_px)).shape == (0, 4)
    assert place_points(none.boxes_px, np.empty((0, 5, 2), np.float32)).shape == (0, 5, 2)
    assert len(join([none, none])) == 0
