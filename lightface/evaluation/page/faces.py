"""Faces cut out of their photographs by a stored box: nothing is detected again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from lightface.errors import PhotoError
from lightface.evaluation.page.crops import to_data_uri
from lightface.faces import BoxPx, ByteArray
from lightface.images import load_photo
from lightface.remote import RemotePath

_SIZE_PX = 140
_SURROUNDINGS = 1.3  # side of the picture in longer sides of the box: hair and chin help to recognise somebody


@dataclass(frozen=True, slots=True)
class PlacedFace:
    """Where a face is to be found."""

    path: Path
    box_px: BoxPx | None  # None: the picture is the face
    sha256: str | None = None  # of the file at the time; None: whatever lies there is taken


def show_faces(faces: Iterable[PlacedFace]) -> dict[PlacedFace, str]:
    """Each face as text that an `img` element shows. Left out where the photograph is gone or was changed."""
    by_path: dict[Path, list[PlacedFace]] = {}
    for face in dict.fromkeys(faces):
        by_path.setdefault(face.path, []).append(face)
    shown: dict[PlacedFace, str] = {}
    for path, wanted in by_path.items():
        try:
            photo = load_photo(path)
        except PhotoError:
            continue
        for face in wanted:
            if face.sha256 in (None, photo.sha256):
                shown[face] = to_data_uri(_cut(photo.image_rgb, face.box_px))
    return shown


def picture(face: PlacedFace, shown: dict[PlacedFace, str], text: str) -> str:
    """The `img` element of a face, or a word where there is none; `text` is for those who cannot see it."""
    if face not in shown:
        is_url = isinstance(face.path, RemotePath) and not face.path.is_fetched
        return f'<span class="gone">{"not fetched" if is_url else "gone"}</span>'
    return f'<img alt="{escape(text)}" title="{escape(str(face.path))}" src="{shown[face]}">'


def _cut(image_rgb: ByteArray, box_px: BoxPx | None) -> ByteArray:
    """The square around a box, (140, 140, 3), black where the photograph ends."""
    height, width = image_rgb.shape[:2]
    x_min, y_min, x_max, y_max = box_px or (0.0, 0.0, float(width), float(height))
    side = max(x_max - x_min, y_max - y_min, 1.0) * (_SURROUNDINGS if box_px else 1)
    left, top = round((x_min + x_max - side) / 2), round((y_min + y_max - side) / 2)
    square = np.zeros((round(side), round(side), 3), np.uint8)
    inside = image_rgb[max(top, 0) : max(top + len(square), 0), max(left, 0) : max(left + len(square), 0)]
    square[max(-top, 0) :, max(-left, 0) :][: len(inside), : inside.shape[1]] = inside
    how = cv2.INTER_AREA if len(square) > _SIZE_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (_SIZE_PX, _SIZE_PX), interpolation=how), np.uint8)
