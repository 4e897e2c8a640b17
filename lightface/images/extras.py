"""What is read by an extra, which few users need: HEIC, and photographs as the sensor saw them."""

from __future__ import annotations

import os
from io import BytesIO
from typing import IO, Any, Final

import numpy as np

from lightface.errors import ImageError
from lightface.faces import ByteArray
from lightface.images.failures import describe_reason, quote, too_large

# Which kind a file is, is told by its suffix: within, most are TIFFs whose first picture is a thumbnail.
RAW_SUFFIXES: Final = frozenset(
    {
        *(".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw"),
        *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    }
)

_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})  # which Pillow reads


def is_heic(data: bytes) -> bool:
    """Whether that is how a HEIC begins; some bytes are enough."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIC_BRANDS:
        return False
    compatible = data[16 : min(int.from_bytes(data[:4]), 256)]
    return not _AVIF_BRANDS.intersection(compatible[start : start + 4] for start in range(0, len(compatible), 4))


def open_heic(file: IO[bytes], *, name: str) -> Any:
    """pillow-heif's file, with `size` and `to_pillow()`. ImageError where the extra is missing."""
    try:
        import pillow_heif  # it carries a large binary
    except ImportError as error:
        raise ImageError(
            f"{quote(name)} is a HEIC picture; install pillow-heif (lightface's extra 'heic') to read it"
        ) from error
    return pillow_heif.open_heif(file)


def is_raw(name: str, data: bytes) -> bool:
    """Whether a file is what a sensor saw. By its name; a picture of another kind may have that name by mistake."""
    begins_otherwise = data.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM"))
    return os.path.splitext(name)[1].lower() in RAW_SUFFIXES and not begins_otherwise


def decode_raw(data: bytes, *, name: str, max_pixels: int) -> ByteArray:
    """Upright (H, W, 3) uint8 RGB, developed with the camera's own white balance.

    ImageError where the extra is missing or the file cannot be read, ImageTooLargeError as `decode_photo`.
    """
    try:
        import rawpy
    except ImportError as error:
        raise ImageError(
            f"{quote(name)} is what the sensor saw (RAW); install rawpy (lightface's extra 'raw') to read it"
        ) from error
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            width, height = raw.sizes.iwidth, raw.sizes.iheight
            if width * height > max_pixels:
                raise too_large(name, f"{width}x{height} pixels", f"{max_pixels:,} pixels")
            return np.asarray(raw.postprocess(use_camera_wb=True, output_bps=8), np.uint8)
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        reason = describe_reason(error)
        raise ImageError(f"{quote(name)} cannot be developed ({reason}); export it as JPEG or TIFF") from error
