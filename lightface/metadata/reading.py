"""The names that other programs have written into the metadata of photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lightface.errors import ImageError, LightfaceError, MetadataError
from lightface.images import read_frame
from lightface.images.failures import quote
from lightface.metadata.regions import Region, merge_regions, read_regions, to_upright
from lightface.metadata.sources import find_sidecars, read_embedded, read_photo_bytes, read_sidecar
from lightface.metadata.xmp import XmpPacket
from lightface.pipeline.named_faces import NamedFace


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


def _unread(file: Path, error: MetadataError) -> MetadataError:
    return MetadataError(f"{quote(file)} is not read: {error}")
