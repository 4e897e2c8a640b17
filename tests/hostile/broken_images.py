"""A corpus of broken and malicious pictures, made here: what stops in the middle, lies about itself, or never ends."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

MAX_PIXELS = 2_000_000  # with which the corpus is read

_NOISE = np.random.default_rng(7)
_FORMATS: dict[str, dict[str, object]] = {
    "jpeg": {"format": "JPEG", "quality": 95},
    "progressive jpeg": {"format": "JPEG", "quality": 90, "progressive": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 95},
    "webp without loss": {"format": "WEBP", "lossless": True},
    "bmp": {"format": "BMP"},
    "tiff": {"format": "TIFF"},
    "tiff lzw": {"format": "TIFF", "compression": "tiff_lzw"},
    "tiff deflate": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "gif": {"format": "GIF"},
    "avif": {"format": "AVIF", "speed": 10},
}
_MAGIC = {
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF89a",
    "bmp": b"BM",
    "tiff": b"II*\0\x08\0\0\0",
    "big tiff": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
    "webp": b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    "avif": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
}
_SIDES = (0, 1, 3000, 65_500, 65_535, 2**31 - 1, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    """A file, and whether it must be refused (True), must be read (False), or may be either (None)."""

    kind: str
    data: bytes
    refused: bool | None = True


def broken_images(mutations: int, dice: random.Random) -> Iterator[Case]:
    """The whole corpus, and so many good pictures damaged at random."""
    good = _good_pictures()
    yield from (Case("good", data, refused=False) for data in good.values())
    yield from _cut_off(good)
    yield from _wrong_headers(good, dice)
    yield from _huge(good)
    yield from _bombs()
    yield from _endless()
    yield from _odd_but_whole(good)
    yield from _deep_exif()
    yield from _odd_profiles()
    for _ in range(mutations):
        yield Case("damaged at random", _damage(dice.choice(list(good.values())), dice), refused=None)


def _good_pictures() -> dict[str, bytes]:
    """Half picture, half noise, so that files are long enough to be cut off at many places."""
    smooth = np.kron(_NOISE.integers(0, 256, (5, 7, 3)), np.ones((20, 20, 1)))
    picture = Image.fromarray((smooth + _NOISE.integers(0, 40, smooth.shape)).clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    return {name: _encode(picture, exif=exif.tobytes(), **options) for name, options in _FORMATS.items()}


def _encode(picture: Image.Image, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _cut_off(good: dict[str, bytes]) -> Iterator[Case]:
    for data in good.values():
        # The last bytes of some formats say nothing that is needed.
        yield from (Case("cut off at a kilobyte", data[:length]) for length in range(0, len(data) - 64, 1024))
        yield from (Case("cut off in the header", data[:length]) for length in range(1, 64))


def _wrong_headers(good: dict[str, bytes], dice: random.Random) -> Iterator[Case]:
    for magic in _MAGIC.values():
        yield Case("header alone", magic)
        yield from (Case("header before zeros and ones", magic + byte * 5000) for byte in (b"\0", b"\xff", b"\x01"))
        yield from (Case("header before noise", magic + dice.randbytes(3000)) for _ in range(8))
        yield from (Case("header of another kind", magic + data[len(magic) :], refused=None) for data in good.values())


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, *chunks: tuple[bytes, bytes], pixels: bytes | None = None) -> bytes:
    """An RGB PNG, of black where nothing else is given."""
    rows = zlib.compress(b"\0" * ((3 * width + 1) * height)) if pixels is None else pixels
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = ((b"IHDR", head), *chunks, (b"IDAT", rows), (b"IEND", b""))
    return _MAGIC["png"] + b"".join(png_chunk(kind, data) for kind, data in body)


def _huge(good: dict[str, bytes]) -> Iterator[Case]:
    """A size in the header that the pixels do not bear out."""
    start_of_frame = good["jpeg"].index(b"\xff\xc0")
    extended = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
    for width in _SIDES:
        for height in _SIDES:
            one = width == height == 1
            yield Case("huge png", _png(width, height, pixels=zlib.compress(b"\0" * 99)), None if one else True)
            bmp = bytearray(good["bmp"])
            bmp[18:26] = struct.pack("<II", width, height)
            # Of these rows there may be enough; a height of -1 is one row, from the top.
            fits = 0 < width * height <= 4096 or height == 2**32 - 1
            yield Case("huge bmp", bytes(bmp), None if fits else True)
            low = (min(width, 65_535), min(height, 65_535))
            gif = bytearray(good["gif"])
            gif[6:10] = struct.pack("<HH", *low)
            yield Case("huge gif", bytes(gif), None)
            jpeg = bytearray(good["jpeg"])
            jpeg[start_of_frame + 5 : start_of_frame + 9] = struct.pack(">HH", *low)
            yield Case("huge jpeg", bytes(jpeg), None)
            sides = b"".join(struct.pack("<I", side & 0xFFFFFF)[:3] for side in (width, height))
            yield Case("huge webp", extended + sides + b"\0" * 40)
            sizes = [(256, 4, 1, width), (257, 4, 1, height), (279, 4, 1, 2**32 - 1)]
            yield Case("huge tiff", _tiff(sizes), None if one else True)


def _tiff(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A grey TIFF of one strip at byte 8, with tags of (number, type, count, value or place)."""
    tags = {258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, 2**32 - 1)}
    tags |= {number: (kind, count, value) for number, kind, count, value in entries}
    directory = b"".join(struct.pack("<HHII", number, *rest) for number, rest in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + directory + struct.pack("<I", following) + b"\0" * 64


def _bombs() -> Iterator[Case]:
    """A small file that would grow."""
    much = zlib.compress(b"\0" * (100 << 20), 9)
    yield Case("png of more pixels than it says", _png(8, 8, pixels=much), None)
    yield Case("png with a bomb of text", _png(8, 8, (b"zTXt", b"Comment\0\0" + much)), None)
    yield Case("png with a bomb of text", _png(8, 8, (b"iTXt", b"Comment\0\1\0\0\0" + much)), None)
    yield Case("png with a bomb of a profile", _png(8, 8, (b"iCCP", b"profile\0\0" + much)), None)
    yield Case("png with a million chunks", _png(8, 8, *[(b"tEXt", b"a\0b")] * 100_000), None)
    yield Case("tiff strip that grows", _tiff([(256, 4, 1, 100), (257, 4, 1, 100), (259, 3, 1, 8), (279, 4, 1, 60)]))


def _endless() -> Iterator[Case]:
    frame = b",\0\0\0\0\x08\0\x08\0\0\x02\x02\x44\x01\0"
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    yield Case("gif of 100,000 frames", head + frame * 100_000 + b";", None)
    yield Case("gif that never ends", head + frame * 1000, None)
    yield Case("gif of comments without end", head + b"!\xfe" + (b"\xff" + b"x" * 255) * 40_000, None)
    yield Case("gif of extensions without end", head + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" * 100_000, None)
    yield Case("gif of loops", head + b"!\xff\x0bNETSCAPE2.0\x03\x01\xff\xff\0" + frame * 9 + b";", None)
    films = [Image.fromarray(_NOISE.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(300)]
    for kind in ("PNG", "WEBP", "TIFF"):
        yield Case(
            f"{kind.lower()} of many frames",
            _encode(films[0], format=kind, save_all=True, append_images=films[1:]),
            False,
        )
    yield Case("tiff whose directories go round", _tiff([(256, 4, 1, 8), (257, 4, 1, 8)], following=8), None)
    yield Case("jpeg of some hundred scans", _many_scans(400, b""), False)
    for between in _BETWEEN_SCANS:
        yield Case("jpeg of scans without end", _many_scans(30_000, between))
        yield Case("jpeg of scans without end, not progressive", _many_scans(30_000, between, progressive=False))
    jpeg = _encode(films[0], format="JPEG")
    for segment in (b"\xff\xe5\0\x02", b"\xff\xfe\0\0", b"\xff\x01", b"\xff\xff"):
        yield Case("jpeg of segments without end", jpeg[:2] + segment * 300_000 + jpeg[2:], None)
    exif = b"Exif\0\0" + b"x" * 40_000
    yield Case(
        "jpeg of exif without end", jpeg[:2] + (b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif) * 500 + jpeg[2:]
    )
    yield Case("png of chunks without end", _png(8, 8, *[(b"tEXt", b"a\0b")] * 300_000))
    noise = Image.fromarray(_NOISE.integers(0, 256, (90, 90, 3), np.uint8))
    cut = _encode(noise, format="JPEG", progressive=True)
    yield Case("progressive jpeg that lacks passes", cut[: cut.index(b"\xff\xda", len(cut) // 2)] + b"\xff\xd9", None)


# What libjpeg passes over between two scans, some of it with a length that is none.
_BETWEEN_SCANS = (b"", b"\xff\x01\xff\xff", b"\xff\x02\xff\xff", b"\xff\xff\xff", b"\xff\xe5\0\0", b"\xff\xd0")


def _many_scans(passes: int, between: bytes, *, progressive: bool = True) -> bytes:
    """A JPEG whose last pass comes again and again, or one of a single component without pixels."""
    picture = Image.new("RGB", (1400, 1400), (90, 128, 30))
    data = _encode(picture, format="JPEG", progressive=progressive, subsampling=0)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2] if progressive else b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
    return data[:last] + (between + scan) * passes + b"\xff\xd9"


def _odd_but_whole(good: dict[str, bytes]) -> Iterator[Case]:
    """What every viewer shows."""
    for kind in ("jpeg", "progressive jpeg"):
        for tail in (b"", b"\0" * 700):
            yield Case("jpeg without the mark of its end", good[kind][:-2] + tail, False)
            yield Case("jpeg that lacks rows", good[kind][: len(good[kind]) * 2 // 3] + tail)
    grey = np.linspace(0, 4095, 6400).reshape(80, 80).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        yield Case("12 bits in 16", _encode(Image.fromarray(grey), format=kind), False)
        hot = np.where(np.arange(6400).reshape(80, 80) == 7, 65_535, grey).astype(np.uint16)
        yield Case("12 bits in 16 with a hot pixel", _encode(Image.fromarray(hot), format=kind), False)
    picture = Image.new("RGB", (8, 8), "gray")
    for value_type in range(1, 14):
        value = struct.pack("<HHII", 0x0112, value_type, 1, 26) + struct.pack("<I", 0) + struct.pack("<II", 1, 0)
        block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + value
        for form in ("JPEG", "PNG", "WEBP"):
            yield Case("orientation of another type", _encode(picture, format=form, exif=block), False)
    for length in (0, 2, 10, 60):
        block = b"Exif\0\0" + b"\0" * length
        yield Case("zeroed exif", _encode(picture, format="JPEG", exif=block), False)
    large = Image.new("RGBA", (2000, 1000), (9, 80, 7, 100))
    yield Case("transparent picture as large as may be", _encode(large, format="PNG"), False)


def _deep_exif() -> Iterator[Case]:
    picture = Image.new("RGB", (8, 8), "gray")
    for block in _exif_blocks():
        for kind in ("JPEG", "PNG", "WEBP"):
            if kind != "JPEG" or len(block) < 65_000:
                yield Case("deep exif", _encode(picture, format=kind, exif=b"Exif\0\0" + block), None)


def _exif_blocks() -> Iterator[bytes]:
    def directory(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
        body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)

    head = b"II*\0\x08\0\0\0"
    yield head + directory((0x8769, 4, 1, 8))  # the directory is in itself
    yield head + directory((0x0112, 3, 1, 6), following=8)  # and comes after itself
    chain = b"".join(directory((0x8769, 4, 1, 8 + 18 * (n + 1))) for n in range(3000))
    yield head + chain  # 3,000 deep
    yield head + directory((0x0112, 3, 2**32 - 1, 0))
    yield head + directory((0x0112, 12, 2**31, 2**31))
    yield head + directory(*[(number, 2, 60_000, 8) for number in range(2000)])  # each of the whole block
    yield head + directory(*[(0x0112, 3, 1, side) for side in range(3000)])
    yield head + directory((0x0112, 2, 4, 0x41414141))  # the orientation is a text
    yield head + directory((0x0112, 5, 1, 8))  # a fraction
    yield head + struct.pack("<H", 65_535)
    yield b"MM\0*\xff\xff\xff\xff"


def _odd_profiles() -> Iterator[Case]:
    picture = Image.new("RGB", (8, 8), "gray")
    for profile in (b"\0", b"\0" * 128, b"\xff" * 60_000, _NOISE.bytes(3 << 20), b"acsp" * 5000):
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            yield Case("odd profile", _encode(picture, format=kind, icc_profile=profile), None)
    plain = _encode(picture, format="JPEG")
    for number, count in ((0, 0), (1, 255), (255, 1), (2, 1)):  # parts that are missing, or of no order
        part = b"ICC_PROFILE\0" + bytes([number, count]) + b"x" * 500
        segment = b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part
        yield Case("profile in odd parts", plain[:2] + segment * 300 + plain[2:], None)


def _damage(data: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(dice.choice((1, 2, 8, 40))):
        # Headers more often than pixels.
        at = dice.randrange(min(len(damaged), dice.choice((40, 400, 1 << 30))))
        match dice.randrange(4):
            case 0:
                damaged[at] = dice.randrange(256)
            case 1:
                damaged[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case 2:
                del damaged[at : at + dice.choice((1, 4, 100))]
            case _:
                damaged[at:at] = damaged[dice.randrange(len(damaged)) :][: dice.choice((1, 4, 1000))]
    return bytes(damaged)
