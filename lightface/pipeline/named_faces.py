"""Which of a photograph's faces is whose, where somebody has marked and named them in another program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lightface.errors import FaceNotFoundError, IdentityConflictError, MultipleFacesError, PhotoError
from lightface.gallery.records import overlap
from lightface.images.failures import quote
from lightface.pipeline.face_pipeline import PhotoFaces
from lightface.records import BoxPx, FaceEmbedding

# People draw around the head, programs around the face. A box of twice the face's width and height overlaps it by 0.25.
_LEAST_OVERLAP: Final = 0.2  # intersection over union
_SAME_FACE: Final = 0.5  # of two marks under two names: of people cheek to cheek, they overlap less


@dataclass(frozen=True, slots=True)
class NamedFace:
    """A place in a photograph and whose face is there, as somebody said."""

    name: str
    box_px: BoxPx  # of the upright photograph
    is_own: bool = field(default=False, compare=False)  # it was lightface that said so


def is_of_one_face(box_a: BoxPx, box_b: BoxPx) -> bool:
    """Whether a mark and a face, or two marks, may belong together: the middle of each lies in the other, and they
    overlap (intersection over union) by 0.2 or more. The unit of the boxes does not matter.
    """
    return _has_middle_of(box_a, box_b) and _has_middle_of(box_b, box_a) and overlap(box_a, box_b) >= _LEAST_OVERLAP


def choose_faces(photo: PhotoFaces, named: Sequence[NamedFace]) -> dict[str, PhotoFaces]:
    """For each name the photograph with that person's face alone, or with the error that says why there is none.

    Of those that may belong together, see `is_of_one_face`, those do that overlap most. FaceNotFoundError where no face
    was found at a mark, what a gate said of a face that was refused, IdentityConflictError where one face was given two
    names, MultipleFacesError where two were given one.
    """
    named = _merge(named)
    chosen: dict[str, PhotoFaces] = {}
    if photo.error is not None and not photo.refused and photo.sha256 is None:  # it could not be read
        return {one.name: photo for one in named}
    assigned = _assign(photo, named)
    for one in named:
        result = _refuse(photo, _find_fault(photo, one, named))
        face = assigned.get(one)
        if result.error is None:
            if isinstance(face, FaceEmbedding):
                result = replace(photo, faces=(face,), refused=(), error=None, not_selected=0)
            else:
                result = _refuse(photo, face or _not_found(photo, one))
        chosen[one.name] = result
    return chosen


def _merge(named: Sequence[NamedFace]) -> list[NamedFace]:
    """Marks of one face under one name, as in a photograph's file and in its sidecar, are one."""
    merged: list[NamedFace] = []
    for one in named:
        if not any(one.name == other.name and is_of_one_face(one.box_px, other.box_px) for other in merged):
            merged.append(one)
    return merged


def _find_fault(photo: PhotoFaces, one: NamedFace, named: Sequence[NamedFace]) -> PhotoError | None:
    for other in named:
        if other.name != one.name and overlap(one.box_px, other.box_px) >= _SAME_FACE:
            return IdentityConflictError(
                f"in {quote(photo.path)}, one face is named {one.name!r} and {other.name!r}; mend it where it was named"
            )
        if other.name == one.name and other != one:
            return MultipleFacesError(
                f"in {quote(photo.path)}, two faces are named {one.name!r}; mend it where they were named"
            )
    return None


def _not_found(photo: PhotoFaces, one: NamedFace) -> PhotoError:
    place = " ".join(f"{edge:.0f}" for edge in one.box_px)
    return FaceNotFoundError(f"in {quote(photo.path)}, no face is found where {one.name!r} is marked, at {place}")


def _refuse(photo: PhotoFaces, error: PhotoError | None) -> PhotoFaces:
    return replace(photo, faces=(), refused=(), error=error, not_selected=0)


def _assign(photo: PhotoFaces, named: Sequence[NamedFace]) -> dict[NamedFace, FaceEmbedding | PhotoError]:
    """The face, or the reason why it was refused, of each mark that has one; each face once."""
    places: list[tuple[BoxPx, FaceEmbedding | PhotoError]] = [
        (face.detection.box_px, face) for face in photo.faces if face.detection is not None
    ]
    places += [(refused.detection.box_px, refused.error) for refused in photo.refused]
    fitting = sorted(
        (
            (overlap(one.box_px, box_px), row, column)
            for row, one in enumerate(named)
            for column, (box_px, _) in enumerate(places)
            if is_of_one_face(one.box_px, box_px)
        ),
        key=lambda fit: -fit[0],
    )
    rows: set[int] = set()
    columns: set[int] = set()
    assigned: dict[NamedFace, FaceEmbedding | PhotoError] = {}
    for _, row, column in fitting:
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            assigned[named[row]] = places[column][1]
    return assigned


def _has_middle_of(box_px: BoxPx, other_px: BoxPx) -> bool:
    x, y = (other_px[0] + other_px[2]) / 2, (other_px[1] + other_px[3]) / 2
    return box_px[0] < x < box_px[2] and box_px[1] < y < box_px[3]
