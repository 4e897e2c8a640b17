"""Which way up a face is, for photographs that lie on their side or stand on their head.

The cascade finds upright faces. On a photograph that is turned it finds few, and it places the landmarks of those it
does find as if they were upright. So each face that was found is looked at in all four quarter turns. Only where
another turn shows it better, or where no face is sure, the whole photograph is searched in other turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from lightface.detection.candidates import Candidates, suppress_nested
from lightface.records import BoxPx, DetectedFace, FloatArray

QUARTERS: Final = (0, 1, 2, 3)  # turns by 90 degrees, counter-clockwise, as `numpy.rot90` counts them

CLEAR_SCORE: Final = 0.97  # a face of this score is not looked at in other turns

# A photograph without a face of this score is searched in every turn. All of 200 upright portraits have one.
_SURE_SCORE = 0.9

# What a disagreement of the landmarks by the whole distance of the eyes costs, in logits.
_DISAGREEMENT_COST = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A face as it was found in one turn of its photograph."""

    face: DetectedFace  # in pixels of the photograph in the turn that was searched
    views: FloatArray  # (4,) logits: how well it is seen after 0 to 3 further quarters, see `rate_views`; -inf: untried
    turn: int = 0  # quarters by which the photograph was turned

    @property
    def best_turn(self) -> int:
        """The turn of the photograph in which the face stands upright."""
        return (self.turn + int(self.views.argmax())) % 4

    @property
    def is_upright(self) -> bool:
        """Whether the turn that was searched is the best one."""
        return self.best_turn == self.turn

    def turned_back(self, size: tuple[int, int]) -> Sighting:
        """The same in pixels of the photograph itself, of which `size` (height, width) is that of the turned one."""
        # Turns keep the edges of pixels in place: landmarks count from the middle of the first, boxes from 1.
        landmarks_px = turn_back(self.face.landmarks_px + np.float32(0.5), self.turn, size) - np.float32(0.5)
        corners = turn_back(
            np.array(self.face.box_px, np.float32).reshape(2, 2) - np.float32(0.5), self.turn, size
        ) + np.float32(0.5)
        box_px: BoxPx = tuple(np.concatenate([corners.min(axis=0), corners.max(axis=0)]).tolist())
        return replace(self, face=DetectedFace(box_px, landmarks_px, self.face.score))


def rate_views(scores: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How well O-Net sees N faces, each in a crop and in its mirror image: (N,) logits and (N, 5, 2) landmarks.

    `scores` (N, 2) are 0..1. `points` (N, 2, 5, 2) are fractions of the crop and of its mirror image, in the order of
    `DetectedFace.landmarks_px`. The logit is the mean of the two, less what their landmarks disagree by. Upright faces
    are seen alike in both; faces in another turn, and what is no face, are not: of portraits that were turned, a turn
    chosen by this logit was right for 199 of 199, by O-Net's score alone for 196. The mean of the landmarks moves a
    fifth less than one of them when the photograph is cut differently.
    """
    probabilities = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logits = np.log(probabilities / (1 - probabilities)).mean(axis=1)
    # Mirrored, the left eye is the right one.
    mirrored = np.stack([1 - points[:, 1, :, 0], points[:, 1, :, 1]], axis=-1)[:, (1, 0, 2, 4, 3)]
    landmarks = (points[:, 0] + mirrored) / 2
    eyes = np.maximum(np.linalg.norm(landmarks[:, 0] - landmarks[:, 1], axis=-1), 1e-3)
    disagreement = np.linalg.norm(points[:, 0] - mirrored, axis=-1).mean(axis=-1) / eyes
    return (logits - _DISAGREEMENT_COST * disagreement).astype(np.float32), landmarks.astype(np.float32, copy=False)


def turn_back(points: FloatArray, quarters: int, size: tuple[float, float]) -> FloatArray:
    """Points (..., 2), x and y, of a picture of `size` (height, width) that was turned by `quarters`: where they were.

    Coordinates are counted from the edge of the first pixel.
    """
    height, width = size
    for _ in range(quarters):
        points = np.stack([height - points[..., 1], points[..., 0]], axis=-1)
        height, width = width, height
    return points


def quarters_of(face: DetectedFace) -> int:
    """By how many quarters a photograph must be turned for the eyes of `face` to lie level, the left one first."""
    (left_x, left_y), (right_x, right_y) = face.landmarks_px[:2].tolist()
    return round(math.degrees(math.atan2(right_y - left_y, right_x - left_x)) / 90) % 4


def needs_turn(sightings: Sequence[Sighting], turn: int) -> bool:
    """Whether a photograph, upright with these `sightings`, has to be searched in `turn` as well."""
    is_sure = any(one.face.score >= _SURE_SCORE for one in sightings)
    return not is_sure or any(one.best_turn == turn for one in sightings)


def settle(sightings: Sequence[Sighting]) -> list[DetectedFace]:
    """The faces among what was seen of one photograph in several turns, all in its own pixels; largest first.

    A face counts in the turn in which it stands upright. One that is better seen in a turn in which nothing was found
    stays as it is. Of overlapping faces, the one that is seen best stays.
    """
    answered = {one.turn for one in sightings if one.is_upright}
    kept = [one for one in sightings if one.is_upright or (one.turn == 0 and one.best_turn not in answered)]
    boxes_px = np.array([one.face.box_px for one in kept], np.float32).reshape(-1, 4)
    logits = np.array([one.views[0] for one in kept], np.float32)
    candidates = Candidates(boxes_px, logits, np.zeros(len(kept), np.int64))
    faces = [kept[index].face for index in suppress_nested(candidates, max_overlap=0.7)]
    return sorted(faces, key=_box_area_px, reverse=True)


def _box_area_px(face: DetectedFace) -> float:
    x_min, y_min, x_max, y_max = face.box_px
    return (x_max - x_min) * (y_max - y_min)
