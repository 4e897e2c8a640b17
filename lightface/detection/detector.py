"""What every face detector promises, and which of the faces it finds a job takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lightface.errors import FaceNotFoundError, MultipleFacesError
from lightface.records import ByteArray, DetectedFace, FaceSelection


class FaceDetector(Protocol):
    """Finds faces and five landmarks in each.

    Images are (H, W, 3) uint8 RGB of any size. Faces come largest box first, with coordinates in pixels of the image as
    it was given. A box may reach beyond the image where the face does. The left eye and the left corner of the mouth
    come first, left as the face is seen upright. No face is an empty list.
    """

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        """Find the faces of one image."""
        ...

    def detect_batch(
        self, images_rgb: Sequence[ByteArray], *, reductions: Sequence[int] | None = None
    ) -> list[list[DetectedFace]]:
        """Find the faces of several images, which may differ in size; one list an image, in their order.

        Where `reductions` are given, each pixel of an image stands for a square of so many pixels (1, 2, 4 or 8) of its
        photograph. Coordinates, and the sizes of faces that are looked for, are the photograph's.
        """
        ...

    def relocate(self, image_rgb: ByteArray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """The same faces, their landmarks located anew in the whole photograph, of which a reduced one was searched."""
        ...


# Which of a photograph's faces a job takes.


def select_faces(
    faces: Sequence[DetectedFace],
    selection: FaceSelection,
    *,
    image_size: tuple[int, int],
    turns: bool = True,
) -> list[DetectedFace]:
    """Choose among the faces of one photograph of `image_size` (height, width) pixels.

    LARGEST takes the face with the largest box, CENTER the one whose box lies nearest the photograph's
    middle, ALL every face in the order given, REQUIRE_ONE the only face.

    Raises FaceNotFoundError when there is no face to choose from, with the advice that fits a search with or without
    `turns`, and MultipleFacesError when REQUIRE_ONE meets several.
    """
    if not faces:
        raise FaceNotFoundError(f"no face found; {advise_on_missing(turns=turns)}")
    match selection:
        case FaceSelection.ALL:
            return list(faces)
        case FaceSelection.LARGEST:
            return [max(faces, key=_box_area_px)]
        case FaceSelection.CENTER:
            height, width = image_size
            return [min(faces, key=lambda face: _squared_distance_px(face, x=width / 2, y=height / 2))]
        case FaceSelection.REQUIRE_ONE:
            if len(faces) > 1:
                raise MultipleFacesError(
                    f"{len(faces)} faces found where one is required; crop the photograph, or choose with `selection`"
                )
            return list(faces)


def advise_on_missing(*, turns: bool) -> str:
    """What to do where no face is found, with or without the search in other `turns`."""
    advice = "use a larger or clearer photograph, or lower `min_face_size_px`"
    return advice if turns else f"{advice}; with `turns` off, faces on their side or head are not looked for"


def _box_area_px(face: DetectedFace) -> float:
    x_min, y_min, x_max, y_max = face.box_px
    return (x_max - x_min) * (y_max - y_min)


def _squared_distance_px(face: DetectedFace, *, x: float, y: float) -> float:
    x_min, y_min, x_max, y_max = face.box_px
    return ((x_min + x_max) / 2 - x) ** 2 + ((y_min + y_max) / 2 - y) ** 2
