"""The blocks of which PNG and GIF files are made, counted before Pillow walks over them one by one.

Each costs Pillow an object, however few bytes it has, and comments of a GIF are put together again and again: a file of
some megabytes could keep it busy for minutes.
"""

from __future__ import annotations

from typing import Final

from lightface.errors import ImageError
from lightface.images.failures import quote

# Editors write some ten blocks besides those of pixels, which have 8 KB and more.
_MOST_PIXEL_BLOCKS: Final = 200_000
_MOST_OTHERS: Final = 10_000

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_OF_PIXELS: Final = (b"IDAT", b"fdAT")
_GIF: Final = (b"GIF87a", b"GIF89a")
_GIF_EXTENSION: Final = 0x21
_GIF_HEADER_BYTES: Final = 13


def check_blocks(data: bytes, *, name: str) -> None:
    """Raise ImageError for a PNG or GIF of more blocks than any picture has; other files pass."""
    if data.startswith(_PNG):
        _check_png(data, name)
    elif data.startswith(_GIF):
        _check_gif(data, name)


def _check_png(data: bytes, name: str) -> None:
    place, pixels, others = len(_PNG), 0, 0
    while place + 8 <= len(data):
        kind = data[place + 4 : place + 8]
        if kind == b"IEND":
            return
        pixels, others = (pixels + 1, others) if kind in _PNG_OF_PIXELS else (pixels, others + 1)
        if pixels > _MOST_PIXEL_BLOCKS or others > _MOST_OTHERS:
            raise _refuse(name)
        place += 12 + int.from_bytes(data[place : place + 4])


def _check_gif(data: bytes, name: str) -> None:
    """Up to the first picture, which is the one that is read."""
    flags = data[10] if len(data) >= _GIF_HEADER_BYTES else 0
    place = _GIF_HEADER_BYTES + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    count = 0
    while place + 2 < len(data) and data[place] == _GIF_EXTENSION:
        place += 2
        while place < len(data) and data[place]:
            place += 1 + data[place]
            count += 1
            if count > _MOST_OTHERS:
                raise _refuse(name)
        place += 1
        count += 1


def _refuse(name: str) -> ImageError:
    return ImageError(f"{quote(name)} has more blocks than any picture; save it again from a photo viewer")
