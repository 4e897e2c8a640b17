"""The names that other programs have written into the metadata of photographs, and the XMP that belongs to one: the
packet in its file, and the sidecars beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from lightface.errors import ImageError, LightfaceError, MetadataError, MissingFileError
from lightface.files import read_regular
from lightface.images import is_photo_name, read_frame
from lightface.images.decoding import RAW_SUFFIXES, is_heic, is_raw, open_heic
from lightface.images.failures import DECODE_ERRORS, describe_reason, quiet_pillow, quote
from lightface.images.jpeg import is_jpeg
from lightface.metadata.jpeg_packets import JpegPackets, read_packets
from lightface.metadata.regions import Region, merge_regions, read_regions, to_upright
from lightface.metadata.xmp import MOST_BYTES, XmpPacket
from lightface.pipeline.named_faces import NamedFace

_PNG_KEYWORD: Final = b"XML:com.adobe.xmp\0"


@dataclass(frozen=True, slots=True)
class PhotoNames:
    """Whose faces are where in one photograph, as another program knows it."""

    path: Path
    faces: tuple[NamedFace, ...] = ()
    unnamed: int = 0  # faces that are marked, and that nobody has named
    errors: tuple[LightfaceError, ...] = ()  # why some of it, or all, could not be read


def read_names(photo: Path, *, sidecar: Path | None = None) -> PhotoNames:
    """The faces that are named in a photograph's XMP and in that of its sidecars, in pixels of the upright photograph.

    `sidecar` is one more that lies elsewhere. What is damaged is told in `errors`, each of which names the file, and
    the rest is read. One face under one name, in several of them, comes once.
    """
    packets: list[tuple[Path, XmpPacket]] = []
    errors: list[LightfaceError] = []
    for path in find_sidecars(photo, sidecar):
        try:
            packets.append((path, read_sidecar(path)))
        except MetadataError as error:
            errors.append(_unread(path, error))
    try:
        data = read_photo_bytes(photo)
        packets += [(photo, packet) for packet in read_embedded(data, name=str(photo)).packets]
    except MetadataError as error:
        errors.append(_unread(photo, error))
    except ImageError as error:
        return PhotoNames(photo, errors=(error,))
    if not packets:
        return PhotoNames(photo, errors=tuple(errors))
    try:
        frame = read_frame(data, name=str(photo))
    except ImageError as error:
        return PhotoNames(photo, errors=(*errors, error))
    regions: list[Region] = []
    for path, packet in packets:
        try:
            regions = merge_regions([*regions, *read_regions(packet, frame)])
        except MetadataError as error:
            errors.append(_unread(path, error))
    faces = [NamedFace(one.name, to_upright(one.box, frame), one.is_own) for one in regions if one.name]
    return PhotoNames(photo, tuple(faces), len(regions) - len(faces), tuple(errors))


def read_names_of(
    photos: Iterable[Path],
    *,
    sidecars: Callable[[Path], Path | None] = lambda _: None,
    progress: Callable[[Path], None] | None = None,
) -> list[PhotoNames]:
    """The same for each of many photographs that has a face marked, or XMP that could not be read."""
    found = []
    for photo in photos:
        names = read_names(photo, sidecar=sidecars(photo))
        if names.faces or names.unnamed or names.errors:
            found.append(names)
        if progress is not None:
            progress(photo)
    return found


# The XMP of one photograph.


@dataclass(frozen=True, slots=True)
class EmbeddedXmp:
    """The packets in a photograph's file."""

    packet: XmpPacket | None = None
    extended: XmpPacket | None = None  # of a JPEG, what did not fit into the first

    @property
    def packets(self) -> list[XmpPacket]:
        """Those that are there."""
        return [one for one in (self.packet, self.extended) if one is not None]


def read_photo_bytes(photo: Path) -> bytes:
    """The bytes of a photograph's file. MissingFileError where there is none, ImageError where it cannot be read."""
    try:
        return read_regular(photo)
    except (OSError, ValueError) as error:
        kind = MissingFileError if isinstance(error, FileNotFoundError) else ImageError
        raise kind(
            f"cannot read {quote(photo)} ({describe_reason(error)}); check the path and its permissions"
        ) from error


def read_embedded(data: bytes, *, name: str) -> EmbeddedXmp:
    """The XMP in the bytes of a photograph's file: of JPEG, PNG, WebP, TIFF, AVIF and HEIC.

    MetadataError where it is damaged.
    """
    found = read_packets(data) if is_jpeg(data) else JpegPackets(_read_with_pillow(data, name=name), None)
    packet, extended = (None if part is None else XmpPacket(part) for part in (found.packet, found.extended))
    return EmbeddedXmp(packet, extended)


def sidecar_of(photo: Path) -> Path:
    """`photo.jpg.xmp`, as digiKam, darktable and Immich name them."""
    return photo.with_name(f"{photo.name}.xmp")


def find_sidecars(photo: Path, elsewhere: Path | None = None) -> list[Path]:
    """The sidecars that are there: `photo.jpg.xmp`, the one `elsewhere`, and `photo.xmp`, as Adobe's programs name it.

    The last is taken where it can be no other photograph's, and for what a sensor saw.
    """
    candidates = [sidecar_of(photo), *([] if elsewhere is None else [elsewhere])]
    if photo.suffix.lower() in RAW_SUFFIXES or not _has_siblings(photo):
        candidates.append(photo.with_suffix(".xmp"))
    return [path for path in dict.fromkeys(candidates) if os.path.isfile(path)]


def read_sidecar(path: Path) -> XmpPacket:
    """The packet of a sidecar. MetadataError where it cannot be read, is damaged, or has more than 16 MiB."""
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise MetadataError(f"its XMP has more than {MOST_BYTES / 1e6:.0f} MB; look what it is")
        return XmpPacket(read_regular(path))
    except (OSError, ValueError) as error:
        raise MetadataError(f"it cannot be read ({describe_reason(error)}); check its permissions") from error


def _unread(file: Path, error: MetadataError) -> MetadataError:
    return MetadataError(f"{quote(file)} is not read: {error}")


def _has_siblings(photo: Path) -> bool:
    try:
        names = os.listdir(photo.parent)
    except OSError:
        return True
    return any(name != photo.name and os.path.splitext(name)[0] == photo.stem and is_photo_name(name) for name in names)


def _read_with_pillow(data: bytes, *, name: str) -> bytes | None:
    if is_raw(name, data):
        return None  # its XMP is read by nobody but the program that wrote it; others take sidecars
    try:
        with quiet_pillow():
            if is_heic(data):
                packet = open_heic(BytesIO(data), name=name).info.get("xmp")
            else:
                with Image.open(BytesIO(data)) as image:
                    if image.format == "PNG" and _PNG_KEYWORD in data:
                        image.load()  # it may stand behind the pixels
                    packet = image.info.get("xmp")
    except (Image.DecompressionBombError, *DECODE_ERRORS) as error:
        raise MetadataError(f"its metadata cannot be read ({describe_reason(error)})") from error
    return packet if isinstance(packet, bytes) and packet.strip(b"\0 \t\r\n") else None
