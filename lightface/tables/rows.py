"""The rows of the tables that lightface writes, and their columns."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from lightface.frame import EMBEDDING_SIZE
from lightface.locations import RemotePath
from lightface.records import BoxPx, DetectedFace, FaceEmbedding, FloatArray, Match, Status, fields_of
from lightface.words import visible

Kind = Literal["text", "integer", "number"]

# A spreadsheet takes a cell that begins with one of these for a formula. The last four are as wide as Chinese
# characters.
_FORMULA: Final = "[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]"
_IS_FORMULA: Final = re.compile(f"'*{_FORMULA}")
_IS_PROTECTED: Final = re.compile(f"'+{_FORMULA}")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: the name of a field, and what a value that is not null looks like."""

    name: str
    kind: Kind = "text"
    shape: tuple[int, ...] = ()  # of an array of float32; () for a single value


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FaceRow:
    """A face, or a photograph that yielded none: then `status` is ERROR and `error` says why.

    A face that was found and refused is REJECTED, has no embedding, and `error` says why.
    """

    image_path: Path
    face_index: int | None = None  # 0 for the largest face of the photograph; refused ones have the last numbers
    bbox: BoxPx | None = None  # x_min, y_min, x_max, y_max in pixels of the upright photograph
    # (5, 2) pixels of the upright photograph, image-left eye first
    landmarks: FloatArray | None = field(default=None, repr=False)
    det_score: float | None = None  # 0..1
    quality: float | None = None  # 0..1
    embedding: FloatArray | None = field(default=None, repr=False)  # (256,) float32, Euclidean length 1
    model_id: str | None = None
    person_id: int | None = None
    person_name: str | None = None
    similarity: float | None = None  # cosine, -1..1; not a probability
    threshold: float | None = None
    status: Status
    error: str | None = None  # a reason, as in `PhotoError.reason`
    # Of a face in a video, in seconds since its first frame: where it was seen first, last, and best.
    time_start: float | None = None
    time_end: float | None = None
    time_best: float | None = None

    def __str__(self) -> str:
        face = "" if self.face_index is None else f", face {self.face_index}"
        return visible(f"{self.image_path}{face}: {self.person_name or self.error or self.status}")

    def to_dict(self) -> dict[str, Any]:
        """The columns, for `json.dumps`."""
        return fields_of(self)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PairRow:
    """Two photographs compared, or the one that spoiled it: then `status` is ERROR and `error` says why."""

    path_a: Path
    path_b: Path
    similarity: float | None = None  # cosine, -1..1; not a probability
    threshold: float | None = None
    status: Status
    error: str | None = None  # a reason, as in `PhotoError.reason`
    error_path: Path | None = None  # of the two, the photograph that it belongs to


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClusterRow:
    """A face, and the group of like faces that it belongs to; None for a face in no group."""

    image_path: Path
    face_index: int | None = None
    bbox: BoxPx | None = None
    cluster: int | None = None  # from 1
    cluster_size: int | None = None  # faces
    similarity: float | None = None  # cosine to the group's centre or to the known person, -1..1
    det_score: float | None = None  # 0..1
    quality: float | None = None  # 0..1
    model_id: str | None = None
    person_name: str | None = None  # whom the gallery knows, who has no group; or who was made of the group


FACE_COLUMNS: Final = (
    Column("image_path"),
    Column("face_index", "integer"),
    Column("bbox", "number", (4,)),
    Column("landmarks", "number", (5, 2)),
    Column("det_score", "number"),
    Column("quality", "number"),
    Column("embedding", "number", (EMBEDDING_SIZE,)),
    Column("model_id"),
    Column("person_id", "integer"),
    Column("person_name"),
    Column("similarity", "number"),
    Column("threshold", "number"),
    Column("status"),
    Column("error"),
    Column("time_start", "number"),
    Column("time_end", "number"),
    Column("time_best", "number"),
)

PAIR_COLUMNS: Final = (
    Column("path_a"),
    Column("path_b"),
    Column("similarity", "number"),
    Column("threshold", "number"),
    Column("status"),
    Column("error"),
    Column("error_path"),
)

CLUSTER_COLUMNS: Final = (
    Column("image_path"),
    Column("face_index", "integer"),
    Column("bbox", "number", (4,)),
    Column("cluster", "integer"),
    Column("cluster_size", "integer"),
    Column("similarity", "number"),
    Column("det_score", "number"),
    Column("quality", "number"),
    Column("model_id"),
    Column("person_name"),
)


def protect_cell(text: str) -> str:
    """A text for a CSV, which a spreadsheet shows and does not run: one apostrophe before it, where it would.

    `unprotect_cell` gives back what it was.
    """
    return f"'{text}" if _IS_FORMULA.match(text) else text


def unprotect_cell(cell: str) -> str:
    """What `protect_cell` was given."""
    return cell[1:] if _IS_PROTECTED.match(cell) else cell


def name_photo(path: Path) -> Path:
    """The name that a photograph has in the face tables of every run: absolute, however its folder was named.

    Links stay what the user calls them; a URL is what it is.
    """
    if isinstance(path, RemotePath):
        return path
    path = path.absolute()
    return Path(os.path.realpath(path.parent)) / path.name if ".." in path.parts else path


def describe_failure(path: Path, reason: str | None) -> FaceRow:
    """The row of a photograph without a face that could be used."""
    return FaceRow(image_path=path, status=Status.ERROR, error=reason)


def describe_refusal(path: Path, index: int, face: DetectedFace, reason: str) -> FaceRow:
    """The row of face number `index` of a photograph, which was found and refused."""
    return FaceRow(
        image_path=path,
        face_index=index,
        bbox=face.box_px,
        landmarks=face.landmarks_px,
        det_score=face.score,
        status=Status.REJECTED,
        error=reason,
    )


def describe_face(
    path: Path,
    index: int,
    face: FaceEmbedding,
    *,
    status: Status,
    match: Match | None = None,
    threshold: float | None = None,
) -> FaceRow:
    """The row of face number `index` of a photograph, with the person it was matched to."""
    found = face.detection
    return FaceRow(
        image_path=path,
        face_index=index,
        bbox=None if found is None else found.box_px,
        landmarks=None if found is None else found.landmarks_px,
        det_score=None if found is None else found.score,
        quality=face.quality,
        embedding=face.vector,
        model_id=face.model_id,
        person_id=None if match is None else match.person_id,
        person_name=None if match is None else match.person_name,
        similarity=None if match is None else match.similarity,
        threshold=threshold if match is None else match.threshold,
        status=status,
        time_start=None if face.span is None else face.span.start_s,
        time_end=None if face.span is None else face.span.end_s,
        time_best=None if face.span is None else face.span.best_s,
    )
