"""Write pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lightface.errors import OutputError
from lightface.files import check_place, write_private
from lightface.images.failures import describe_reason, quote
from lightface.records import ByteArray

_WRITE_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def save_image(image_rgb: ByteArray, path: Path | str) -> None:
    """Write an (H, W, 3) uint8 RGB picture; the suffix of `path` chooses the format.

    It is written whole or not at all, for its owner's eyes only.

    Raises OutputError for an unknown suffix or a place that cannot be written.
    """
    path = Path(path)
    picture_format = _write_format(path)
    try:
        with write_private(path) as file:
            # Quality 95 keeps JPEG's ringing away from thin drawn lines; formats without loss ignore it.
            Image.fromarray(image_rgb).save(file, format=picture_format, quality=95)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {quote(path)} ({describe_reason(error)}); choose another place") from error


def check_picture(path: Path) -> None:
    """Raise OutputError now for a picture that `save_image` could not write later: suffix, folder, permissions."""
    _write_format(path)
    try:
        check_place(path)
    except OSError as error:
        raise OutputError(f"cannot write {quote(path)}: {error.strerror}, or choose another place") from error


def _write_format(path: Path) -> str:
    picture_format = _WRITE_FORMATS.get(path.suffix.lower())
    if picture_format is None:
        raise OutputError(f"cannot write a picture as {path.suffix!r}; use one of {' '.join(_WRITE_FORMATS)}")
    return picture_format
