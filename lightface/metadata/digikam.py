"""The names that digiKam keeps in its database, `digikam4.db`: an SQLite file, which is only read.

A face that a person has confirmed is a row of ImageTagProperties: the photograph, the tag that names the person, the
property `tagRegion` and a rectangle, `<rect x="10" y="20" width="30" height="40"/>`, in pixels of the upright
photograph. What digiKam only believes stands there under other properties, and is left out.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from lightface.databases import ReadBudget, open_database
from lightface.errors import LightfaceError, MetadataError, MissingFileError
from lightface.files import check_regular
from lightface.images import StoredFrame, read_frame
from lightface.images.failures import describe_reason, quote
from lightface.metadata.reading import PhotoNames, read_photo_bytes
from lightface.pipeline.named_faces import NamedFace
from lightface.records import BoxPx

DATABASE_NAME: Final = "digikam4.db"
_SAME_SHAPE: Final = 0.02
_RECTANGLE: Final = re.compile(r'([a-z]+)="(-?\d{1,6})(?:\.\d*)?"')
_NOBODY: Final = ("unknownPerson", "unconfirmedPerson", "ignoredPerson")  # properties of tags for faces without a name
_QUERY: Final = f"""
    SELECT AlbumRoots.identifier, AlbumRoots.specificPath, Albums.relativePath, Images.name, Tags.name,
        ImageTagProperties.value, ImageInformation.width, ImageInformation.height,
        EXISTS (SELECT 1 FROM TagProperties WHERE tagid = Tags.id AND property IN {_NOBODY!r})
    FROM ImageTagProperties
    JOIN Images ON Images.id = ImageTagProperties.imageid
    JOIN Albums ON Albums.id = Images.album
    JOIN AlbumRoots ON AlbumRoots.id = Albums.albumRoot
    JOIN Tags ON Tags.id = ImageTagProperties.tagid
    LEFT JOIN ImageInformation ON ImageInformation.imageid = Images.id
    WHERE ImageTagProperties.property = 'tagRegion' AND Images.status = 1
    ORDER BY Albums.id, Images.name, ImageTagProperties.rowid
"""  # status 1: neither in the waste bin nor deleted

_Row = tuple[str, object, object, object]  # name, or "", rectangle, width and height of the stored photograph


def read_digikam(
    database: Path, *, photos: Path | None = None, progress: Callable[[Path], None] | None = None
) -> list[PhotoNames]:
    """The named faces of the photographs that a digiKam database knows; `database` is the file, or its folder.

    Albums are sought where the database says, and below `photos`, where that is named: the folder to which they were
    moved. A photograph that is gone is told in `errors`. MetadataError where the file is no such database.
    """
    if database.is_dir():
        database = database / DATABASE_NAME
    rows: dict[tuple[str, str, str, str], list[_Row]] = defaultdict(list)
    for identifier, specific, relative, photo, tag, value, width, height, is_nobody in _read_rows(database):
        name = "" if is_nobody else str(tag or "").strip()
        place = (str(identifier or ""), str(specific or ""), str(relative or ""), str(photo or ""))
        rows[place].append((name, value, width, height))
    found = []
    for (identifier, specific, relative, name), faces in rows.items():
        below = Path(relative.strip("/"), name)
        if ".." in below.parts or below.is_absolute():  # no album's, but a trap's
            error = MetadataError(f"{quote(database)} names a photograph outside of its albums, {str(below)!r}")
            found.append(PhotoNames(below, errors=(error,)))
            continue
        path = _find_photo(identifier, specific, below, photos=photos)
        found.append(_read_faces(path, faces))
        if progress is not None:
            progress(path)
    return found


def _read_rows(database: Path) -> list[tuple[object, ...]]:
    def prepare(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")

    try:
        check_regular(database)
        with closing(open_database(database, prepare, timeout_s=5.0, mode="ro")) as connection:
            budget = ReadBudget(connection, database)
            return list(budget.run(lambda: connection.execute(_QUERY)))
    except OSError as error:
        raise MetadataError(f"cannot read {quote(database)} ({describe_reason(error)}); check it") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter of what SQLite says of a damaged name
        reason = describe_reason(error)
        raise MetadataError(
            f"{quote(database)} is no database of digiKam's that can be read ({reason}); name its {DATABASE_NAME}"
        ) from error


def _read_faces(photo: Path, rows: list[_Row]) -> PhotoNames:
    try:
        if not photo.exists():
            raise MissingFileError(f"{quote(photo)} does not exist, and digiKam names faces on it; was it moved?")
        frame = read_frame(read_photo_bytes(photo), name=str(photo))
        boxes = [(name, _to_box(value, width, height, frame, photo)) for name, value, width, height in rows]
    except LightfaceError as error:
        return PhotoNames(photo, errors=(error,))
    faces = [NamedFace(name, box_px) for name, box_px in boxes if name and box_px is not None]
    return PhotoNames(photo, tuple(faces), len(boxes) - len(faces))


def _to_box(value: object, width: object, height: object, frame: StoredFrame, photo: Path) -> BoxPx | None:
    """The box in the photograph as it is now; the database counts in pixels of the one that it has seen.

    MetadataError where that was of another shape.
    """
    edges = {name: float(number) for name, number in _RECTANGLE.findall(str(value))}
    if not {"x", "y", "width", "height"} <= edges.keys():
        return None
    scale = 1.0
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        stored = (frame.width_px, frame.height_px)
        fitting = [
            size
            for size in (stored, frame.upright_size_px)
            if abs(width / height / (size[0] / size[1]) - 1) <= _SAME_SHAPE
        ]
        if not fitting:
            raise MetadataError(
                f"{quote(photo)} has {stored[0]}x{stored[1]} pixels, and had {width}x{height} when digiKam read it; "
                "have digiKam read it again"
            )
        scale = fitting[0][0] / width
    x, y = edges["x"] * scale, edges["y"] * scale
    return x, y, x + edges["width"] * scale, y + edges["height"] * scale


def _find_photo(identifier: str, specific: str, below: Path, *, photos: Path | None) -> Path:
    """Where a photograph is; the first place where it should be, where it is in none."""
    roots = _find_roots(identifier, specific)
    if photos is not None:
        roots = [photos, *(photos / root.name for root in roots if root.name)]
    places = [root / below for root in roots]
    return next((place for place in places if place.is_file()), places[0])


def _find_roots(identifier: str, specific: str) -> list[Path]:
    """Where an album root may be mounted: `volumeid:?uuid=...`, `volumeid:?path=...` or `networkshareid:?...`."""
    told = parse_qs(identifier.partition("?")[2])
    inside = specific.strip("/")
    roots = [Path(path, inside) for key in ("path", "mountpath") for path in told.get(key, [])]
    with suppress(OSError):
        for uuid in told.get("uuid", []):
            device = os.path.realpath(f"/dev/disk/by-uuid/{uuid.replace('/', '')}")
            lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            mounts = [line.split(" ")[:2] for line in lines]
            roots += [Path(mount, inside) for source, mount in mounts if os.path.realpath(source) == device]
    return [*roots, Path("/", inside)]
