"""Follow faces from frame to frame of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from lightface.records import BoxPx, FaceEmbedding, FloatArray, TimeSpan

# A face goes on as the track whose last box it overlaps, or whose mean it resembles; both together count.
_LEAST_OVERLAP: Final = 0.3  # intersection over union
_LONGEST_GAP_S: Final = 2.0  # a track that has not been seen for longer has ended; who comes back begins another
_KEPT_FACES: Final = 5  # of the best quality, from which a track's embedding is made


@dataclass(slots=True, eq=False)
class Track:
    """One appearance of a face, from where it was first seen to where it was lost."""

    start_s: float
    end_s: float
    box_px: BoxPx  # where it was seen last
    best: list[tuple[float, FaceEmbedding]] = field(default_factory=list)  # time and face, best quality first

    def add(self, time_s: float, face: FaceEmbedding) -> None:
        """Go on with a face of a later frame; of all faces the few of the best quality are kept."""
        assert face.detection is not None
        self.end_s, self.box_px = time_s, face.detection.box_px
        self.best.append((time_s, face))
        self.best.sort(key=lambda one: -(one[1].quality or 0.0))  # stable: the first of equals stays first
        del self.best[_KEPT_FACES:]

    @property
    def best_s(self) -> float:
        """The time of the face of the best quality."""
        return self.best[0][0]

    def as_face(self) -> FaceEmbedding:
        """The face of the best quality, with the mean of the best ones and the time span of the track."""
        best_s, face = self.best[0]
        return replace(face, vector=self.vector, span=TimeSpan(self.start_s, self.end_s, best_s))

    @property
    def vector(self) -> FloatArray:
        """The mean of the best faces, of length 1: (256,) float32."""
        mean = np.mean([face.vector for _, face in self.best], axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


class Tracker:
    """Joins the faces of frames, given in the order of time, to tracks; memory grows with tracks, not with frames.

    `threshold` is the cosine from which two faces are one person. A face goes on with a track where it reaches that, or
    where it overlaps the track's last box and comes within half of it: a turned head stays itself where it is, and a
    cut to somebody else at the same place does not.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._open: list[Track] = []
        self.tracks: list[Track] = []  # all of them, in the order of their start

    def add(self, time_s: float, faces: Sequence[FaceEmbedding]) -> None:
        """The faces of one frame; no two of them go to one track."""
        self._open = [track for track in self._open if time_s - track.end_s <= _LONGEST_GAP_S]
        joined: dict[int, Track] = {}
        if faces and self._open:
            scores = np.array([[self._score(track, face) for track in self._open] for face in faces])
            rows, columns = linear_sum_assignment(scores, maximize=True)
            joined = {
                row: self._open[column]
                for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
                if scores[row, column] > 0
            }
        for number, face in enumerate(faces):
            track = joined.get(number)
            if track is None:
                assert face.detection is not None
                track = Track(time_s, time_s, face.detection.box_px)
                self._open.append(track)
                self.tracks.append(track)
            track.add(time_s, face)

    def _score(self, track: Track, face: FaceEmbedding) -> float:
        """Similarity and overlap together; 0 where the face is not that of the track."""
        assert face.detection is not None
        similarity = float(track.vector @ face.vector)
        overlap = overlap_of(track.box_px, face.detection.box_px)
        is_one = similarity >= self._threshold or (overlap >= _LEAST_OVERLAP and similarity >= self._threshold / 2)
        return similarity + overlap if is_one else 0.0


def overlap_of(one: BoxPx, other: BoxPx) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)
