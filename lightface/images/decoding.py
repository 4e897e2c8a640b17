"""Decode picture files of every kind to upright RGB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from lightface.errors import ImageError
from lightface.files import open_regular
from lightface.images import jpeg
from lightface.images.blocks import check_blocks
from lightface.images.failures import DECODE_ERRORS, describe_reason, quiet_pillow, quote, remark, too_large
from lightface.images.given import GivenPicture
from lightface.images.jpeg import Reduction
from lightface.records import ByteArray

# Admits the 108 megapixels of the largest sensors that people carry. Decoding takes 7 bytes a pixel for a moment (4 in
# Pillow, 3 in the array), and up to 16 for some kinds: docs/reliability.md has the figures.
DEFAULT_MAX_PIXELS = 120_000_000

# Pillow reads some sixty formats, a few through external programs. A file that a stranger may have written
# is offered to these only.
_READ_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF")
_KINDS: Final = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC"

_BEGINNINGS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
_HEADER_BYTES: Final = 4 << 20  # enough to tell the size of a JPEG: before it come profiles, thumbnails and maps
_STRIP_PIXELS: Final = 1 << 20  # converted at once, so that no copy of a whole picture lies about
# Tags of TIFF.
_NEW_SUBFILE_TYPE: Final = 254
_SIZE_TAGS: Final = (256, 257)  # width and height
_MAX_SAMPLE_VALUE: Final = 281
_DNG_VERSION: Final = 50706
# In pictures with 16-bit values, so few bright pixels, or so small a share of all, may be broken ones of the sensor.
# They are not taken for white where they are much brighter than all others.
_HOT_PIXELS: Final = 8
_HOT_SHARES: Final = (1e-4, 1e-3)  # at least this share may be hot where that is more than `_HOT_PIXELS`; at most
_HOT_FACTOR: Final = 4
_PNG_DEPTH_AT: Final = 24  # byte of a PNG that says how many bits a value has

# How to undo each EXIF orientation (EXIF 2.3, table 6); 1 is upright, anything else means nothing.
_TURNS: Final = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIPS: Final = {2: 1, 4: 0}  # as `cv2.flip` counts: around the vertical axis, around the horizontal one
_TRANSPOSED: Final = frozenset({5, 7})


def decode_photo(
    data: bytes,
    *,
    name: str,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    reduction: Reduction = 1,
    allow_truncated: bool = False,
) -> ByteArray:
    """Decode the bytes of a picture file to upright (H, W, 3) uint8 RGB.

    JPEG, PNG, WebP, BMP, TIFF, GIF and AVIF (the first picture of several), HEIC with the `heic` extra, and photographs
    as the sensor saw them with the `raw` extra, by the suffix of `name`, which is used in errors and remarks too.
    Values of more than 8 bits are brought to the range that the file uses; transparent parts become black, as are the
    parts of an aligned crop that lie outside the photograph, because that is the void LightCNN saw in training. Of a
    JPEG, each pixel may be the mean of a square of `reduction` pixels; one that lacks pixels is decoded where
    `allow_truncated` says so, grey where they are missing.

    Raises ImageError and ImageTooLargeError as `load_photo` does.
    """
    if not data:
        raise ImageError(f"{quote(name)} is empty; copy it again from its source")
    try:
        with quiet_pillow():
            if is_raw(name, data):
                return decode_raw(data, name=name, max_pixels=max_pixels)
            check_blocks(data, name=name)
            if jpeg.is_jpeg(data):
                data = _check_jpeg(data, name=name, max_pixels=max_pixels, allow_truncated=allow_truncated)
            return _decode(data, name=name, max_pixels=max_pixels, reduction=reduction, allow_truncated=allow_truncated)
    except Image.DecompressionBombError as error:
        raise too_large(name, "far too many pixels", f"{max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{quote(name)} is not a picture that can be read; give a {_KINDS} file") from error
    except DECODE_ERRORS as error:
        raise _damaged(name, describe_reason(error)) from error


def take_picture(image: Image.Image, *, name: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> ByteArray:
    """The upright (H, W, 3) uint8 RGB of a Pillow picture, which stays as it is. Raises as `decode_photo`."""
    try:
        with quiet_pillow():
            _check_size(image.size, name=name, max_pixels=max_pixels)
            image.load()
            return _turn_upright(_to_rgb(image, name=name), _read_orientation(image, name=name))
    except DECODE_ERRORS as error:
        raise _damaged(name, describe_reason(error)) from error


def is_picture(data: bytes) -> bool:
    """Whether a file that begins so is a picture of a kind that is read, damaged or not."""
    if is_heic(data) or data.startswith(_BEGINNINGS):
        return True
    try:
        with quiet_pillow():
            Image.open(BytesIO(data), formats=_READ_FORMATS)
            return True
    except Image.DecompressionBombError:
        return True
    except (UnidentifiedImageError, *DECODE_ERRORS):
        return False


def count_pixels(path: Path) -> int:
    """How many pixels a photograph has, by its header alone; 0 where it cannot be told. Never raises."""
    if isinstance(path, GivenPicture) and path.image is not None:
        return path.image.width * path.image.height
    try:
        with quiet_pillow(), open_regular(path) as file:
            head = file.read(12)
            if is_raw(str(path), head):
                return path.stat().st_size  # some sensors take more bytes a pixel, few less
            if jpeg.is_jpeg(head):
                header = jpeg.read_header(head + file.read(_HEADER_BYTES), name=str(path))
                return 0 if header is None else header.width * header.height
            check_blocks(head + file.read(_HEADER_BYTES), name=str(path))
            file.seek(0)
            width, height = (
                open_heic(file, name=str(path)).size if is_heic(head) else Image.open(file, formats=_READ_FORMATS).size
            )
            return int(width * height)
    except (ImageError, Image.DecompressionBombError, *DECODE_ERRORS):
        return 0


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """How a photograph lies in its file, before the EXIF orientation turns it upright."""

    width_px: int
    height_px: int
    orientation: int  # 1 to 8, as in EXIF 2.3, table 6; 1 is upright

    @property
    def upright_size_px(self) -> tuple[int, int]:
        """Width and height of the upright photograph."""
        size = (self.width_px, self.height_px)
        return size[::-1] if self.orientation in (5, 6, 7, 8) else size


def read_frame(data: bytes, *, name: str) -> StoredFrame:
    """Size and orientation of the bytes of a picture file, by its header, as `decode_photo` takes them.

    Raises ImageError as `decode_photo`.
    """
    try:
        with quiet_pillow():
            if is_raw(name, data):
                return _read_raw_frame(data, name=name)
            if is_heic(data):
                return _read_heic_frame(data, name=name)
            check_blocks(data, name=name)
            with Image.open(BytesIO(data), formats=_READ_FORMATS) as image:
                orientation = _read_orientation(image, name=name)
                # Of a TIFF, Pillow says the size that it will have when it is upright.
                tags: Any = getattr(image, "tag_v2", {})
                width, height = (tags.get(tag, side) for tag, side in zip(_SIZE_TAGS, image.size, strict=True))
                return StoredFrame(width, height, orientation if 1 <= orientation <= 8 else 1)
    except UnidentifiedImageError as error:
        raise ImageError(f"{quote(name)} is not a picture that can be read; give a {_KINDS} file") from error
    except (Image.DecompressionBombError, *DECODE_ERRORS) as error:
        raise _damaged(name, describe_reason(error)) from error


def _check_jpeg(data: bytes, *, name: str, max_pixels: int, allow_truncated: bool) -> bytes:
    """The same bytes, with an end where that is missing. ImageError where more is, or decoding would never end."""
    header = jpeg.read_header(data, name=name)
    if header is None:
        return data  # for the decoder to complain of
    _check_size((header.width, header.height), name=name, max_pixels=max_pixels)
    jpeg.check_work(data, header, name=name)
    if jpeg.has_end(data, header):
        if jpeg.lacks_passes(data, header):
            remark(f"{quote(name)} lacks passes over its pixels, so it is less sharp than it was; copy it again")
        return data
    if jpeg.lacks_pixels(data, header):
        _tell_truncated(name, allow_truncated=allow_truncated)
    else:
        remark(f"{quote(name)} lacks the mark of its end; all of its pixels are there")
    return jpeg.with_end(data)


def _tell_truncated(name: str, *, allow_truncated: bool) -> None:
    if not allow_truncated:
        raise _damaged(name, "pixels are missing at its end")
    remark(f"{quote(name)} is truncated; what is missing is grey")


def _decode(data: bytes, *, name: str, max_pixels: int, reduction: Reduction, allow_truncated: bool) -> ByteArray:
    if is_heic(data):
        container = open_heic(BytesIO(data), name=name)
        _check_size(container.size, name=name, max_pixels=max_pixels)
        # libheif turns the picture upright itself; to_pillow() then clears the EXIF orientation.
        image: Image.Image = container.to_pillow()
        del container
    else:
        image = Image.open(BytesIO(data), formats=_READ_FORMATS)
        _check_size(image.size, name=name, max_pixels=max_pixels)
        _refuse_thumbnail(image, name=name)
        if reduction > 1:
            image = jpeg.decode_reduced(image, reduction)
        image.load()
        if jpeg.is_jpeg(data) and jpeg.ends_flat(image) and jpeg.lacks_pixels_before_end(data):
            _tell_truncated(name, allow_truncated=allow_truncated)
    orientation = _read_orientation(image, name=name)
    deep = _read_deep(image, data)
    image_rgb = _to_rgb(image, name=name) if deep is None else deep
    image.close()  # or it would take 4 bytes a pixel while the rest is turned
    return _turn_upright(image_rgb, orientation)


def _check_size(size: tuple[int, int], *, name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise too_large(name, f"{width}x{height} pixels", f"{max_pixels:,} pixels")


def _refuse_thumbnail(image: Image.Image, *, name: str) -> None:
    """ImageError for a RAW file of another name: it is a TIFF whose first picture is a small one, for lists."""
    tags: Any = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or _to_number(tags.get(_NEW_SUBFILE_TYPE, 0)) == 1:
        remedy = "give it its camera's suffix, such as .dng, or export it as JPEG or TIFF"
        raise ImageError(f"{quote(name)} begins with a thumbnail, as what a sensor saw (RAW) does; {remedy}")


def _read_orientation(image: Image.Image, *, name: str) -> int:
    """1 to 8; 1, which is upright, where there is none that means something."""
    try:
        if block := image.info.get("exif"):
            Image.Exif().load(block)  # Pillow's own getexif() has by now swallowed the error of a broken block
    except DECODE_ERRORS:
        remark(f"{quote(name)} has a broken EXIF block; it is taken to be upright")
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODE_ERRORS:
        value = None
    orientation = _to_number(value)
    if orientation is None:
        remark(f"{quote(name)} has an EXIF orientation that means nothing; it is taken to be upright")
    return orientation or 1


def _to_number(value: Any) -> int | None:
    """An orientation, stored in whatever type; None for what is no whole number."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if isinstance(value, bytes):
        stripped = value.strip(b"\0")  # of either byte order
        value = stripped[0] if len(stripped) == 1 and stripped < b"\x09" else stripped.decode("latin-1")
    try:
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return int(number) if number.is_integer() and abs(number) < 1 << 16 else None


def _to_rgb(image: Image.Image, *, name: str) -> ByteArray:
    """(H, W, 3), put together from strips."""
    if image.mode in ("I", "F"):
        raise ImageError(f"{quote(name)} has 32-bit pixels of unknown range; convert it to 8 or 16 bits")
    white = _white_of(image, np.asarray(image)) if image.mode.startswith("I;16") else 0
    width, height = image.size
    image_rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        if white:
            image_rgb[top : top + rows] = _to_8_bits(np.asarray(strip), white)[..., None]
            continue
        if strip.has_transparency_data:
            layer = strip.convert("RGBA")
            strip = Image.new("RGB", strip.size)
            strip.paste(layer, mask=layer.getchannel("A"))
        image_rgb[top : top + rows] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return image_rgb


def _white_of(image: Image.Image, values: np.ndarray[Any, Any]) -> int:
    """The value of white where values (H, W) or (H, W, C) have 16 bits, of which the file may use 12: what it says, or
    its brightest."""
    rows = max(1, _STRIP_PIXELS // max(1, values[0].size))
    counts = sum(
        np.bincount(values[top : top + rows].ravel(), minlength=1 << 16) for top in range(0, len(values), rows)
    )
    brightest = _find_brightest(np.asarray(counts))
    told = _to_number(getattr(image, "tag_v2", {}).get(_MAX_SAMPLE_VALUE))
    return max(brightest, 255) if told is None or not brightest <= told < 1 << 16 else told


def _find_brightest(counts: np.ndarray[Any, Any]) -> int:
    """The highest value of those that occur, by how often each does; less a few that stand far above all others."""
    total = int(counts.sum())
    least, most = (int(total * share) for share in _HOT_SHARES)
    brighter = total - np.cumsum(counts)  # values above this one
    brightest = int(np.flatnonzero(counts)[-1])
    sound = int(np.flatnonzero(brighter <= min(max(_HOT_PIXELS, least), most))[0])
    return sound if brightest > _HOT_FACTOR * sound else brightest


def _to_8_bits(values: np.ndarray[Any, Any], white: int) -> ByteArray:
    if white >= 1 << 15:  # all 16 bits are used
        return np.asarray(values >> 8, np.uint8)
    return np.asarray(np.minimum(values, white).astype(np.uint32) * 255 // white, np.uint8)


def _read_deep(image: Image.Image, data: bytes) -> ByteArray | None:
    """The pixels of a colour picture of 16 bits a value that uses the lower ones only: Pillow keeps the high byte.

    None for any other.
    """
    if image.mode not in ("RGB", "RGBA", "LA") or not _is_deep(image, data):
        return None
    bands = 1 if image.mode == "LA" else 3
    if _find_brightest(np.reshape(image.histogram()[: 256 * bands], (bands, 256)).sum(axis=0)) >= 128:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[:2] != image.size[::-1]:
        return None
    if pixels.shape[2] not in (3, 4):
        return None
    values = pixels[..., 2::-1]
    image_rgb = _to_8_bits(values, _white_of(image, values))
    if pixels.shape[2] == 4:
        image_rgb = (image_rgb * (pixels[..., 3:] / 65535.0)).astype(np.uint8)
    return np.ascontiguousarray(image_rgb)


def _is_deep(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[_PNG_DEPTH_AT] == 16
    return image.format == "TIFF" and 16 in image.tag_v2.get(ExifTags.Base.BitsPerSample, ())  # type: ignore[attr-defined]


def _turn_upright(image_rgb: ByteArray, orientation: int) -> ByteArray:
    turned: Any = image_rgb
    if orientation in _TRANSPOSED:
        turned = cv2.transpose(image_rgb)
    if orientation in _FLIPS:
        turned = cv2.flip(image_rgb, _FLIPS[orientation])
    if orientation in _TURNS:
        turned = cv2.rotate(image_rgb, _TURNS[orientation])
    if orientation == 7:
        turned = cv2.rotate(turned, cv2.ROTATE_180)
    return np.asarray(turned, np.uint8)


def _damaged(name: str, reason: str) -> ImageError:
    return ImageError(f"{quote(name)} is truncated or damaged ({reason}); copy it again from its source")


# What is read by an extra, which few users need: HEIC, and photographs as the sensor saw them.


# The suffix says which kind a file is, since most are TIFFs inside, whose first picture is a thumbnail.
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
    with _opened_raw(data, name) as raw:
        width, height = raw.sizes.iwidth, raw.sizes.iheight
        if width * height > max_pixels:
            raise too_large(name, f"{width}x{height} pixels", f"{max_pixels:,} pixels")
        return np.asarray(raw.postprocess(use_camera_wb=True, output_bps=8), np.uint8)


@contextmanager
def _opened_raw(data: bytes, name: str) -> Iterator[Any]:
    """The file as rawpy reads it; its errors inside the block, too, become an ImageError."""
    try:
        import rawpy
    except ImportError as error:
        raise ImageError(
            f"{quote(name)} is what the sensor saw (RAW); install rawpy (lightface's extra 'raw') to read it"
        ) from error
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            yield raw
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        reason = describe_reason(error)
        raise ImageError(f"{quote(name)} cannot be developed ({reason}); export it as JPEG or TIFF") from error


def _read_heic_frame(data: bytes, *, name: str) -> StoredFrame:
    """The container turns the picture, and says the size of the upright one; EXIF says the same turn once more."""
    container = open_heic(BytesIO(data), name=name)
    exif = Image.Exif()
    exif.load(container.info.get("exif") or b"")
    orientation = _to_number(exif.get(ExifTags.Base.Orientation, 1)) or 1
    width, height = container.size
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return StoredFrame(width, height, orientation if 1 <= orientation <= 8 else 1)


def _read_raw_frame(data: bytes, *, name: str) -> StoredFrame:
    with _opened_raw(data, name) as raw:
        # LibRaw counts turns otherwise than EXIF: 3 is half a turn, 5 a quarter to the left, 6 one to the right.
        orientation = {3: 3, 5: 8, 6: 6}.get(raw.sizes.flip, 1)
        return StoredFrame(raw.sizes.width, raw.sizes.height, orientation)
