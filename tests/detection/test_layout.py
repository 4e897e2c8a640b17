"""Levels of all sizes on sheets of one size: every window once, nothing on top of another."""

from __future__ import annotations

import numpy as np
import pytest

from lightface.detection.pyramid import SHEET_PX, Piece, draw_sheets, lay_out

Sizes = list[tuple[int, int]]

MANY: Sizes = [(700, 901), (256, 256), (257, 13), (181, 136), (64, 48), (46, 33), (33, 25), (12, 12), (12, 500)]


def windows_on_level(piece: Piece) -> list[tuple[int, int, int]]:
    rows, columns = piece.windows_on_sheet
    row, column = (corner // 2 for corner in piece.corner_px)
    return [
        (piece.level_index, row + y, column + x)
        for y in range(rows.stop - rows.start)
        for x in range(columns.stop - columns.start)
    ]


@pytest.mark.parametrize("sizes", [MANY, MANY[::-1], MANY[:1], [(12, 12)]])
def test_every_window_is_there_once(sizes: Sizes) -> None:
    found = [window for piece in lay_out(sizes) for window in windows_on_level(piece)]
    expected = [
        (index, y, x)
        for index, (height, width) in enumerate(sizes)
        for y in range((height - 12) // 2 + 1)
        for x in range((width - 12) // 2 + 1)
    ]
    assert sorted(found) == expected


def test_pieces_lie_apart_and_show_their_level() -> None:
    random = np.random.default_rng(0)
    levels = [random.integers(1, 256, (*size, 3), np.uint8) for size in MANY]
    pieces = lay_out(MANY)
    sheets = draw_sheets(levels, pieces)
    taken = np.zeros(sheets.shape[:3], int)
    for piece in pieces:
        taken[piece.sheet_index][piece.on_sheet] += 1
        assert piece.place_px[0] % 2 == piece.place_px[1] % 2 == 0
        shown = sheets[piece.sheet_index][piece.on_sheet]
        assert (shown == levels[piece.level_index][piece.on_level]).all()
    assert taken.max() == 1
    assert (sheets[taken == 0] == 0).all()


def test_little_is_left_empty() -> None:
    sizes = [(int(480 * 0.709**n), int(640 * 0.709**n)) for n in range(10)] * 4
    count = 1 + max(piece.sheet_index for piece in lay_out(sizes))
    assert sum(height * width for height, width in sizes) > 0.7 * count * SHEET_PX**2


def test_nothing_to_lay_out() -> None:
    assert lay_out([]) == []
    assert draw_sheets([], []).shape == (0, SHEET_PX, SHEET_PX, 3)
