"""The pixels that the networks look at: a photograph made smaller, its pyramid, crops of it, and the sheets of a batch.

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
from lightface.detection.networks import STRIDE_PX, WINDOW_PX
from lightface.records import ByteArray

# The largest face that is looked for, as a share of the image's shorter side: one that fills the image and leaves it.
_LARGEST_FACE_SHARE = 1.5
# The colour outside the image, which is zero to the networks. Measured with O-Net's score of one view alone, on
# portraits cut to 5 % within the face's box: 99 % were found with grey, 94 % with black, 95 % with the picture
# mirrored.
_GREY = (128, 128, 128)
_BORDER_PX = 6  # half of P-Net's window, so that it sees faces that lie half outside; even, as its steps are
_COARSE_PX = 40  # levels whose shorter side is not above this have the border: for faces of 30 % of it


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

    def turned(self, quarters: int, *, step: float = 1) -> Halves:
        """The same turned counter-clockwise by `quarters` of a full turn, from the half that `step` asks for on."""
        half = self.choose(step)
        # Halved anew, as the halves leave out what is odd at the end, which has become the beginning.
        image_rgb = np.ascontiguousarray(np.rot90(self.images_rgb[half], quarters))
        return halve(image_rgb, reduction=1 << (self.first + half))

    def choose(self, step: float) -> int:
        """The index of the last half with no fewer pixels than one for `step` of the photograph's, if there is one."""
        exact = math.floor(math.log2(max(step, 1.0))) - self.first
        return min(max(exact, 0), len(self.images_rgb) - 1)


@dataclass(frozen=True, slots=True)
class Level:
    """One size at which one image is searched."""

    image_index: int  # which image of the batch
    scale: float  # pixels of the level for a pixel of the image
    size: tuple[int, int]  # height, width, of the image at this scale
    border_px: int = 0  # black around it, in pixels of the level

    @property
    def drawn_size(self) -> tuple[int, int]:
        """Height and width with the border."""
        height, width = self.size
        return height + 2 * self.border_px, width + 2 * self.border_px


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
    """The levels at which P-Net's window covers faces from `smallest_face_px` to larger than the whole image.

    Coarse levels have a border, so that a face that leaves the image or fills it is seen whole. An image whose shorter
    side is below `smallest_face_px` has no level.
    """
    height, width = size
    levels: list[Level] = []
    scale = WINDOW_PX / smallest_face_px
    if min(height, width) * scale < WINDOW_PX:
        return levels
    while min(height, width) * scale * _LARGEST_FACE_SHARE >= WINDOW_PX:
        drawn = (int(height * scale + 1), int(width * scale + 1))
        border_px = _BORDER_PX if min(drawn) <= _COARSE_PX else 0
        levels.append(Level(image_index, scale, drawn, border_px))
        scale *= factor
    return levels


def render_level(halves: Halves, level: Level) -> ByteArray:
    """The pixels of a level with its border, (height, width, 3) uint8 RGB."""
    source = halves.images_rgb[halves.choose(1 / level.scale)]
    pixels = cv2.resize(source, level.size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    if not level.border_px:
        return pixels
    border = level.border_px
    return np.pad(pixels, ((border, border), (border, border), (0, 0)), constant_values=_GREY[0])


def cut_crops(photos: Sequence[Halves], candidates: Candidates, *, size_px: int) -> tuple[IndexArray, ByteArray]:
    """What lies within each candidate's box, resized to a square of `size_px`; grey outside the image.

    Returns the indices of the K candidates that overlap their image, and (K, size_px, size_px, 3) uint8 RGB.
    """
    # Boxes count pixels from 1, and the last pixel belongs to them.
    bounds = np.trunc(candidates.boxes_px).astype(np.int64)
    sizes = np.array([halves.size[::-1] for halves in photos], np.int64).reshape(-1, 2)[candidates.image_index]
    starts, ends = bounds[:, :2] - 1, bounds[:, 2:]
    inside = np.flatnonzero((np.minimum(ends, sizes) > np.maximum(starts, 0)).all(axis=1) & (ends > starts).all(axis=1))
    crops = np.empty((len(inside), size_px, size_px, 3), np.uint8)
    steps = (ends - starts)[inside] / size_px  # pixels of the photograph for one of the crop
    images = candidates.image_index[inside]
    chosen = [photos[image].choose(step) for image, step in zip(images, steps.min(axis=1), strict=True)]
    orders = [photos[image].first + half for image, half in zip(images, chosen, strict=True)]
    shrink = 2.0 ** np.array(orders).reshape(-1, 1)
    # A pixel more on each side than the box covers, for the interpolation at its edge.
    corners = np.maximum(np.floor(starts[inside] / shrink).astype(np.int64) - 1, 0)
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
        cv2.warpAffine(
            source, matrix, (size_px, size_px), dst=crop, flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=_GREY
        )
    return inside, crops


# Sheets of one size, on which the levels of all photographs of a batch are laid out for P-Net.
#
# One shape for every pass: a photograph of a new size costs no preparation, and photographs of different sizes share
# their passes. A level that is larger than a sheet is cut into pieces that overlap by what a window needs.


SHEET_PX = 256  # large enough to lose little to overlaps, small enough for a small photograph to fill two or three

_STEP_PX = SHEET_PX - (WINDOW_PX - STRIDE_PX)  # even, as windows move by 2


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a level, and where it lies. Rows and columns of windows are counted in steps of `STRIDE_PX`."""

    level_index: int
    corner_px: tuple[int, int]  # row, column of the level
    size_px: tuple[int, int]  # height, width
    sheet_index: int
    place_px: tuple[int, int]  # row, column of the sheet; even

    @property
    def on_level(self) -> tuple[slice, slice]:
        """Its pixels on the level."""
        return _span(self.corner_px[0], self.size_px[0]), _span(self.corner_px[1], self.size_px[1])

    @property
    def on_sheet(self) -> tuple[slice, slice]:
        """Its pixels on the sheet."""
        return _span(self.place_px[0], self.size_px[0]), _span(self.place_px[1], self.size_px[1])

    @property
    def windows_on_sheet(self) -> tuple[slice, slice]:
        """The windows on the sheet that show this piece and nothing else."""
        rows, columns = ((side - WINDOW_PX) // STRIDE_PX + 1 for side in self.size_px)
        return _span(self.place_px[0] // STRIDE_PX, rows), _span(self.place_px[1] // STRIDE_PX, columns)


@dataclass(slots=True)
class _Shelf:
    """A row of pieces on a sheet."""

    sheet_index: int
    top_px: int
    height_px: int
    filled_px: int = 0  # from the left

    def takes(self, size_px: tuple[int, int]) -> bool:
        return size_px[0] <= self.height_px and self.filled_px + size_px[1] <= SHEET_PX


def lay_out(sizes: Sequence[tuple[int, int]]) -> list[Piece]:
    """Cut levels of `sizes` (height, width) into pieces, and give each a place; the highest come first."""
    parts = [
        (index, (top, left), (min(SHEET_PX, height - top), min(SHEET_PX, width - left)))
        for index, (height, width) in enumerate(sizes)
        for top in range(0, height - WINDOW_PX + 1, _STEP_PX)
        for left in range(0, width - WINDOW_PX + 1, _STEP_PX)
    ]
    shelves: list[_Shelf] = []
    ends_px: list[int] = []  # of the last shelf of each sheet
    pieces = []
    for index, corner_px, size_px in sorted(parts, key=lambda part: part[2], reverse=True):
        shelf = next((shelf for shelf in shelves if shelf.takes(size_px)), None)
        if shelf is None:
            shelf = _add_shelf(ends_px, size_px[0])
            shelves.append(shelf)
        pieces.append(Piece(index, corner_px, size_px, shelf.sheet_index, (shelf.top_px, shelf.filled_px)))
        shelf.filled_px += _round_up(size_px[1])
    return pieces


def draw_sheets(levels: Sequence[ByteArray], pieces: Sequence[Piece]) -> ByteArray:
    """The (N, SHEET_PX, SHEET_PX, 3) uint8 sheets with all pieces in their places."""
    count = 1 + max((piece.sheet_index for piece in pieces), default=-1)
    sheets = np.zeros((count, SHEET_PX, SHEET_PX, 3), np.uint8)
    for piece in pieces:
        sheets[piece.sheet_index][piece.on_sheet] = levels[piece.level_index][piece.on_level]
    return sheets


def _add_shelf(ends_px: list[int], height_px: int) -> _Shelf:
    sheet_index = next((index for index, end in enumerate(ends_px) if end + height_px <= SHEET_PX), len(ends_px))
    if sheet_index == len(ends_px):
        ends_px.append(0)
    top_px = ends_px[sheet_index]
    ends_px[sheet_index] += _round_up(height_px)
    return _Shelf(sheet_index, top_px, height_px)


def _round_up(side_px: int) -> int:
    return side_px + side_px % STRIDE_PX


def _span(start: int, length: int) -> slice:
    return slice(start, start + length)
