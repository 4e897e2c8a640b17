"""Boxes on their way through the cascade, and the geometry done on them.

Boxes follow MTCNN's convention, which the networks were trained with: pixels are counted from 1, and from the
second stage on a box from 3 to 5 is 3 px wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from lightface.detection.networks import STRIDE_PX, WINDOW_PX
from lightface.records import FloatArray

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """N boxes that may hold a face, of any number of images."""

    boxes_px: FloatArray  # (N, 4): x_min, y_min, x_max, y_max
    scores: FloatArray  # (N,): 0..1
    image_index: IndexArray  # (N,): which image of the batch

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: IndexArray) -> Candidates:
        """The candidates at `index`, in its order."""
        return Candidates(self.boxes_px[index], self.scores[index], self.image_index[index])

    def with_boxes(self, boxes_px: FloatArray) -> Candidates:
        """The same candidates with boxes (N, 4) corrected."""
        return replace(self, boxes_px=boxes_px)

    def with_scores(self, scores: FloatArray) -> Candidates:
        """The same candidates with the scores (N,) of the next network."""
        return replace(self, scores=scores)


def join(parts: Sequence[Candidates]) -> Candidates:
    """All candidates of `parts`."""
    if not parts:
        return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    return Candidates(
        np.concatenate([part.boxes_px for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.image_index for part in parts]),
    )


def find_peaks(scores: FloatArray, *, threshold: float) -> IndexArray:
    """Where (rows, columns) scores reach `threshold` and no neighbour's is higher: (K, 2) rows and columns."""
    highest_near = cv2.dilate(scores, np.ones((3, 3), np.uint8))
    return np.argwhere((scores >= threshold) & (scores == highest_near))


def place_windows(windows: IndexArray, *, scale: float) -> FloatArray:
    """The (N, 4) boxes of P-Net's windows, (N, 2) row and column in steps, on a level of `scale`."""
    start = (windows[:, ::-1] * STRIDE_PX + 1).astype(np.float32)
    # In single precision, as in facenet-pytorch: many quotients lie on whole pixels, where `floor` jumps.
    boxes: FloatArray = np.floor(np.hstack([start, start + (WINDOW_PX - 1)]) / np.float32(scale))
    return boxes


def suppress_overlapping(candidates: Candidates, groups: IndexArray, *, max_overlap: float) -> IndexArray:
    """Non-maximum suppression within each of `groups` (N,): the indices kept, best score first.

    A candidate goes when a better one of its group overlaps it by more than `max_overlap` (intersection over
    union).
    """
    boxes = candidates.boxes_px
    corners_and_sides = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    # Not torchvision's: importing that takes as long as torch itself.
    kept = cv2.dnn.NMSBoxesBatched(
        corners_and_sides.tolist(), candidates.scores.tolist(), groups.tolist(), 0.0, max_overlap
    )
    return np.asarray(kept, np.int64)


def suppress_nested(candidates: Candidates, *, max_overlap: float) -> IndexArray:
    """As `suppress_overlapping` within each image, but overlap is measured against the smaller of two boxes.

    So a box within another goes, however small it is: a face does not lie within a face.
    """
    order = np.argsort(-candidates.scores, kind="stable")
    boxes, images = candidates.boxes_px[order], candidates.image_index[order]
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
    is_alive = np.ones(len(order), bool)
    for best in range(len(order)):
        if not is_alive[best]:
            continue
        top_left = np.maximum(boxes[best, :2], boxes[best + 1 :, :2])
        bottom_right = np.minimum(boxes[best, 2:], boxes[best + 1 :, 2:])
        shared = np.maximum(bottom_right - top_left + 1, 0).prod(axis=1)
        overlap = shared / np.minimum(areas[best], areas[best + 1 :])
        is_alive[best + 1 :] &= (overlap <= max_overlap) | (images[best + 1 :] != images[best])
    return order[is_alive]


def move_edges(boxes_px: FloatArray, offsets: FloatArray, *, extra_px: int = 1) -> FloatArray:
    """Move the edges of (N, 4) boxes by (N, 4) `offsets`, fractions of a box's width and height.

    The first stage was trained on boxes that end before `x_max`, so that its `extra_px` is 0.
    """
    sides = boxes_px[:, 2:] - boxes_px[:, :2] + extra_px
    return boxes_px + offsets * np.hstack([sides, sides])


def make_square(boxes_px: FloatArray) -> FloatArray:
    """Grow the shorter side of (N, 4) boxes about their middle."""
    sides = boxes_px[:, 2:] - boxes_px[:, :2]
    longest = sides.max(axis=1, keepdims=True)
    top_left = boxes_px[:, :2] + (sides - longest) / 2
    return np.hstack([top_left, top_left + longest])


def place_points(boxes_px: FloatArray, points: FloatArray) -> FloatArray:
    """Landmarks in pixels counted from 0, (N, 5, 2), from (N, 5, 2) fractions of (N, 4) boxes."""
    sides = boxes_px[:, 2:] - boxes_px[:, :2] + 1
    return boxes_px[:, None, :2] + points * sides[:, None] - 1
