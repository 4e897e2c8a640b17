"""What every face detector promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lightface.faces import ByteArray, DetectedFace


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
