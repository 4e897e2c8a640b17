"""The frozen records that one stage of the pipeline hands to the next.

Coordinates are pixels of the upright photograph (EXIF orientation applied), x to the right, y down.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

BoxPx = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max

UNIT_TOLERANCE = 1e-3  # of an embedding's length; rows made in half precision are this far off


class FaceSelection(StrEnum):
    """Which of a photograph's faces a job takes."""

    LARGEST = "largest"
    CENTER = "center"
    ALL = "all"
    REQUIRE_ONE = "require-one"


class Status(StrEnum):
    """The outcome of one row of a report."""

    EMBEDDED = "embedded"
    ENROLLED = "enrolled"
    REJECTED = "rejected"
    SAME = "same"
    DIFFERENT = "different"
    MATCHED = "matched"
    REVIEW = "review"
    UNKNOWN = "unknown"
    ERROR = "error"


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """A face that a detector found.

    Left and right are those of the face as it is seen upright: a face on its head has its left eye on the right.
    """

    box_px: BoxPx  # a detector's reaches beyond the photograph where the face does; the pipeline's ends at its edges
    # (5, 2): left eye, right eye, nose tip, left and right corner of the mouth
    landmarks_px: FloatArray = field(repr=False)
    score: float  # the detector's confidence, 0..1

    def __str__(self) -> str:
        box = " ".join(f"{edge:.0f}" for edge in self.box_px)
        return f"face at {box}, detection score {self.score:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """The columns of the face table that a detector fills, for `json.dumps`."""
        return {"bbox": list(self.box_px), "landmarks": self.landmarks_px.tolist(), "det_score": self.score}

    @property
    def size_px(self) -> float:
        """The shorter side of the box."""
        x_min, y_min, x_max, y_max = self.box_px
        return min(x_max - x_min, y_max - y_min)

    def clipped(self, size: tuple[int, int]) -> DetectedFace:
        """The face with its box cut off at the edges of a photograph of `size` (height, width) pixels."""
        height, width = size
        x_min, y_min, x_max, y_max = self.box_px
        box_px = (max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height)))
        return self if box_px == self.box_px else replace(self, box_px=box_px)

    def reduced(self, reduction: int) -> DetectedFace:
        """The same face in a picture of which each pixel stands for a square of `reduction` pixels of this one."""
        x_min, y_min, x_max, y_max = (edge / reduction for edge in self.box_px)
        # Landmarks count from the middle of the first pixel.
        landmarks_px = (self.landmarks_px + np.float32(0.5)) / np.float32(reduction) - np.float32(0.5)
        return DetectedFace((x_min, y_min, x_max, y_max), landmarks_px, self.score)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the face lies in an aligned crop (rows and columns in pixels of the crop)."""

    size_px: int = 128
    eye_row_px: float = 40.0
    mouth_row_px: float = 88.0

    @property
    def center_column_px(self) -> float:
        """The column of the midpoint between the eyes."""
        return self.size_px / 2


@dataclass(frozen=True, slots=True)
class InputContract:
    """What a network expects of its input. It belongs to the weights; `Embedder` obeys it."""

    channels: Literal[1, 3] = 1
    order: Literal["grey", "bgr", "rgb"] = "grey"
    scale: float = 1 / 255  # multiplies the uint8 pixels
    frame: Frame = Frame()


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """A face turned and scaled into a network's frame."""

    pixels: ByteArray = field(repr=False)  # (size, size, 3) uint8 RGB, black where the photograph ended
    frame: Frame
    detection: DetectedFace | None  # None for a crop that came already aligned


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """When a face was seen in a video, in seconds since its first frame."""

    start_s: float
    end_s: float
    best_s: float  # the frame that box, landmarks, score and quality are of


@dataclass(frozen=True, slots=True, eq=False)
class FaceEmbedding:
    """A face as a unit vector, with what is known of where it came from."""

    vector: FloatArray = field(repr=False)  # (256,) float32, Euclidean length 1
    model_id: str
    detection: DetectedFace | None  # None for a crop that came already aligned
    quality: float | None  # 0..1, see `lightface.quality`
    span: TimeSpan | None = None  # None for a face of a photograph

    def __str__(self) -> str:
        return "already aligned" if self.detection is None else str(self.detection)

    def to_dict(self) -> dict[str, Any]:
        """The columns of the face table, for `json.dumps`."""
        return {**_describe_place(self), "embedding": self.vector.tolist(), "model_id": self.model_id}


@dataclass(frozen=True, slots=True)
class Match:
    """A person of the gallery compared with a probe."""

    person_id: int
    person_name: str
    similarity: float  # cosine, -1..1; not a probability
    status: Status  # MATCHED, REVIEW or UNKNOWN
    threshold: float  # cosine from which it is MATCHED

    def __str__(self) -> str:
        return f"{self.person_name} {self.similarity:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """The fields, for `json.dumps`."""
        return fields_of(self)


@dataclass(frozen=True, slots=True)
class Verification:
    """The comparison of two photographs."""

    face_a: FaceEmbedding
    face_b: FaceEmbedding
    similarity: float  # cosine, -1..1; not a probability
    threshold: float  # cosine; the higher, the poorer both faces are
    status: Status  # SAME or DIFFERENT; SAME when similarity >= threshold
    poor_raise: float = 0.0  # how much of the threshold is there because both faces are poor

    def __str__(self) -> str:
        text = f"{self.status}: similarity {self.similarity:.3f}, threshold {self.threshold:.3f}"
        return text if self.poor_raise < 0.001 else f"{text} ({self.poor_raise:.3f} of it because both faces are poor)"

    def to_dict(self) -> dict[str, Any]:
        """The answer and where the two faces were found, for `json.dumps`; the embeddings are left out."""
        return {
            "status": self.status.value,
            "similarity": self.similarity,
            "threshold": self.threshold,
            "poor_raise": self.poor_raise,
            "model_id": self.face_a.model_id,
            "faces": [_describe_place(face) for face in (self.face_a, self.face_b)],
        }


def are_unit_rows(vectors: FloatArray) -> bool:
    """Whether all rows of (N, D) float32 have length 1, as far as half precision goes; NaN has not."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return bool(np.all(np.abs(np.sqrt(squares) - 1) <= UNIT_TOLERANCE))


def to_plain(value: object) -> object:
    """What `json.dumps` takes: records by their fields, paths and dates as texts, arrays as lists, and null for an
    infinite threshold, which nothing reaches: JSON has no such number.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return to_plain(value.tolist()) if hasattr(value, "tolist") else value  # numpy's arrays and numbers


def fields_of(record: DataclassInstance) -> dict[str, Any]:
    """The fields of a record by their names, as `to_plain` writes them."""
    return {known.name: to_plain(getattr(record, known.name)) for known in dataclasses.fields(record)}


def _describe_place(face: FaceEmbedding) -> dict[str, Any]:
    """Where a face was found, and how good it is; null where a crop came already aligned."""
    nowhere = {"bbox": None, "landmarks": None, "det_score": None}
    return {**(nowhere if face.detection is None else face.detection.to_dict()), "quality": face.quality}
