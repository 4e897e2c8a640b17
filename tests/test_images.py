"""Photographs of every kind come out upright, RGB and whole, or are refused with one line."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image

from lightface.errors import ImageError, ImageTooLargeError, OutputError
from lightface.images import (
    DEFAULT_MAX_PIXELS,
    PHOTO_SUFFIXES,
    count_pixels,
    decode_photo,
    find_photos,
    hash_file,
    load_photo,
    photos,
    read_frame,
    save_image,
)
from lightface.records import ByteArray

WIDTH, HEIGHT = 48, 32


@pytest.fixture
def picture_rgb() -> ByteArray:
    """Smooth enough for JPEG, different in every corner and channel."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    channels = (rows * 7, columns * 5, 255 - rows * 2 - columns * 3)
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def encode(image: Image.Image, picture_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def assert_one_line(error: BaseException) -> None:
    assert str(error).strip()
    assert len(str(error).splitlines()) == 1


# --- formats and pixel kinds ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 6),
        ("JPEG", {"quality": 95, "progressive": True}, 6),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("MPO", {"quality": 95}, 6),
    ],
)
def test_formats_decode_to_the_same_rgb(
    picture_rgb: ByteArray, picture_format: str, options: dict[str, object], tolerance: int
) -> None:
    data = encode(Image.fromarray(picture_rgb), picture_format, **options)
    decoded = decode_photo(data, name="photo")
    assert decoded.shape == (HEIGHT, WIDTH, 3)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable and decoded.flags.c_contiguous
    assert np.abs(decoded.astype(int) - picture_rgb).max() <= tolerance


def test_gif_gives_its_first_picture() -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_photo(data, name="film.gif") == (255, 0, 0)).all()


def test_heic_is_turned_once(picture_rgb: ByteArray) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    stored_rgb = picture_rgb.repeat(4, axis=0).repeat(4, axis=1)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    # Writes the turn into the container as well, as phones do.
    pillow_heif.from_pillow(Image.fromarray(stored_rgb)).save(buffer, quality=95, exif=exif.tobytes())
    decoded = decode_photo(buffer.getvalue(), name="phone.heic")
    upright_rgb = np.rot90(stored_rgb, -1)
    assert decoded.shape == upright_rgb.shape
    assert np.abs(decoded.astype(int) - upright_rgb).mean() < 4


def test_heic_without_the_extra_names_it(picture_rgb: ByteArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"pillow-heif.*'heic'") as caught:
        decode_photo(b"\x00\x00\x00\x18ftypheic" + bytes(32), name="phone.heic")
    assert_one_line(caught.value)


def test_heic_limit_is_checked_before_decoding(picture_rgb: ByteArray) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(picture_rgb)).save(buffer)
    with pytest.raises(ImageTooLargeError, match="48x32 pixels"):
        decode_photo(buffer.getvalue(), name="phone.heic", max_pixels=WIDTH * HEIGHT - 1)


def test_damaged_heic_is_refused(picture_rgb: ByteArray) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(picture_rgb)).save(buffer)
    for length in (20, 200, len(buffer.getvalue()) // 2):
        with pytest.raises(ImageError) as caught:
            decode_photo(buffer.getvalue()[:length], name="phone.heic")
        assert_one_line(caught.value)


@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(picture_format: str) -> None:
    grey = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)
    decoded = decode_photo(encode(Image.fromarray(grey), picture_format), name="scan")
    assert (decoded == (grey >> 8)[..., None]).all()
    assert decoded.min() == 0 and decoded.max() == 255


@pytest.mark.parametrize("picture_format", ["TIFF", "PNG"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("hot", [1, 4])
def test_some_broken_pixels_of_the_sensor_are_no_white(picture_format: str, channels: int, hot: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (100, 100, channels)).astype(np.uint16)
    expected = values.astype(np.int64) * 255 // int(values.max())
    values.reshape(-1, channels)[np.arange(hot) * 1000 + 7, 0] = 65535
    if channels == 3:
        data = cv2.imencode(f".{picture_format.lower()}", values[..., ::-1])[1].tobytes()
    else:
        data = encode(Image.fromarray(values[..., 0]), picture_format)
    decoded = decode_photo(data, name="hot")
    difference = np.abs(decoded.astype(np.int64) - expected)
    assert (difference > 1).any(axis=2).sum() == hot
    assert (decoded.reshape(-1, 3)[7, 0], decoded.max()) == (255, 255)


def test_a_dark_picture_with_lights_keeps_its_range() -> None:
    """More than a few bright pixels are what the picture shows."""
    values = np.full((100, 100), 3000, np.uint16)
    values[:20, :20] = 60000
    decoded = decode_photo(encode(Image.fromarray(values), "PNG"), name="night")
    assert (decoded[0, 0, 0], decoded[99, 99, 0]) == (60000 >> 8, 3000 >> 8)


def test_16_bit_rgb_png_keeps_its_high_byte() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3))
    header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)
    assert (decode_photo(data, name="scan.png") == values >> 8).all()


@pytest.mark.parametrize(
    ("brightest", "told", "white"), [(4095, None, 255), (3568, None, 255), (1000, 4095, 62), (200, None, 200)]
)
def test_grey_of_12_bits_in_16_is_stretched_to_its_own_range(brightest: int, told: int | None, white: int) -> None:
    grey = np.linspace(0, brightest, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)
    tags = {} if told is None else {281: told}
    decoded = decode_photo(encode(Image.fromarray(grey), "TIFF", tiffinfo=tags), name="scan.tif")
    assert decoded.min() == 0 and decoded.max() == white
    assert (np.diff(decoded[..., 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_12_bits_in_16_are_stretched_too(suffix: str, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (20, 30, channels)).astype(np.uint16)
    values[..., :3].flat[:2] = 0, 4095
    if channels == 4:
        values[..., 3] = 65535
    data = cv2.imencode(suffix, values)[1].tobytes()
    decoded = decode_photo(data, name=f"scan{suffix}")
    assert np.abs(decoded - (values[..., 2::-1] * (255 / 4095))).max() < 1


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_pixels_are_refused_with_a_remedy(dtype: type) -> None:
    data = encode(Image.fromarray(np.ones((8, 8), dtype)), "TIFF")
    with pytest.raises(ImageError, match="convert it to 8 or 16 bits"):
        decode_photo(data, name="depth.tiff")


def test_grey_and_black_and_white_become_rgb(picture_rgb: ByteArray) -> None:
    grey = Image.fromarray(picture_rgb).convert("L")
    assert (decode_photo(encode(grey, "PNG"), name="grey") == np.asarray(grey)[..., None]).all()
    bits = grey.convert("1")
    expected = np.asarray(bits)[..., None] * np.uint8(255)
    assert (decode_photo(encode(bits, "PNG"), name="bits") == expected).all()


def test_cmyk_jpeg_is_not_inverted(picture_rgb: ByteArray) -> None:
    data = encode(Image.fromarray(picture_rgb).convert("CMYK"), "JPEG", quality=95)
    decoded = decode_photo(data, name="print.jpg")
    assert np.abs(decoded.astype(int) - picture_rgb).max() <= 8


def test_palette_is_resolved() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    assert decode_photo(encode(image, "PNG"), name="p.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_transparent_parts_become_black() -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0]]], np.uint8)
    decoded = decode_photo(encode(Image.fromarray(pixels), "PNG"), name="cutout.png")
    assert decoded.tolist() == [[[200, 100, 50], [100, 50, 25], [0, 0, 0]]]


def test_a_transparent_palette_colour_becomes_black() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    for picture_format in ("PNG", "GIF"):
        decoded = decode_photo(encode(image, picture_format, transparency=0), name="logo")
        assert decoded.tolist() == [[[0, 0, 0], [40, 50, 60]]]


# --- what needs an extra, or a newer suffix ----------------------------------------------------------


@pytest.mark.parametrize("suffix", [".HIF", ".heics", ".heic"])
def test_heic_of_every_suffix_is_found_and_read(picture_rgb: ByteArray, suffix: str, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra 'heic'")
    path = tmp_path / f"DSCF0001{suffix}"
    pillow_heif.from_pillow(Image.fromarray(picture_rgb)).save(path, quality=95, format="HEIF")
    assert find_photos([tmp_path]) == [path]
    assert load_photo(path).image_rgb.shape == picture_rgb.shape


def test_avif_is_found_and_read_upright(picture_rgb: ByteArray, tmp_path: Path) -> None:
    path = tmp_path / "picture.avif"
    large_rgb = picture_rgb.repeat(4, axis=0).repeat(4, axis=1)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(large_rgb).save(path, quality=95, speed=10, exif=exif)
    assert find_photos([tmp_path]) == [path]
    assert count_pixels(path) == large_rgb[..., 0].size
    decoded = load_photo(path).image_rgb
    assert decoded.shape == np.rot90(large_rgb, -1).shape
    assert np.abs(decoded.astype(int) - np.rot90(large_rgb, -1)).mean() < 4
    with pytest.raises(ImageTooLargeError):
        load_photo(path, max_pixels=100)


def dng(mosaic: npt.NDArray[np.uint16], *, orientation: int = 1) -> bytes:
    """A photograph as the sensor saw it: red, green, green, blue, 16 bits each, without compression."""
    height, width = mosaic.shape
    identity = b"".join(struct.pack("<ii", value, 1) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    entries: list[tuple[int, int, int, bytes]] = [
        (254, 4, 1, struct.pack("<I", 0)),
        (256, 4, 1, struct.pack("<I", width)),
        (257, 4, 1, struct.pack("<I", height)),
        (258, 3, 1, struct.pack("<H", 16)),
        (259, 3, 1, struct.pack("<H", 1)),
        (262, 3, 1, struct.pack("<H", 32803)),  # a mosaic of colours
        (271, 2, 5, b"Test\0"),
        (272, 2, 5, b"Test\0"),
        (273, 4, 1, b""),  # where the pixels are
        (274, 3, 1, struct.pack("<H", orientation)),
        (277, 3, 1, struct.pack("<H", 1)),
        (278, 4, 1, struct.pack("<I", height)),
        (279, 4, 1, struct.pack("<I", mosaic.nbytes)),
        (284, 3, 1, struct.pack("<H", 1)),
        (33421, 3, 2, struct.pack("<HH", 2, 2)),
        (33422, 1, 4, bytes((0, 1, 1, 2))),
        (50706, 1, 4, bytes((1, 4, 0, 0))),  # the version of DNG
        (50708, 2, 5, b"Test\0"),
        (50717, 4, 1, struct.pack("<I", 65535)),
        (50721, 10, 9, identity),
        (50728, 5, 3, struct.pack("<II", 1, 1) * 3),
        (50778, 3, 1, struct.pack("<H", 21)),
    ]
    place = 8 + 2 + 12 * len(entries) + 4
    values = b""
    directory = struct.pack("<H", len(entries))
    pixels_at = place + sum(len(value) + len(value) % 2 for *_, value in entries if len(value) > 4)
    for number, kind, count, value in entries:
        if number == 273:
            value = struct.pack("<I", pixels_at)
        if len(value) > 4:
            directory += struct.pack("<HHII", number, kind, count, place + len(values))
            values += value + b"\0" * (len(value) % 2)
        else:
            directory += struct.pack("<HHI", number, kind, count) + value.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + directory + b"\0" * 4 + values + mosaic.astype("<u2").tobytes()


@pytest.fixture
def mosaic() -> npt.NDArray[np.uint16]:
    """A bright upper half."""
    values = np.full((120, 160), 2000, np.uint16)
    values[:60] = 50_000
    return values


def test_what_the_sensor_saw_is_developed(mosaic: npt.NDArray[np.uint16], tmp_path: Path) -> None:
    pytest.importorskip("rawpy", reason="needs the extra 'raw'")
    path = tmp_path / "photo.DNG"
    path.write_bytes(dng(mosaic))
    assert find_photos([tmp_path]) == [path]
    decoded = load_photo(path).image_rgb
    assert decoded.shape == (120, 160, 3) and decoded[:50].mean() > 3 * decoded[70:].mean()
    path.write_bytes(dng(mosaic, orientation=6))
    turned = load_photo(path).image_rgb
    assert turned.shape == (160, 120, 3) and turned[:, 70:].mean() > 3 * turned[:, :50].mean()
    frame = read_frame(path.read_bytes(), name=str(path))
    assert (frame.width_px, frame.height_px, frame.orientation) == (160, 120, 6)
    with pytest.raises(ImageTooLargeError, match=r"160x120|120x160"):
        load_photo(path, max_pixels=1000)
    path.write_bytes(dng(mosaic)[:300])
    with pytest.raises(ImageError) as caught:
        load_photo(path)
    assert_one_line(caught.value)


def test_raw_without_the_extra_names_it_and_is_told_when_passed_over(
    mosaic: npt.NDArray[np.uint16], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    monkeypatch.setattr(photos, "_found_suffixes", lambda: PHOTO_SUFFIXES)
    for name in ("a.nef", "b.NEF", "c.dng", "film.mp4", "README"):
        (tmp_path / name).write_bytes(dng(mosaic))
    with pytest.raises(ImageError, match=r"rawpy \(lightface's extra 'raw'\)") as caught:
        load_photo(tmp_path / "c.dng")
    assert_one_line(caught.value)
    assert find_photos([tmp_path, tmp_path]) == []
    (told,) = (record.message for record in caplog.records)
    assert told.startswith("passed over 4 .nef, 2 without a suffix, 2 .dng, 2 .mp4; install rawpy")


def test_the_thumbnail_of_a_raw_file_is_never_taken_for_the_photograph(mosaic: npt.NDArray[np.uint16]) -> None:
    thumbnail = encode(Image.new("RGB", (160, 120)), "TIFF", tiffinfo={254: 1})
    for data in (dng(mosaic), thumbnail):
        with pytest.raises(ImageError) as caught:
            decode_photo(data, name="photo of unknown kind")
        assert_one_line(caught.value)
    named_by_mistake = encode(Image.new("RGB", (16, 12)), "JPEG")
    assert decode_photo(named_by_mistake, name="photo.nef").shape == (12, 16, 3)


# --- what decoders say ------------------------------------------------------------------------------


def test_nothing_reaches_stderr_but_what_names_the_file(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8))
    dice = random.Random(0)
    for number, compression in enumerate(["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"] * 20):
        data = bytearray(encode(noise, "TIFF", compression=compression))
        for _ in range(8):
            data[dice.randrange(len(data))] = dice.randrange(256)
        (tmp_path / f"{number}.tif").write_bytes(data)
    program = """if True:
        import sys
        from pathlib import Path
        from lightface.errors import LightfaceError
        from lightface.images import load_photo
        refused = 0
        for path in Path(sys.argv[1]).iterdir():
            try:
                load_photo(path)
            except LightfaceError:
                refused += 1
        print(refused)
    """
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10
    assert [line for line in done.stderr.splitlines() if str(tmp_path) not in line] == []


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as on Linux")
def test_a_large_transparent_picture_takes_no_more_memory_than_another(tmp_path: Path) -> None:
    Image.new("RGBA", (5000, 4000), (9, 80, 7, 100)).save(tmp_path / "large.png")
    program = """if True:
        import sys
        from pathlib import Path
        from lightface.images import load_photo
        peak_mb = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10
        before = peak_mb()
        load_photo(sys.argv[1])
        print(peak_mb() - before)
    """
    command: list[str | Path] = [sys.executable, "-c", program, tmp_path / "large.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 190  # 20 megapixels of 4 bytes in Pillow and 3 in the array, and some room


# --- EXIF orientation -------------------------------------------------------------------------------


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(picture_rgb: ByteArray, orientation: int, picture_format: str) -> None:
    # What a camera held that way stores, after EXIF 2.3: where row 0 and column 0 of the file belong.
    stored = {
        1: picture_rgb,
        2: picture_rgb[:, ::-1],
        3: picture_rgb[::-1, ::-1],
        4: picture_rgb[::-1],
        5: picture_rgb.swapaxes(0, 1),
        6: np.rot90(picture_rgb, 1),
        7: picture_rgb[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(picture_rgb, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"quality": 95, "exif": exif} | ({"lossless": True} if picture_format == "WEBP" else {})
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), picture_format, **options)
    decoded = decode_photo(data, name="photo")
    assert decoded.shape == picture_rgb.shape
    assert np.abs(decoded.astype(int) - picture_rgb).max() <= 10


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_meaningless_orientation_is_upright(picture_rgb: ByteArray, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encode(Image.fromarray(picture_rgb), "PNG", exif=exif)
    assert (decode_photo(data, name="photo.png") == picture_rgb).all()


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block", [b"rubbish rubbish rubbish", b"\0" * 60, b"II*\0\x08\0\0\0\x09", b"MM\0*\xff\xff\xff\xff"]
)
def test_a_broken_exif_block_is_told_and_the_picture_is_upright(
    picture_rgb: ByteArray, picture_format: str, block: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    lossless = {"lossless": True} if picture_format == "WEBP" else {"quality": 95}
    data = encode(Image.fromarray(picture_rgb), picture_format, exif=b"Exif\x00\x00" + block, **lossless)
    name = f"{picture_format} {block!r}"  # each remark is made once
    for _ in range(2):
        decoded = decode_photo(data, name=name)
        assert decoded.shape == picture_rgb.shape and np.abs(decoded.astype(int) - picture_rgb).max() <= 10
    assert [record.message for record in caplog.records if "EXIF" in record.message] == [
        f"{name!r} has a broken EXIF block; it is taken to be upright"
    ] or block.startswith((b"II", b"MM"))  # of which Pillow reads what is there


def _exif_entry(kind: int, count: int, value: bytes) -> bytes:
    """A block whose only entry is an orientation of that type."""
    directory = struct.pack("<HHHI", 1, 0x0112, kind, count) + value[:4].ljust(4, b"\0") + b"\0" * 4
    return b"Exif\0\0II*\0\x08\0\0\0" + directory + value


@pytest.mark.parametrize(
    ("entry", "turned"),
    [
        (_exif_entry(1, 1, b"\x06"), True),  # BYTE
        (_exif_entry(7, 1, b"\x06"), True),  # UNDEFINED
        (_exif_entry(7, 2, b"\x00\x06"), True),
        (_exif_entry(2, 2, b"6\0"), True),  # ASCII
        (_exif_entry(4, 1, struct.pack("<I", 6)), True),  # LONG
        (_exif_entry(3, 2, struct.pack("<HH", 6, 1)), True),  # two of them
        (_exif_entry(5, 1, struct.pack("<I", 26) + b"\0" * 4), False),  # RATIONAL, of a place that is not there
        (_exif_entry(2, 4, b"top\0"), False),
        (_exif_entry(7, 4, b"\xff\xff\xff\xff"), False),
        (_exif_entry(11, 1, struct.pack("<f", 6.5)), False),  # FLOAT
        (_exif_entry(11, 1, struct.pack("<f", float("nan"))), False),
    ],
)
def test_an_orientation_of_another_type_is_obeyed_where_it_means_something(
    picture_rgb: ByteArray, entry: bytes, turned: bool
) -> None:
    decoded = decode_photo(encode(Image.fromarray(picture_rgb), "PNG", exif=entry), name="photo.png")
    assert (decoded == (np.rot90(picture_rgb, -1) if turned else picture_rgb)).all()


@pytest.mark.parametrize(("top", "bottom"), [(1, 0), (6, 0), (0, 0), (6, 1), (12, 2)])
def test_a_rational_orientation(picture_rgb: ByteArray, top: int, bottom: int) -> None:
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x0112, 5, 1, 26, 0) + struct.pack("<II", top, bottom)
    decoded = decode_photo(encode(Image.fromarray(picture_rgb), "PNG", exif=b"Exif\0\0" + block), name="photo.png")
    assert (decoded == (np.rot90(picture_rgb, -1) if bottom else picture_rgb)).all()


def test_16_bit_pictures_are_turned_too() -> None:
    grey = np.arange(6, dtype=np.uint16).reshape(2, 3) * 51 << 8
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    data = encode(Image.fromarray(grey), "PNG", exif=exif)
    assert decode_photo(data, name="scan.png")[..., 0].tolist() == [[255, 204, 153], [102, 51, 0]]


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_truncated_file_is_refused(astronaut_rgb: ByteArray, picture_format: str) -> None:
    data = encode(Image.fromarray(astronaut_rgb[:128, 160:288]), picture_format)
    for share in (0.02, 0.3, 0.7, 0.95):
        with pytest.raises(ImageError) as caught:
            decode_photo(data[: int(len(data) * share)], name="half")
        assert_one_line(caught.value)


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damaged_bytes_never_raise_anything_else(picture_rgb: ByteArray, picture_format: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encode(Image.fromarray(picture_rgb), picture_format, exif=exif)
    dice = random.Random(3)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(dice.choice([1, 2, 8, 40])):
            damaged[dice.randrange(min(len(damaged), dice.choice([40, 400, 10**6])))] = dice.randrange(256)
        try:
            decoded = decode_photo(bytes(damaged), name="damaged", max_pixels=1_000_000)
        except ImageError as error:
            assert_one_line(error)
        else:
            assert decoded.dtype == np.uint8 and decoded.shape[2] == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"not a picture, but a letter", "is not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        (b"\xff\xd8\xff", "is (not a picture|truncated)"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        decode_photo(data, name="letter.jpg")
    assert_one_line(caught.value)
    assert "letter.jpg" in str(caught.value)


@pytest.mark.parametrize("passes", [80, 400])
def test_a_small_jpeg_of_some_hundred_passes_is_read(picture_rgb: ByteArray, passes: int) -> None:
    data = encode(Image.fromarray(picture_rgb), "JPEG", progressive=True, comment=b"\xff\xda" * 999)
    last = data.rindex(b"\xff\xda")
    film = b"\xff\xda" * 99_999  # as some cameras add
    data = data[:last] + data[last:-2] * passes + b"\xff\xd9" + film
    assert decode_photo(data, name="photo").shape == picture_rgb.shape


def test_metadata_without_end_is_refused_soon(picture_rgb: ByteArray, tmp_path: Path) -> None:
    """Pillow takes minutes for each at a hundred megabytes, and some for ten."""
    image = Image.fromarray(picture_rgb)
    png, gif, plain = (encode(image, kind) for kind in ("PNG", "GIF", "JPEG"))
    start = gif.index(b"\x2c" if b"\x21\xf9" not in gif else b"\x21\xf9")
    segment = b"\xff\xe1" + struct.pack(">H", 65000) + b"Exif\0\0" + bytes(65000 - 8)
    harmful = {
        "texts.png": png[:33] + png_chunk(b"tEXt", b"k\0v") * 50_000 + png[33:],
        "unknown.png": png[:33] + png_chunk(b"abCd", b"") * 50_000 + png[33:],
        "pixels.png": png[:33] + png_chunk(b"IDAT", b"") * 250_000 + png[33:],
        "comments.gif": gif[:start] + b"\x21\xfe\x01a\x00" * 50_000 + gif[start:],
        "comment.gif": gif[:start] + b"\x21\xfe" + b"\x01a" * 50_000 + b"\x00" + gif[start:],
        "exif.jpg": plain[:2] + segment * 200 + plain[2:],
    }
    for name, data in harmful.items():
        (tmp_path / name).write_bytes(data)
        before = time.process_time()
        with pytest.raises(ImageError, match=r"has more .*; save it again from a photo viewer"):
            load_photo(tmp_path / name)
        assert count_pixels(tmp_path / name) == 0
        assert time.process_time() - before < 2
    honest = png[:33] + png_chunk(b"tEXt", b"k\0v") * 500 + png[33:]
    assert (decode_photo(honest, name="honest.png") == picture_rgb).all()
    assert decode_photo(plain[:2] + segment * 3 + plain[2:], name="honest.jpg").shape == picture_rgb.shape
    some = gif[:start] + b"\x21\xfe\x01a\x00" * 50 + gif[start:]
    assert decode_photo(some, name="honest.gif").shape == picture_rgb.shape


def test_a_progressive_jpeg_that_was_cut_and_closed_is_told(
    astronaut_rgb: ByteArray, caplog: pytest.LogCaptureFixture
) -> None:
    data = encode(Image.fromarray(astronaut_rgb), "JPEG", quality=90, progressive=True)
    whole = decode_photo(data, name="whole.jpg")
    assert not caplog.records
    second_last = data.rfind(b"\xff\xda", 0, data.rfind(b"\xff\xda"))
    cut = decode_photo(data[:second_last] + b"\xff\xd9", name="cut.jpg")
    assert cut.shape == whole.shape and (cut != whole).any()
    assert ["'cut.jpg' lacks passes over its pixels" in record.message for record in caplog.records] == [True]


def many_passes(kind: str) -> bytes:
    """2,000 passes over 120 megapixels, in some kilobytes."""
    plain = Image.new("RGB", (16, 16), (1, 200, 3))
    data = encode(plain, "JPEG", progressive=kind != "sequential", subsampling=0)
    frame = data.index(b"\xff\xc0" if kind == "sequential" else b"\xff\xc2")
    data = data[: frame + 5] + struct.pack(">HH", 10_000, 12_000) + data[frame + 9 :]
    scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"  # of the first component alone, and no pixels
    last = data.rindex(b"\xff\xda")
    if kind == "sequential":
        return data[:last] + scan * 2000 + b"\xff\xd9"
    refined = data[last:-2]
    between = {
        "progressive": b"",
        "behind a marker without length": b"\xff\x01\xff\xff",
        "behind a marker that means nothing": b"\xff\x02\xff\xff",
        "behind bytes that fill": b"\xff\xff\xff",
        "behind a segment of no length": b"\xff\xe5\0\0",
    }[kind]
    return data[:last] + (between + refined) * 2000 + b"\xff\xd9"


@pytest.mark.parametrize(
    "kind",
    [
        *("sequential", "progressive", "behind a marker without length", "behind a marker that means nothing"),
        *("behind bytes that fill", "behind a segment of no length"),
    ],
)
def test_passes_without_end_over_a_large_jpeg_are_refused(kind: str) -> None:
    data = many_passes(kind)
    started_s = time.process_time()
    with pytest.raises(ImageError, match="has more than 100 passes") as caught:
        decode_photo(data, name="photo.jpg")
    assert_one_line(caught.value)
    assert time.process_time() - started_s < 2


def test_segments_without_end_are_refused() -> None:
    data = encode(Image.new("RGB", (16, 16)), "JPEG")
    data = data[:2] + b"\xff\xe5\0\x02" * 200_000 + data[2:]
    with pytest.raises(ImageError, match="more than 100,000 segments"):
        decode_photo(data, name="photo.jpg")


# --- JPEGs that lack their end ----------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("tail", [b"", b"\0" * 500])
def test_a_jpeg_that_lacks_the_mark_of_its_end_is_read_and_told(
    astronaut_rgb: ByteArray, progressive: bool, tail: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    data = encode(Image.fromarray(astronaut_rgb), "JPEG", quality=90, progressive=progressive)
    name = f"{progressive} {len(tail)}.jpg"
    for end in (-2, -1):  # half of the mark may be there
        assert (decode_photo(data[:end] + tail, name=name) == decode_photo(data, name="whole")).all()
    assert f"{name!r} lacks the mark of its end; all of its pixels are there" in caplog.text


def test_a_jpeg_that_lacks_rows_is_refused_though_it_has_an_end(astronaut_rgb: ByteArray) -> None:
    data = encode(Image.fromarray(astronaut_rgb), "JPEG", quality=90)
    for lacking in (0.02, 0.1, 0.5):
        cut = data[: int(len(data) * (1 - lacking))] + b"\xff\xd9"
        with pytest.raises(ImageError, match="pixels are missing at its end"):
            decode_photo(cut, name="cut.jpg")
        assert decode_photo(cut, name="cut.jpg", allow_truncated=True).shape == astronaut_rgb.shape
    for colour in (0, 128, 255):  # a picture may end in one colour
        flat_rgb = astronaut_rgb.copy()
        flat_rgb[300:] = colour
        whole = encode(Image.fromarray(flat_rgb), "JPEG", quality=90)
        assert np.abs(decode_photo(whole, name="flat.jpg").astype(int) - flat_rgb).mean() < 3


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("tail", [b"", b"\0" * 100_000])
def test_a_jpeg_that_lacks_pixels_is_refused_unless_that_is_allowed(
    astronaut_rgb: ByteArray, progressive: bool, tail: bytes
) -> None:
    data = encode(Image.fromarray(astronaut_rgb), "JPEG", quality=90, progressive=progressive)
    for lacking in (0.01, 0.1, 0.5):
        cut = data[: int(len(data) * (1 - lacking))] + tail
        with pytest.raises(ImageError, match="pixels are missing at its end") as caught:
            decode_photo(cut, name="cut.jpg")
        assert_one_line(caught.value)
        decoded = decode_photo(cut, name="cut.jpg", allow_truncated=True)
        rows = int(len(decoded) * (1 - 2 * lacking))
        assert decoded.shape == astronaut_rgb.shape
        if not progressive and lacking < 0.5:
            assert np.abs(decoded[:rows].astype(int) - astronaut_rgb[:rows]).mean() < 3


def test_a_progressive_jpeg_cut_between_its_passes_lacks_pixels(astronaut_rgb: ByteArray) -> None:
    data = encode(Image.fromarray(astronaut_rgb), "JPEG", quality=90, progressive=True)
    place, cuts = 0, []
    while (place := data.find(b"\xff\xda", place + 1)) >= 0:
        cuts.append(place)
    for place in cuts[1:]:
        with pytest.raises(ImageError, match="pixels are missing"):
            decode_photo(data[:place], name="cut.jpg")


def test_the_pixel_limit_is_inclusive_and_named(picture_rgb: ByteArray) -> None:
    data = encode(Image.fromarray(picture_rgb), "PNG")
    assert decode_photo(data, name="photo", max_pixels=WIDTH * HEIGHT).shape == picture_rgb.shape
    with pytest.raises(ImageTooLargeError, match="48x32 pixels, more than the limit of 1,535 pixels"):
        decode_photo(data, name="photo", max_pixels=WIDTH * HEIGHT - 1)


@pytest.mark.parametrize("side", [11_000, 20_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    # The file holds no pixels, so that decoding would say "truncated": the header alone is judged.
    with pytest.raises(ImageTooLargeError) as caught:
        decode_photo(png_header(side, side), name="bomb.png")
    assert_one_line(caught.value)
    assert side * side > DEFAULT_MAX_PIXELS


@pytest.mark.filterwarnings("error")
def test_between_pillows_limit_and_ours_nothing_is_warned_of() -> None:
    with pytest.raises(ImageError, match="truncated"):
        decode_photo(png_header(10_000, 10_000), name="large.png")


def test_threads_that_decode_at_once_warn_of_nothing_and_leave_filters_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_header(10_000, 10_000))  # beyond Pillow's limit
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as threads:
            sizes = set(threads.map(count_pixels, [path] * 2000))
        assert (sizes, told, warnings.filters) == ({100_000_000}, [], before)


# --- files ------------------------------------------------------------------------------------------


def test_load_photo_gives_path_fingerprint_and_pixels(tmp_path: Path, picture_rgb: ByteArray) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(Image.fromarray(picture_rgb), "PNG"))
    photo = load_photo(path)
    assert photo.path == path
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == hash_file(path)
    assert (photo.image_rgb == picture_rgb).all()


def test_paths_may_be_texts(tmp_path: Path, picture_rgb: ByteArray) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(picture_rgb).save(path)
    assert find_photos([str(tmp_path), str(path)]) == [path]
    assert load_photo(str(path)).path == path


@pytest.mark.parametrize(
    ("enough_px", "reduction"), [(None, 1), (600, 1), (301, 1), (300, 2), (151, 2), (150, 4), (9, 8)]
)
def test_a_jpeg_far_larger_than_needed_is_decoded_smaller(
    tmp_path: Path, grace_hopper_rgb: ByteArray, enough_px: int | None, reduction: int
) -> None:
    path = tmp_path / "hopper.jpg"
    path.write_bytes(encode(Image.fromarray(grace_hopper_rgb[:600, :509]), "JPEG", quality=95))
    photo = load_photo(path, enough_px=enough_px)
    height, width = 600 // reduction, 509 // reduction
    assert photo.reduction == reduction and photo.image_rgb.shape == (height, width, 3)
    assert photo.size == (height * reduction, width * reduction)
    whole = photo.whole()
    assert whole.size == (600, 509) and whole.reduction == 1 and whole.sha256 == photo.sha256
    means = cv2.resize(
        whole.image_rgb[: height * reduction, : width * reduction], (width, height), interpolation=cv2.INTER_AREA
    )
    assert np.abs(means.astype(int) - photo.image_rgb).mean() < 2


def test_a_reduced_jpeg_is_turned_upright(tmp_path: Path, picture_rgb: ByteArray) -> None:
    path = tmp_path / "turned.jpg"
    large = np.kron(picture_rgb, np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path.write_bytes(encode(Image.fromarray(large), "JPEG", exif=exif))
    photo = load_photo(path, enough_px=max(picture_rgb.shape[:2]) * 2)
    assert photo.reduction == 4
    assert photo.size == photo.whole().size == (large.shape[1], large.shape[0])


def test_other_formats_and_damaged_files_are_never_reduced(tmp_path: Path, grace_hopper_rgb: ByteArray) -> None:
    path = tmp_path / "hopper.png"
    path.write_bytes(encode(Image.fromarray(grace_hopper_rgb), "PNG"))
    assert load_photo(path, enough_px=10).reduction == 1
    path.write_bytes(encode(Image.fromarray(grace_hopper_rgb), "JPEG")[:9000])
    with pytest.raises(ImageError, match="truncated"):
        load_photo(path, enough_px=10)


@pytest.mark.parametrize(
    "name",
    ["Zoë Müller.png", "张伟.png", "الصورة.png", "👩🏽‍🚀.png", "e\u0301.png", " spaced  .png", "x" * 251 + ".png"],
)
def test_unicode_and_long_names(tmp_path: Path, picture_rgb: ByteArray, name: str) -> None:
    folder = tmp_path
    for _ in range(8):  # a path of more than 800 characters
        folder = folder / ("ordner" * 16)
    folder.mkdir(parents=True)
    path = folder / (name if len(name.encode()) <= 255 else name[-250:])
    save_image(picture_rgb, path)
    assert find_photos([tmp_path]) == [path]
    assert (load_photo(path).image_rgb == picture_rgb).all()


def test_missing_folder_pipe_and_unreadable_paths_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    bad = {
        tmp_path / "nowhere.jpg": "No such file",
        tmp_path: "is a folder",
        tmp_path / "pipe.jpg": "not a regular file",
        Path("nul\0l.jpg"): "cannot read",
        tmp_path / ("x" * 300): "cannot read",
        tmp_path / "line\nbreak.jpg": "No such file",
    }
    for path, words in bad.items():
        with pytest.raises(ImageError, match=words) as caught:
            load_photo(path)
        assert_one_line(caught.value)


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_are_counted_by_the_header(tmp_path: Path, picture_rgb: ByteArray, picture_format: str) -> None:
    path = tmp_path / "picture"
    Image.fromarray(picture_rgb).save(path, format=picture_format)
    assert count_pixels(path) == picture_rgb.shape[0] * picture_rgb.shape[1]


def test_heic_pixels_are_counted_by_the_header(tmp_path: Path, picture_rgb: ByteArray) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra 'heic'")
    path = tmp_path / "picture.heic"
    pillow_heif.from_pillow(Image.fromarray(picture_rgb)).save(path)
    assert count_pixels(path) == picture_rgb.shape[0] * picture_rgb.shape[1]


def test_pixels_that_cannot_be_counted_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no picture")
    (tmp_path / "heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert [count_pixels(tmp_path / name) for name in ("pipe", "text", "heic", "missing", ".", "a\0b")] == [0] * 6


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "disk.png"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(ImageTooLargeError, match=r"1099\.5 GB"):
        load_photo(path)


def test_hash_file_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ImageError, match="cannot read"):
            hash_file(path)


def test_photos_decode_in_several_threads(tmp_path: Path, picture_rgb: ByteArray) -> None:
    path = tmp_path / "photo.png"
    save_image(picture_rgb, path)
    equal: list[bool] = []
    work = [
        threading.Thread(target=lambda: equal.append(bool((load_photo(path).image_rgb == picture_rgb).all())))
        for _ in range(8)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert equal == [True] * 8


# --- find_photos ------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg", "deep/c.webp", "deep/er/d.HEIC", ".cache/e.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_folders_are_searched_sorted_without_hidden_files(album: Path) -> None:
    assert names(find_photos([album]), album) == ["a.png", "b.JPG", "deep/c.webp", "deep/er/d.HEIC"]
    assert names(find_photos([album], recursive=False), album) == ["a.png", "b.JPG"]


def test_files_are_taken_as_given_and_once(album: Path) -> None:
    given = [album / "notes.txt", album / "b.JPG", album, album / ".hidden.jpg", album / "b.JPG"]
    expected = ["notes.txt", "b.JPG", "a.png", "deep/c.webp", "deep/er/d.HEIC", ".hidden.jpg"]
    assert names(find_photos(given), album) == expected


def test_a_missing_path_is_refused(album: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        find_photos([album, album / "nowhere"])


def test_a_loop_of_links_ends(album: Path) -> None:
    (album / "deep" / "loop").symlink_to(album)
    assert len(find_photos([album])) == 4


def test_an_unreadable_folder_is_refused(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match=r"deep.*Permission denied"):
        find_photos([album])


def test_every_suffix_is_lower_case() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in PHOTO_SUFFIXES)


# --- save_image -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".jpg", ".JPEG", ".webp"])
def test_what_is_saved_is_read_back(tmp_path: Path, picture_rgb: ByteArray, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    save_image(picture_rgb, path)
    assert np.abs(load_photo(path).image_rgb.astype(int) - picture_rgb).max() <= 12
    assert os.listdir(tmp_path) == [path.name]


def test_an_unknown_suffix_is_refused(tmp_path: Path, picture_rgb: ByteArray) -> None:
    for name in ("out.txt", "out", "out.gif"):
        with pytest.raises(OutputError, match=r"use one of \.jpg"):
            save_image(picture_rgb, tmp_path / name)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, picture_rgb: ByteArray) -> None:
    (tmp_path / "file.png").write_bytes(b"")
    for path in (tmp_path / "nowhere" / "out.png", tmp_path / "file.png" / "out.png"):
        with pytest.raises(OutputError, match="cannot write") as caught:
            save_image(picture_rgb, path)
        assert_one_line(caught.value)


def test_a_failed_write_leaves_the_old_picture_and_nothing_else(
    tmp_path: Path, picture_rgb: ByteArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.png"
    save_image(picture_rgb, path)
    before = path.read_bytes()

    def fill_disk(image: Image.Image, file: IO[bytes], **options: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        save_image(picture_rgb, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.png"]
