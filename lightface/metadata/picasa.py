"""The names that Picasa wrote into a `.picasa.ini` in each folder of photographs.

    [Contacts2]
    8e62398ebda8c1a5=Ada Lovelace;;
    [party.jpg]
    faces=rect64(3f845bcb59418507),8e62398ebda8c1a5;rect64(9eb15e89b6b584c1),ffffffffffffffff

A rectangle is left, top, right and bottom, in 16 bits each of the stored picture's width and height, without leading
zeros. Who a contact is stands in the file, in another folder's, or in Picasa's own `contacts.xml`. There is no
specification; this is what its files hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from lightface.errors import LightfaceError, MetadataError, MissingFileError
from lightface.files import read_regular
from lightface.images import is_photo_name, read_frame
from lightface.images.failures import describe_reason, quote
from lightface.metadata.reading import PhotoNames, read_photo_bytes
from lightface.metadata.regions import Box, to_upright
from lightface.metadata.xmp import parse_xml
from lightface.pipeline.named_faces import NamedFace

_INI_NAMES: Final = frozenset({".picasa.ini", "picasa.ini"})  # the second of its first versions; in any case
_CONTACTS_XML: Final = "contacts.xml"
_MOST_BYTES: Final = 1 << 26
_NOBODY: Final = "f" * 16
_FACE: Final = re.compile(r"rect64\(([0-9a-fA-F]{1,16})\),([0-9a-fA-F]+)")
_NO_FOLDER_OF_PHOTOS: Final = ".picasaoriginals"  # as they were before they were edited

_Ini = dict[str, dict[str, str]]  # values by key by section


def read_picasa(folder: Path, *, contacts: Path | None = None, recursive: bool = True) -> list[PhotoNames]:
    """The named faces of the photographs in a folder, and in those below it.

    `contacts` is Picasa's `contacts.xml`, which is sought in the folders too. A contact without a name counts as
    unnamed. A file that cannot be read, and a photograph that is gone, is told in `errors`. MetadataError where the
    `contacts` that were named cannot be read, or there is no folder.
    """
    if not folder.is_dir():
        raise MetadataError(f"{quote(folder)} is no folder; name the one with the photographs")
    people = {} if contacts is None else _read_contacts(contacts)
    found: list[PhotoNames] = []
    files: list[tuple[Path, _Ini]] = []
    for path in _find_files(folder, recursive=recursive):
        try:
            if path.name.lower() == _CONTACTS_XML:
                people = _read_contacts(path) | people
            else:
                ini = _read_ini(path)
                files.append((path, ini))
                people = _contacts_of(ini) | people
        except MetadataError as error:
            found.append(PhotoNames(path, errors=(error,)))
    for path, ini in files:
        own = people | _contacts_of(ini)  # of one contact, what is written beside the photograph counts
        for section, values in ini.items():
            faces = values.get("faces")
            if faces and is_photo_name(section) and os.path.basename(section) == section:
                found.append(_read_faces(path.parent / section, faces, own))
    return found


def _find_files(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and name != _NO_FOLDER_OF_PHOTOS)
        yield from (Path(parent, name) for name in sorted(files) if name.lower() in {*_INI_NAMES, _CONTACTS_XML})


def _read_faces(photo: Path, faces: str, people: Mapping[str, str]) -> PhotoNames:
    marked = [(box, people.get(contact.lower(), "")) for box, contact in _parse_faces(faces)]
    try:
        photo = _as_spelled(photo)
        frame = read_frame(read_photo_bytes(photo), name=str(photo))
    except LightfaceError as error:
        return PhotoNames(photo, errors=(error,))
    named = [NamedFace(name, to_upright(box, frame)) for box, name in marked if name]
    return PhotoNames(photo, tuple(named), len(marked) - len(named))


def _parse_faces(text: str) -> Iterator[tuple[Box, str]]:
    for digits, contact in _FACE.findall(text):
        digits = digits.zfill(16)
        left, top, right, bottom = (int(digits[at : at + 4], 16) / 65535 for at in range(0, 16, 4))
        if left < right and top < bottom:
            yield (left, top, right, bottom), contact


def _as_spelled(photo: Path) -> Path:
    """The photograph, whose name may differ in case: Picasa ran on systems that do not care."""
    if photo.exists():
        return photo
    folded = photo.name.casefold()
    same = [name for name in os.listdir(photo.parent) if name.casefold() == folded]
    if len(same) != 1:
        raise MissingFileError(f"{quote(photo)} does not exist, and Picasa names faces on it; it was moved or deleted")
    return photo.with_name(same[0])


def _contacts_of(ini: _Ini) -> dict[str, str]:
    """Names by contact; the older section `Contacts` has none, only accounts."""
    contacts = ini.get("Contacts2", {})
    names = {contact.lower(): value.partition(";")[0].strip() for contact, value in contacts.items()}
    return {contact: name for contact, name in names.items() if name and contact != _NOBODY}


def _read_contacts(path: Path) -> dict[str, str]:
    tree = parse_xml(_read(path), what=quote(path))
    people = {}
    for one in tree.iter("contact"):
        contact, name = one.get("id", "").lower(), (one.get("name") or one.get("display") or "").strip()
        if contact and name:
            people[contact] = name
    return people


def _read_ini(path: Path) -> _Ini:
    """Not by configparser: to that, an indented line belongs to the one before, as it does not here."""
    data = _read(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # of its first versions, on Windows
    ini: _Ini = {}
    section: dict[str, str] | None = None
    for line in map(str.strip, text.split("\n")):
        if line.startswith("[") and line.endswith("]"):
            section = ini.setdefault(line[1:-1], {})
        elif section is not None and "=" in line:
            key, _, value = line.partition("=")
            section[key.strip()] = value.strip()
    if not ini and text.strip():
        raise MetadataError(f"{quote(path)} is no file of Picasa's; it is left out")
    return ini


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise MetadataError(f"{quote(path)} has more than {_MOST_BYTES / 1e6:.0f} MB, and is no file of Picasa's")
        return read_regular(path)
    except (OSError, ValueError) as error:
        raise MetadataError(f"cannot read {quote(path)} ({describe_reason(error)}); check it") from error
