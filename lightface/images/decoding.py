"""Decode picture files of every kind to upright RGB."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from lightface.errors import ImageError
from lightface.faces import ByteArray
from lightface.images.failures import DECODE_ERRORS, describe_reason, quiet_pillow, quote, too_large
from lightface.images.jpeg import Reduction, check_passes, decode_reduced

# Admits the 108 megapixels of the largest sensors that people carry. Decoding takes 7 bytes a pixel for a
# moment (4 in Pillow, 3 in the array), so no photograph needs more than 850 MB.
DEFAULT_MAX_PIXELS = 120_000_000

# Pillow reads some sixty formats, a few through external programs. A file that a stranger may have written
# is offered to these only.
_READ_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

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


def decode_photo(
    data: bytes, *, name: str, max_pixels: int = DEFAULT_MAX_PIXELS, reduction: Reduction = 1
) -> ByteArray:
    """Decode the bytes of a picture file to upright (H, W, 3) uint8 RGB; `name` is used in errors only.

    JPEG, PNG, WebP, BMP, TIFF and GIF (the first picture of several), and HEIC with the `heic` extra.
    16-bit grey is reduced to 8 bits; transparent parts become black, as are the parts of an aligned crop
    that lie outside the photograph, because that is the void LightCNN saw in training. Of a JPEG, each pixel may be the
    mean of a square of `reduction` pixels.

    Raises ImageError and ImageTooLargeError as `load_photo` does.
    """
    if not data:
        raise ImageError(f"{quote(name)} is empty; copy it again from its source")
    try:
        with quiet_pillow():
            return _decode(data, name=name, max_pixels=max_pixels, reduction=reduction)
    except Image.DecompressionBombError as error:
        raise too_large(name, "far too many pixels", f"{max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        kinds = "JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC"
        raise ImageError(f"{quote(name)} is not a picture that can be read; give a {kinds} file") from error
    except DECODE_ERRORS as error:
        raise ImageError(
            f"{quote(name)} is truncated or damaged ({describe_reason(error)}); copy it again from its source"
        ) from error


def count_pixels(path: Path) -> int:
    """How many pixels a photograph has, by its header alone; 0 where it cannot be told. Never raises."""
    try:
        if not path.is_file():  # a pipe would be waited on for ever
            return 0
        with quiet_pillow(), open(path, "rb") as file:
            if _is_heic(file.read(12)):
                import pillow_heif

                width, height = pillow_heif.open_heif(file).size
            else:
                width, height = Image.open(file, formats=_READ_FORMATS).size
            return int(width * height)
    except (ImportError, Image.DecompressionBombError, *DECODE_ERRORS):
        return 0


def _decode(data: bytes, *, name: str, max_pixels: int, reduction: Reduction) -> ByteArray:
    if _is_heic(data):
        image: Image.Image = _decode_heic(data, name=name, max_pixels=max_pixels)
    else:
        image = Image.open(BytesIO(data), formats=_READ_FORMATS)
        _check_size(image.size, name=name, max_pixels=max_pixels)
        if image.info.get("progressive"):
            check_passes(data, name=name)
        if reduction > 1:
            image = decode_reduced(image, reduction)
        image.load()
    orientation = _read_orientation(image, name=name)
    return _to_rgb(_turn_upright(_to_8_bits(image, name=name), orientation))


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS


def _decode_heic(data: bytes, *, name: str, max_pixels: int) -> Image.Image:
    try:
        import pillow_heif  # an extra: few users need it, and it carries a large binary
    except ImportError as error:
        raise ImageError(
            f"{quote(name)} is a HEIC picture; install pillow-heif (lightface's extra 'heic') to read it"
        ) from error
    container = pillow_heif.open_heif(BytesIO(data))
    _check_size(container.size, name=name, max_pixels=max_pixels)
    # libheif turns the picture upright itself; to_pillow() then clears the EXIF orientation.
    image: Image.Image = container.to_pillow()
    return image


def _check_size(size: tuple[int, int], *, name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise too_large(name, f"{width}x{height} pixels", f"{max_pixels:,} pixels")


def _read_orientation(image: Image.Image, *, name: str) -> int:
    exif_block = image.info.get("exif")
    if exif_block:
        try:
            # Pillow's own getexif() has by now swallowed the error of a broken block.
            Image.Exif().load(exif_block)
        except DECODE_ERRORS as error:
            raise ImageError(
                f"{quote(name)} has a broken EXIF block, so which side is up is unknown; "
                "save it again from a photo viewer"
            ) from error
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _to_8_bits(image: Image.Image, *, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ImageError(f"{quote(name)} has 32-bit pixels of unknown range; convert it to 8 or 16 bits")
    return image


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> ByteArray:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(layer, mask=layer.getchannel("A"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # which would copy RGB as well
