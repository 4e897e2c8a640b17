"""What only a JPEG can do: be decoded at a fraction of its size, and ask for work without end."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Literal

from PIL import Image, UnidentifiedImageError

from lightface.errors import ImageError
from lightface.images.failures import DECODE_ERRORS, quiet_pillow, quote

Reduction = Literal[1, 2, 4, 8]  # each pixel is the mean of a square of so many of the file

# Of a progressive JPEG; cameras and editors make about ten. Each costs a pass over all pixels, be it of a few bytes.
_MAX_PASSES = 100
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither a byte of pixels nor a place to restart within them


def choose_reduction(data: bytes, enough_px: int) -> Reduction:
    """The most that leaves the longer side of a JPEG at `enough_px`; 1 for whatever else the file is."""
    try:
        with quiet_pillow():
            longer_px = max(Image.open(BytesIO(data), formats=("JPEG",)).size)
    except (UnidentifiedImageError, Image.DecompressionBombError, *DECODE_ERRORS):
        return 1  # not a JPEG, or one that decoding will complain of
    reductions: tuple[Reduction, ...] = (8, 4, 2)
    return next((reduction for reduction in reductions if longer_px >= enough_px * reduction), 1)


def decode_reduced(image: Image.Image, reduction: Reduction) -> Image.Image:
    """What is decoded of a JPEG that was opened: of each of its blocks, only the low frequencies."""
    width, height = (side // reduction for side in image.size)
    image.draft(None, (width, height))
    return image.crop((0, 0, width, height))  # less the last row or column that is no full square


def check_passes(data: bytes, *, name: str) -> None:
    """Raise ImageError for a progressive JPEG that would be decoded over and over."""
    passes, place = 0, 2
    while (marker := _MARKER.search(data, place)) and marker[0] != b"\xff\xd9":  # the end of the picture
        passes += marker[0] == b"\xff\xda"
        if passes > _MAX_PASSES:
            raise ImageError(f"{quote(name)} has more than {_MAX_PASSES} passes; save it again from a photo viewer")
        # A segment begins with its marker and its length.
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
