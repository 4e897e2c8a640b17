"""People of one colour, whom `stand_ins.MeanEmbedder` tells apart."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from stand_ins import paint

RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)
DARK_RED = (150, 20, 20)
GREY = (100, 100, 100)

Colour = tuple[int, int, int]


def paint_two(path: Path, left: Colour, right: Colour) -> Path:
    """A photograph of two people side by side."""
    paint(path, left, width=160)
    image = Image.open(path)
    image.paste(right, (80, 0, 160, 80))
    image.save(path)
    return path
