"""The pixels that the networks look at: a photograph made smaller, its pyramid, and crops of it.

Every pixel shown to a network is the mean of a rectangle of photograph pixels, as in facenet-pytorch, and
is read from one summed-area table: four look-ups, however large the rectangle. So all crops of a photograph
are cut at once, and the largest costs no more than the smallest.

Source: Crow, "Summed-area tables for texture mapping", 1984.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lightface.detection.candidates import Candidates, IndexArray
from lightface.detection.networks import WINDOW_PX
from lightface.faces import ByteArray, FloatArray

SumTable = npt.NDArray[np.int32]  # (H + 1, W + 1, 3): the sum of all pixels above and left


@dataclass(frozen=True, slots=True)
class Level:
    """One size at which one image is searched."""

    image_index: int  # which image of the batch
    scale: float  # pixels of the level for a pixel of the image
    size: tuple[int, int]  # height, width


def limit_side(image_rgb: ByteArray, max_side_px: int | None) -> ByteArray:
    """The image, or where it is longer than `max_side_px`, a reduction to that long side."""
    height, width = image_rgb.shape[:2]
    if max_side_px is None or max(height, width) <= max_side_px:
        return image_rgb
    ratio = max_side_px / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def sum_areas(image_rgb: ByteArray) -> SumTable:
    """The summed-area table of an (H, W, 3) uint8 image.

    Sums of more than 8 megapixels overflow; the difference of two of them, which is all that is ever used,
    comes out right nevertheless.
    """
    return cv2.integral(image_rgb, sdepth=cv2.CV_32S).astype(np.int32, copy=False)


def plan_levels(image_index: int, size: tuple[int, int], *, smallest_face_px: float, factor: float) -> list[Level]:
    """The levels at which P-Net's window covers faces from `smallest_face_px` up to the whole image.

    An image whose shorter side is below `smallest_face_px` has none.
    """
    height, width = size
    levels = []
    scale = WINDOW_PX / smallest_face_px
    while min(height, width) * scale >= WINDOW_PX:
        levels.append(Level(image_index, scale, (int(height * scale + 1), int(width * scale + 1))))
        scale *= factor
    return levels


def render_levels(tables: Sequence[SumTable], levels: Sequence[Level]) -> FloatArray:
    """The pixels of N levels of one size: (N, height, width, 3) float32 RGB, 0..255."""
    return np.stack([_render_level(tables[level.image_index], level.size) for level in levels])


def cut_crops(tables: Sequence[SumTable], candidates: Candidates, *, size_px: int) -> tuple[IndexArray, FloatArray]:
    """What lies within each candidate's box, resized to a square of `size_px`.

    Returns the indices of the K candidates that overlap their image, and (K, size_px, size_px, 3) float32
    RGB, 0..255. A box that reaches over the edge is cut off there and stretched, as in facenet-pytorch.
    """
    # Boxes count pixels from 1, and the last pixel belongs to them.
    bounds = np.trunc(candidates.boxes_px).astype(np.int64)
    sizes = np.array([table.shape[1::-1] for table in tables], np.int64)[candidates.image_index] - 1
    starts = np.maximum(bounds[:, :2], 1) - 1
    ends = np.minimum(bounds[:, 2:], sizes)
    inside = np.flatnonzero((ends > starts).all(axis=1))
    crops = np.empty((len(inside), size_px, size_px, 3), np.float32)
    for image_index in np.unique(candidates.image_index[inside]):
        own = np.flatnonzero(candidates.image_index[inside] == image_index)
        crops[own] = _cut(tables[image_index], starts[inside[own]], ends[inside[own]], size_px)
    return inside, crops


def _render_level(table: SumTable, size: tuple[int, int]) -> FloatArray:
    top, bottom = _edges(np.zeros(1, np.int64), np.array([table.shape[0] - 1]), size[0])
    left, right = _edges(np.zeros(1, np.int64), np.array([table.shape[1] - 1]), size[1])
    # Rows first, then columns: half the look-ups of `_cut`.
    rows = table.take(bottom[0], axis=0) - table.take(top[0], axis=0)
    sums = rows.take(right[0], axis=1) - rows.take(left[0], axis=1)
    return _divide(sums, (bottom - top)[0, :, None] * (right - left))


def _cut(table: SumTable, starts: IndexArray, ends: IndexArray, size_px: int) -> FloatArray:
    left, right = _edges(starts[:, 0], ends[:, 0], size_px)
    top, bottom = _edges(starts[:, 1], ends[:, 1], size_px)
    flat = table.reshape(-1, 3)
    row_length = table.shape[1]

    def look_up(rows: IndexArray, columns: IndexArray) -> SumTable:
        sums: SumTable = flat.take(rows[:, :, None] * row_length + columns[:, None, :], axis=0)
        return sums

    sums = look_up(bottom, right) - look_up(top, right) - look_up(bottom, left) + look_up(top, left)
    return _divide(sums, (bottom - top)[:, :, None] * (right - left)[:, None, :])


def _edges(starts: IndexArray, ends: IndexArray, count: int) -> tuple[IndexArray, IndexArray]:
    """Cut N spans into `count` parts, (N, count) starts and ends; parts that fall on a pixel share it."""
    lengths = (ends - starts)[:, None]
    parts = np.arange(count)
    return starts[:, None] + parts * lengths // count, starts[:, None] - (-(parts + 1) * lengths // count)


def _divide(sums: SumTable, areas: IndexArray) -> FloatArray:
    return sums.astype(np.float32) / areas.astype(np.float32)[..., None]
