"""What only a JPEG can do: be decoded at a fraction of its size, ask for work without end, and lack its end.

Markers are followed as libjpeg follows them (ITU-T T.81, annex B), for it is its work that is counted.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal

import numpy as np
from PIL import Image

from lightface.errors import ImageError
from lightface.images.failures import quote
from lightface.records import ByteArray

Reduction = Literal[1, 2, 4, 8]  # each pixel is the mean of a square of so many of the file

# A pass goes over all pixels, even if it has only a few bytes. It takes some 0.1 to 0.6 ns for each pixel, and at least
# 3 us (on an AMD EPYC). Cameras and editors make about ten passes.
_FREE_PASSES: Final = 100
_MOST_WORK: Final = 6_000_000_000  # passes times pixels: seconds. 500 passes over a photograph from a telephone
_LEAST_PIXELS: Final = 10_000  # that a pass costs
# Each segment costs Pillow an object, or libjpeg a table. Files that hold a depth map or a film have thousands.
_MOST_SEGMENTS: Final = 100_000
# One EXIF segment is usual. Pillow joins them, and copies all of them again for each.
_MOST_EXIF: Final = 100

_START: Final = b"\xff\xd8\xff"
_END: Final = b"\xff\xd9"
_FLAT_PX: Final = (32, 2)  # columns and rows at the end, also of a picture decoded at an eighth
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither a byte of pixels nor a place to restart in them
# These markers, among those that `_MARKER` finds, have no length. Only 0x01 and 0xD8 mean something. libjpeg passes
# over the others where it looks for a place to restart, and gives up elsewhere.
_WITHOUT_LENGTH: Final = frozenset({*range(0x01, 0xC0), 0xD8})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, of whichever process
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_START_OF_SCAN: Final = 0xDA

_NOISE: Final = random.Random(0).randbytes(4096).replace(b"\xff", b"\x5a")
_LAST_BLOCKS_PX: Final = 10  # of a picture at half its size: a block of 16 pixels, and what is blended beyond it


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What stands before the pixels."""

    width: int
    height: int
    components: int
    is_progressive: bool
    scan: int  # where the first one begins in the file

    @property
    def longer_px(self) -> int:
        return max(self.width, self.height)


def is_jpeg(data: bytes) -> bool:
    """Whether that is how a JPEG begins."""
    return data.startswith(_START)


def read_header(data: bytes, *, name: str) -> JpegHeader | None:
    """The header of a JPEG; None where the data is no JPEG, or its header is not whole.

    The beginning of the file is enough. Raises ImageError for a header of segments without end.
    """
    if not is_jpeg(data):
        return None
    frame: tuple[int, bytes] | None = None
    exif = 0
    for number, (marker, start, body) in enumerate(_segments(data, 2)):
        if number > _MOST_SEGMENTS:
            raise _refuse(name, f"more than {_MOST_SEGMENTS:,} segments")
        exif += body.startswith(b"Exif\0\0")
        if exif > _MOST_EXIF:
            raise _refuse(name, f"more than {_MOST_EXIF} segments of EXIF")
        if marker in _FRAMES and frame is None and len(body) >= 6:
            frame = marker, body
        if marker == _START_OF_SCAN and frame is not None:
            marker, body = frame
            height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
            return JpegHeader(width, height, body[5], marker in _PROGRESSIVE, start)
    return None


def check_work(data: bytes, header: JpegHeader, *, name: str) -> None:
    """Raise ImageError for a JPEG that would be decoded over and over."""
    if not header.is_progressive and data[header.scan + 4 : header.scan + 5] == bytes([header.components]):
        return  # all is in one scan: libjpeg reads no other
    pixels = max(header.width * header.height, _LEAST_PIXELS)
    most = max(_FREE_PASSES, _MOST_WORK // pixels)
    passes = 0
    for number, (marker, _, _) in enumerate(_segments(data, header.scan)):
        passes += marker == _START_OF_SCAN
        if passes > most:
            raise _refuse(name, f"more than {most:,} passes")
        if number > _MOST_SEGMENTS + 4 * most:
            raise _refuse(name, "segments without end")


def choose_reduction(data: bytes, enough_px: int) -> Reduction:
    """The most that leaves the longer side of a JPEG at `enough_px`; 1 for whatever else the file is."""
    try:
        header = read_header(data, name="")
    except ImageError:
        return 1  # decoding will complain of it
    reductions: tuple[Reduction, ...] = (8, 4, 2)
    longer_px = 0 if header is None else header.longer_px
    return next((reduction for reduction in reductions if longer_px >= enough_px * reduction), 1)


def decode_reduced(image: Image.Image, reduction: Reduction) -> Image.Image:
    """What is decoded of a JPEG that was opened: of each of its blocks, only the low frequencies."""
    width, height = (side // reduction for side in image.size)
    image.draft(None, (width, height))
    return image.crop((0, 0, width, height))  # less the last row or column that is no full square


def has_end(data: bytes, header: JpegHeader) -> bool:
    """Whether the mark of the end comes after the pixels; within them, these two bytes cannot be."""
    return data.rfind(_END, header.scan) >= 0


def lacks_passes(data: bytes, header: JpegHeader) -> bool:
    """Whether a progressive JPEG never came down to the last bit of each coefficient: it was cut, and given an end.

    Where it was cut within its last pass, only the lower rows lack their last bit, and nothing is noticed.
    """
    return header.is_progressive and not _has_all_passes(data, header)


def lacks_pixels(data: bytes, header: JpegHeader) -> bool:
    """Whether a JPEG without an end lacks more than the mark of the end and the last block of pixels.

    The decoder makes grey of what is missing, and takes whatever follows for pixels. So where all pixels are there, it
    makes no difference what is appended. Raises what decoders raise.
    """
    if lacks_passes(data, header):
        return True
    data = _without_rest(data)
    grey, noisy = (_decode_half(data + tail + _END) for tail in (b"", _NOISE))
    rows, columns = np.nonzero((grey != noisy).any(axis=2))
    if not len(rows):
        return False
    height, width = grey.shape[:2]
    return bool(rows.min() < height - _LAST_BLOCKS_PX or columns.min() < width - _LAST_BLOCKS_PX)


def ends_flat(image: Image.Image) -> bool:
    """Whether a decoded JPEG ends in one colour, as all do of which the decoder had no pixels for the last rows."""
    width, height = image.size
    end = np.asarray(image.crop((max(0, width - _FLAT_PX[0]), max(0, height - _FLAT_PX[1]), width, height)))
    return bool((end == end[-1, -1]).all())


def lacks_pixels_before_end(data: bytes) -> bool:
    """The same for a JPEG with an end that may have been put where it does not belong."""
    header = read_header(data, name="")
    return header is not None and lacks_pixels(data[: data.find(_END, header.scan)], header)


def with_end(data: bytes) -> bytes:
    """A JPEG without an end, with one: the decoder makes grey of what is missing."""
    return _without_rest(data) + _END


def _without_rest(data: bytes) -> bytes:
    """Less the zeros that a disk puts in the place of what it has lost, and the first half of a mark."""
    return data.rstrip(b"\0\xff")


def _segments(data: bytes, place: int) -> Iterator[tuple[int, int, bytes]]:
    """Marker, place and what follows the length, up to the end of the picture."""
    while found := _MARKER.search(data, place):
        marker, start = found[0][1], found.start()
        if marker == _END[1]:
            return
        place = found.end()
        length = 0 if marker in _WITHOUT_LENGTH else max(2, int.from_bytes(data[place : place + 2]))
        yield marker, start, data[place + 2 : place + min(length, 64)]
        place += length


def _has_all_passes(data: bytes, header: JpegHeader) -> bool:
    """Whether each coefficient of each component of a progressive JPEG came down to its last bit."""
    missing = np.ones((256, 64), np.bool_)
    seen: set[int] = set()
    for marker, _, body in _segments(data, header.scan):
        if marker == _START_OF_SCAN and body and len(body) >= 4 + 2 * body[0]:
            components = body[1 : 1 + 2 * body[0] : 2]
            first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            missing[list(components), first : last + 1] = bool(bits & 15)
            seen |= set(components)
    return len(seen) == header.components and not missing[sorted(seen)].any()


def _decode_half(data: bytes) -> ByteArray:
    image = Image.open(BytesIO(data), formats=("JPEG",))
    image.draft(None, (max(1, image.width // 2), max(1, image.height // 2)))
    return np.asarray(image.convert("RGB"))


def _refuse(name: str, what: str) -> ImageError:
    return ImageError(f"{quote(name)} has {what}; save it again from a photo viewer")
