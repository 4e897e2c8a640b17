"""Boxes and names on photographs, and sheets of aligned crops.

Text is drawn with the fonts inside OpenCV, which hold Latin, Greek, Cyrillic, Chinese, Japanese and Korean, so
that a name looks the same on every machine; the font inside Pillow has not even an é.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import cv2
import numpy as np

from lightface.alignment import similarity_to_frame
from lightface.records import AlignedFace, ByteArray, DetectedFace, FloatArray
from lightface.words import visible

_Colour = tuple[int, int, int]  # RGB, 0..255

_PAPER: _Colour = (24, 26, 30)
_INK: _Colour = (235, 238, 242)
_FAINT_INK: _Colour = (150, 158, 168)
_ACCENT: _Colour = (255, 196, 0)
_EYES: _Colour = (64, 200, 255)
_MOUTH: _Colour = (255, 112, 140)
_LANDMARKS = (_EYES, _EYES, _INK, _MOUTH, _MOUTH)  # in the order of `DetectedFace.landmarks_px`

_GAP_PX = 12
_TEXT_PX = 15

# OpenCV sets every script from left to right.
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+(?: +[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+)*"
)


def draw_faces(
    image_rgb: ByteArray,
    faces: Sequence[DetectedFace],
    labels: Sequence[str],
    *,
    refused: Sequence[tuple[DetectedFace, str]] = (),
) -> ByteArray:
    """A copy of the (H, W, 3) uint8 RGB photograph with a box, five landmarks and a label for each face.

    There are as many labels as faces; an empty one is left out. Faces that were `refused` are drawn in grey, with their
    labels, which say why.
    """
    canvas = image_rgb.copy()
    labelled = [(face, label, _FAINT_INK) for face, label in refused]
    labelled += [(face, label, _ACCENT) for face, label in zip(faces, labels, strict=True)]
    # Boxes first, so that no box crosses out a neighbour's name.
    for face, _, colour in labelled:
        _draw_box(canvas, face, colour)
    for face, label, colour in labelled:
        _draw_label(canvas, face, label, colour)
    return canvas


def contact_sheet(
    crops: Sequence[AlignedFace], captions: Sequence[str], *, columns: int = 6, frame_lines: bool = True
) -> ByteArray:
    """Aligned crops side by side, each over its caption, (H, W, 3) uint8 RGB.

    With `frame_lines`, lines mark the rows on which the frame wants eyes and mouth, and dots the landmarks that
    the detector found. There are as many captions as crops.
    """
    cells = [
        _draw_cell(crop, caption, side_px=192, frame_lines=frame_lines)
        for crop, caption in zip(crops, captions, strict=True)
    ]
    columns = max(1, min(columns, len(cells)))
    rows = [_join_row(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return _join_column(rows)


def side_by_side(
    photos_rgb: tuple[ByteArray, ByteArray],
    crops: tuple[AlignedFace, AlignedFace],
    captions: tuple[str, str],
    *,
    headline: str,
) -> ByteArray:
    """Two photographs, the face that was taken from each, and what came of comparing them, (H, W, 3) uint8 RGB.

    `headline` stands on top, a caption under each photograph's crop.
    """
    side_px = 384
    halves = []
    for photo_rgb, crop, caption in zip(photos_rgb, crops, captions, strict=True):
        faces = [crop.detection] if crop.detection is not None else []
        photo = _fit_into(draw_faces(photo_rgb, faces, [""] * len(faces)), side_px)
        halves.append(_join_column([photo, _draw_cell(crop, caption, side_px=side_px, frame_lines=True)]))
    body = _join_row(halves)
    banner = _blank(2 * _TEXT_PX + _GAP_PX, body.shape[1])
    _write(banner, _shorten(headline, 22, banner.shape[1] - 2 * _GAP_PX), (_GAP_PX, 34), 22, _ACCENT)
    return np.vstack([banner, body])


def _draw_box(canvas: ByteArray, face: DetectedFace, box_colour: _Colour) -> None:
    width_px = _line_width_px(canvas)
    x_min, y_min, x_max, y_max = (round(edge) for edge in face.box_px)
    for colour, extra_px in ((_PAPER, 2), (box_colour, 0)):  # a dark rim shows on bright ground
        cv2.rectangle(canvas, (x_min, y_min), (x_max, y_max), colour, width_px + extra_px, cv2.LINE_AA)
    radius_px = max(1, round(face.size_px / 50))
    for point, colour in zip(face.landmarks_px, _LANDMARKS, strict=True):
        _draw_dot(canvas, point, radius_px, colour)


def _draw_label(canvas: ByteArray, face: DetectedFace, label: str, colour: _Colour) -> None:
    if not label:
        return
    height, width = canvas.shape[:2]
    text_px = max(11, round(max(height, width) / 60))
    text = _shorten(label, text_px, width - text_px)
    tag_width, tag_height = _measure_px(text, text_px) + text_px // 2, round(text_px * 1.4)
    x_min, y_min = round(face.box_px[0]), round(face.box_px[1])
    rim_px = _line_width_px(canvas) // 2 + 1
    left = max(0, min(x_min - rim_px, width - tag_width))
    # On top of the box; where the photograph ends there, within it.
    top = y_min - tag_height if y_min >= tag_height else max(0, y_min)
    cv2.rectangle(canvas, (left, top), (left + tag_width, top + tag_height), colour, cv2.FILLED)
    _write(canvas, text, (left + text_px // 4, top + round(text_px * 1.05)), text_px, _PAPER)


def _draw_cell(crop: AlignedFace, caption: str, *, side_px: int, frame_lines: bool) -> ByteArray:
    scale = side_px / crop.frame.size_px
    picture = _resize(crop.pixels, side_px, side_px)
    if frame_lines:
        for row_px, colour in ((crop.frame.eye_row_px, _EYES), (crop.frame.mouth_row_px, _MOUTH)):
            row = round((row_px + 0.5) * scale - 0.5)
            picture[row] = picture[row] // 2 + np.array(colour, np.uint8) // 2
            _write(picture, f"{row_px:.0f}", (2, row - 2), 10, colour)
        if crop.detection is not None:
            matrix = similarity_to_frame(crop.detection.landmarks_px, crop.frame)
            points = crop.detection.landmarks_px @ matrix[:, :2].T + matrix[:, 2]
            for point, colour in zip((points + 0.5) * scale - 0.5, _LANDMARKS, strict=True):
                _draw_dot(picture, point, max(2, side_px // 80), colour)
    strip = _blank(_TEXT_PX + _GAP_PX, side_px)
    _write(strip, _shorten(caption, _TEXT_PX, side_px), (0, _TEXT_PX + 3), _TEXT_PX, _FAINT_INK)
    return np.vstack([picture, strip])


def _draw_dot(canvas: ByteArray, point: FloatArray, radius_px: int, colour: _Colour) -> None:
    center = [round(float(value) * 16) for value in point]  # in sixteenths of a pixel
    for fill, extra_px in ((_PAPER, 1), (colour, 0)):
        radius = (radius_px + extra_px) * 16
        cv2.circle(canvas, center, radius, fill, cv2.FILLED, cv2.LINE_AA, shift=4)


def _line_width_px(canvas: ByteArray) -> int:
    width_px: int = round(max(canvas.shape[:2]) / 400)
    return max(1, width_px)


def _write(canvas: ByteArray, text: str, origin: tuple[int, int], size_px: int, colour: _Colour) -> None:
    """Write from `origin`, the left end of the baseline."""
    cv2.putText(canvas, text, origin, colour, cv2.FontFace("sans"), size_px, 500)


def _measure_px(text: str, size_px: int) -> int:
    box: Sequence[int] = cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), size_px, 500)
    return box[2]


def _shorten(text: str, size_px: int, width_px: int) -> str:
    """One line of `text` as it is to be drawn, no wider than `width_px`: what is too long loses its middle."""
    line = shown = visible(" ".join(text.split()))  # OpenCV crashes on what is no character
    kept = len(line)
    while kept and _measure_px(shown, size_px) > width_px:
        kept -= 1
        shown = f"{line[: (kept + 1) // 2]}…{line[len(line) - kept // 2 :]}"
    return _RIGHT_TO_LEFT.sub(lambda run: run[0][::-1], shown)


def _join_row(cells: Sequence[ByteArray]) -> ByteArray:
    """Cells of one height from left to right, with a gap around each."""
    gap = _blank(cells[0].shape[0], _GAP_PX)
    return np.hstack([gap, *(part for cell in cells for part in (cell, gap))])


def _join_column(rows: Sequence[ByteArray]) -> ByteArray:
    """Rows from top to bottom on paper as wide as the widest, with a gap around each."""
    width = max((row.shape[1] for row in rows), default=_GAP_PX)
    gap = _blank(_GAP_PX, width)
    padded = [np.hstack([row, _blank(row.shape[0], width - row.shape[1])]) for row in rows]
    return np.vstack([gap, *(part for row in padded for part in (row, gap))])


def _fit_into(image_rgb: ByteArray, side_px: int) -> ByteArray:
    """The picture, enlarged or reduced to touch the edges of a square sheet of paper."""
    height, width = image_rgb.shape[:2]
    scale = side_px / max(height, width)
    small = _resize(image_rgb, max(1, round(height * scale)), max(1, round(width * scale)))
    sheet = _blank(side_px, side_px)
    top, left = (side_px - small.shape[0]) // 2, (side_px - small.shape[1]) // 2
    sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
    return sheet


def _resize(image_rgb: ByteArray, height: int, width: int) -> ByteArray:
    how = cv2.INTER_AREA if height < image_rgb.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(image_rgb, (width, height), interpolation=how).astype(np.uint8, copy=False)


def _blank(height: int, width: int) -> ByteArray:
    return np.full((height, width, 3), _PAPER, np.uint8)
