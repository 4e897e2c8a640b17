"""The pixels that the networks look at: a photograph made smaller, its pyramid, and crops of it.

A photograph is halved again and again, each pixel the mean of four. A level or a crop is drawn from the half that has
one to two pixels for each of its own, so that no pixel of the photograph is left out, and the largest crop costs no
more than the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lightface.detection.candidates import Candidates, IndexArray
from lightface.detection.networks import WINDOW_PX
from lightface.faces import ByteArray


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """A photograph and its halves, the largest first; or, of one that was reduced when it was decoded, the smaller."""

    images_rgb: Sequence[ByteArray]  # the nth has a pixel for a square of 2**(first + n) pixels of the photograph
    first: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole photograph."""
        height, width = self.images_rgb[0].shape[:2]
        return height << self.first, width << self.first

    def choose(self, step: float) -> int:
        """The index of the last half with no fewer pixels than one for `step` of the photograph's, if there is one."""
        exact = math.floor(math.log2(max(step, 1.0))) - self.first
        return min(max(exact, 0), len(self.images_rgb) - 1)


@dataclass(frozen=True, slots=True)
class Level:
    """One size at which one image is searched."""

    image_index: int  # which image of the batch
    scale: float  # pixels of the level for a pixel of the image
    size: tuple[int, int]  # height, width


def halve(image_rgb: ByteArray, *, reduction: int = 1) -> Halves:
    """An (H, W, 3) uint8 image and all its halves that P-Net's window fits into.

    Each pixel of the image stands for a square of `reduction` pixels of the photograph, a power of two. An odd row or
    column at the end is left out, so that a pixel of the nth half is a square of 2**n pixels.
    """
    halves = [image_rgb]
    while min(halves[-1].shape[:2]) >= 2 * WINDOW_PX:
        height, width = (side // 2 for side in halves[-1].shape[:2])
        even = halves[-1][: 2 * height, : 2 * width]
        halves.append(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False))
    return Halves(halves, reduction.bit_length() - 1)


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


def render_level(halves: Halves, level: Level) -> ByteArray:
    """The pixels of a level, (height, width, 3) uint8 RGB."""
    source = halves.images_rgb[halves.choose(1 / level.scale)]
    return cv2.resize(source, level.size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def cut_crops(photos: Sequence[Halves], candidates: Candidates, *, size_px: int) -> tuple[IndexArray, ByteArray]:
    """What lies within each candidate's box, resized to a square of `size_px`.

    Returns the indices of the K candidates that overlap their image, and (K, size_px, size_px, 3) uint8 RGB. A box
    that reaches over the edge is cut off there and stretched, as in facenet-pytorch.
    """
    # Boxes count pixels from 1, and the last pixel belongs to them.
    bounds = np.trunc(candidates.boxes_px).astype(np.int64)
    sizes = np.array([halves.size[::-1] for halves in photos], np.int64)[candidates.image_index]
    starts = np.maximum(bounds[:, :2], 1) - 1
    ends = np.minimum(bounds[:, 2:], sizes)
    inside = np.flatnonzero((ends > starts).all(axis=1))
    crops = np.empty((len(inside), size_px, size_px, 3), np.uint8)
    steps = (ends - starts)[inside] / size_px  # pixels of the photograph for one of the crop
    images = candidates.image_index[inside]
    chosen = [photos[image].choose(step) for image, step in zip(images, steps.min(axis=1), strict=True)]
    orders = [photos[image].first + half for image, half in zip(images, chosen, strict=True)]
    shrink = 2.0 ** np.array(orders).reshape(-1, 1)
    corners = np.floor(starts[inside] / shrink).astype(np.int64)
    stops = np.ceil(ends[inside] / shrink).astype(np.int64) + 1
    # From the middle of the crop's first pixel to that of its source, counted from the corner.
    shifts = (starts[inside] + steps / 2) / shrink - 0.5 - corners
    matrices = np.zeros((len(inside), 2, 3))
    matrices[:, (0, 1), (0, 1)] = steps / shrink
    matrices[:, :, 2] = shifts
    for crop, image, half, (left, top), (right, bottom), matrix in zip(
        crops, images, chosen, corners, stops, matrices, strict=True
    ):
        # A part of the half, because warpAffine takes no side of more than 32,767 px.
        source = photos[image].images_rgb[half][top:bottom, left:right]
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(source, matrix, (size_px, size_px), dst=crop, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return inside, crops
