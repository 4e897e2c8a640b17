"""Sheets of one size, on which the levels of all photographs of a batch are laid out for P-Net.

One shape for every pass: a photograph of a new size costs no preparation, and photographs of different sizes share
their passes. A level that is larger than a sheet is cut into pieces that overlap by what a window needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightface.detection.networks import STRIDE_PX, WINDOW_PX
from lightface.faces import ByteArray

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
