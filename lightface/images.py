"""Find photographs, decode them to upright RGB, and write pictures.

Everything that comes out of this module is (H, W, 3) uint8 RGB with the EXIF orientation applied, so that
no later stage needs to know what a file looked like.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from lightface.errors import ImageError, ImageTooLargeError, OutputError
from lightface.faces import ByteArray
from lightface.files import check_place, write_private

# Admits the 108 megapixels of the largest sensors that people carry. Decoding takes 7 bytes a pixel for a
# moment (4 in Pillow, 3 in the array), so no photograph needs more than 850 MB.
DEFAULT_MAX_PIXELS = 120_000_000

# No compressed photograph within the pixel limit comes near this; a disk image or film given by mistake does.
_MAX_FILE_BYTES = 1 << 30

# Of a progressive JPEG; cameras and editors make about ten. Each costs a pass over all pixels, be it of a few bytes.
_MAX_PASSES = 100
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither a byte of pixels nor a place to restart within them

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp"),
        *(".bmp", ".dib", ".tif", ".tiff", ".gif", ".heic", ".heif"),
    }
)

# Pillow reads some sixty formats, a few through external programs. A file that a stranger may have written
# is offered to these only.
_READ_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

_WRITE_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

# How to undo each EXIF orientation (EXIF 2.3, table 6); 1 is upright, anything else means nothing.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What decoders raise on damaged or hostile files: found by feeding them a million, a sample of which is a test.
_DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError),
    *(RuntimeError, MemoryError, struct.error, zlib.error),
)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photograph."""

    path: Path
    sha256: str  # of the file's bytes, 64 hexadecimal digits
    image_rgb: ByteArray  # (H, W, 3) uint8, upright
    reduction: int = 1  # each pixel is the mean of a square of so many pixels of the file: 1, 2, 4 or 8
    encoded: bytes | None = None  # the file, of a reduced photograph

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole photograph, less what does not fill a pixel of a reduced one."""
        height, width = self.image_rgb.shape[:2]
        return height * self.reduction, width * self.reduction

    def whole(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
        """The photograph with all its pixels."""
        if self.encoded is None:
            return self
        image_rgb = decode_photo(self.encoded, name=str(self.path), max_pixels=max_pixels)
        return Photo(self.path, self.sha256, image_rgb)


def find_photos(paths: Iterable[Path], *, recursive: bool = True) -> list[Path]:
    """List the photographs named by `paths`: files as they are given, folders searched for photo suffixes.

    A file named outright is taken whatever its suffix. What a folder yields is sorted; hidden files and
    folders in it are skipped, symbolic links to folders are not followed. Each path is listed once.

    Raises ImageError for a path that does not exist or a folder that cannot be read.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not os.path.exists(path):
            raise ImageError(f"{_quote(path)} does not exist; check the path")
        if os.path.isdir(path):
            found.update(dict.fromkeys(sorted(_search_folder(path, recursive=recursive))))
        else:
            found[path] = None
    return list(found)


def load_photo(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, enough_px: int | None = None) -> Photo:
    """Read and decode one photograph.

    Where it is a JPEG of at least twice `enough_px` on its longer side, it is decoded at a half, a quarter or an eighth
    of its size, which takes a fraction of the time; the longer side stays at least `enough_px`.

    Raises ImageError when the file is missing, unreadable or not a whole picture, and ImageTooLargeError,
    before anything is decoded, when it has more than `max_pixels` pixels.
    """
    data = _read_file(path)
    reduction = 1 if enough_px is None else _choose_reduction(data, enough_px)
    image_rgb = decode_photo(data, name=str(path), max_pixels=max_pixels, reduction=reduction)
    digest = hashlib.sha256(data).hexdigest()
    return Photo(path, digest, image_rgb, reduction, encoded=data if reduction > 1 else None)


def decode_photo(
    data: bytes, *, name: str, max_pixels: int = DEFAULT_MAX_PIXELS, reduction: Literal[1, 2, 4, 8] = 1
) -> ByteArray:
    """Decode the bytes of a picture file to upright (H, W, 3) uint8 RGB; `name` is used in errors only.

    JPEG, PNG, WebP, BMP, TIFF and GIF (the first picture of several), and HEIC with the `heic` extra.
    16-bit grey is reduced to 8 bits; transparent parts become black, as are the parts of an aligned crop
    that lie outside the photograph, because that is the void LightCNN saw in training. Of a JPEG, each pixel may be the
    mean of a square of `reduction` pixels.

    Raises ImageError and ImageTooLargeError as `load_photo` does.
    """
    if not data:
        raise ImageError(f"{_quote(name)} is empty; copy it again from its source")
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, and of its own pixel limit; the limit that counts is ours.
            warnings.filterwarnings("ignore", module="PIL")
            return _decode(data, name=name, max_pixels=max_pixels, reduction=reduction)
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far too many pixels", f"{max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        kinds = "JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC"
        raise ImageError(f"{_quote(name)} is not a picture that can be read; give a {kinds} file") from error
    except _DECODE_ERRORS as error:
        raise ImageError(
            f"{_quote(name)} is truncated or damaged ({_reason(error)}); copy it again from its source"
        ) from error


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits; ImageError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def count_pixels(path: Path) -> int:
    """How many pixels a photograph has, by its header alone; 0 where it cannot be told. Never raises."""
    try:
        if not path.is_file():  # a pipe would be waited on for ever
            return 0
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.filterwarnings("ignore", module="PIL")
            if _is_heic(file.read(12)):
                import pillow_heif

                width, height = pillow_heif.open_heif(file).size
            else:
                width, height = Image.open(file, formats=_READ_FORMATS).size
            return int(width * height)
    except (ImportError, Image.DecompressionBombError, *_DECODE_ERRORS):
        return 0


def save_image(image_rgb: ByteArray, path: Path) -> None:
    """Write an (H, W, 3) uint8 RGB picture; the suffix of `path` chooses the format.

    It is written whole or not at all, for its owner's eyes only.

    Raises OutputError for an unknown suffix or a place that cannot be written.
    """
    picture_format = _write_format(path)
    try:
        with write_private(path) as file:
            # Quality 95 keeps JPEG's ringing away from thin drawn lines; formats without loss ignore it.
            Image.fromarray(image_rgb).save(file, format=picture_format, quality=95)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {_quote(path)} ({_reason(error)}); choose another place") from error


def check_picture(path: Path) -> None:
    """Raise OutputError now for a picture that `save_image` could not write later: suffix, folder, permissions."""
    _write_format(path)
    try:
        check_place(path)
    except OSError as error:
        raise OutputError(f"cannot write {_quote(path)}: {error.strerror}, or choose another place") from error


def _write_format(path: Path) -> str:
    picture_format = _WRITE_FORMATS.get(path.suffix.lower())
    if picture_format is None:
        raise OutputError(f"cannot write a picture as {path.suffix!r}; use one of {' '.join(_WRITE_FORMATS)}")
    return picture_format


def _search_folder(folder: Path, *, recursive: bool) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES:
                yield Path(parent, name)


def _read_file(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{_quote(path)} is a folder, not a picture; name a file in it")
        # A pipe or device would be waited on for ever.
        if path.exists() and not path.is_file():
            raise ImageError(f"{_quote(path)} is not a regular file; save the picture to a file first")
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise _too_large(str(path), f"{size / 1e9:.1f} GB", f"{_MAX_FILE_BYTES / 1e9:.1f} GB for a file")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _choose_reduction(data: bytes, enough_px: int) -> Literal[1, 2, 4, 8]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            longer_px = max(Image.open(BytesIO(data), formats=("JPEG",)).size)
    except (UnidentifiedImageError, Image.DecompressionBombError, *_DECODE_ERRORS):
        return 1  # not a JPEG, or one that decoding will complain of
    reductions: tuple[Literal[8, 4, 2], ...] = (8, 4, 2)
    return next((reduction for reduction in reductions if longer_px >= enough_px * reduction), 1)


def _decode(data: bytes, *, name: str, max_pixels: int, reduction: int) -> ByteArray:
    if _is_heic(data):
        image: Image.Image = _decode_heic(data, name=name, max_pixels=max_pixels)
    else:
        image = Image.open(BytesIO(data), formats=_READ_FORMATS)
        _check_size(image.size, name=name, max_pixels=max_pixels)
        if image.info.get("progressive"):
            _check_passes(data, name=name)
        if reduction > 1:
            image = _decode_reduced(image, reduction)
        image.load()
    orientation = _read_orientation(image, name=name)
    return _to_rgb(_turn_upright(_to_8_bits(image, name=name), orientation))


def _decode_reduced(image: Image.Image, reduction: int) -> Image.Image:
    """By the JPEG's own blocks, of which only the low frequencies are decoded."""
    width, height = (side // reduction for side in image.size)
    image.draft(None, (width, height))
    return image.crop((0, 0, width, height))  # less the last row or column that is no full square


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS


def _decode_heic(data: bytes, *, name: str, max_pixels: int) -> Image.Image:
    try:
        import pillow_heif  # an extra: few users need it, and it carries a large binary
    except ImportError as error:
        raise ImageError(
            f"{_quote(name)} is a HEIC picture; install pillow-heif (lightface's extra 'heic') to read it"
        ) from error
    container = pillow_heif.open_heif(BytesIO(data))
    _check_size(container.size, name=name, max_pixels=max_pixels)
    # libheif turns the picture upright itself; to_pillow() then clears the EXIF orientation.
    image: Image.Image = container.to_pillow()
    return image


def _check_size(size: tuple[int, int], *, name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_large(name, f"{width}x{height} pixels", f"{max_pixels:,} pixels")


def _check_passes(data: bytes, *, name: str) -> None:
    """Walk through the segments of a JPEG, which begin with a marker and their length."""
    passes, place = 0, 2
    while (marker := _MARKER.search(data, place)) and marker[0] != b"\xff\xd9":  # the end of the picture
        passes += marker[0] == b"\xff\xda"
        if passes > _MAX_PASSES:
            raise ImageError(f"{_quote(name)} has more than {_MAX_PASSES} passes; save it again from a photo viewer")
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])


def _read_orientation(image: Image.Image, *, name: str) -> int:
    exif_block = image.info.get("exif")
    if exif_block:
        try:
            # Pillow's own getexif() has by now swallowed the error of a broken block.
            Image.Exif().load(exif_block)
        except _DECODE_ERRORS as error:
            raise ImageError(
                f"{_quote(name)} has a broken EXIF block, so which side is up is unknown; "
                "save it again from a photo viewer"
            ) from error
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _to_8_bits(image: Image.Image, *, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ImageError(f"{_quote(name)} has 32-bit pixels of unknown range; convert it to 8 or 16 bits")
    return image


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> ByteArray:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(layer, mask=layer.getchannel("A"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # which would copy RGB as well


def _too_large(name: str, size: str, limit: str) -> ImageTooLargeError:
    return ImageTooLargeError(f"{_quote(name)} has {size}, more than the limit of {limit}; make it smaller")


def _unreadable(path: Path, error: OSError | ValueError) -> ImageError:
    return ImageError(f"cannot read {_quote(path)} ({_reason(error)}); check the path and its permissions")


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _quote(path: Path | str) -> str:
    # repr, because a name may hold a line break, and every message is one line.
    return repr(str(path))
