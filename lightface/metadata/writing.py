"""Write names into a photograph's metadata, into a sidecar or the file itself, and take them out again."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from lightface.errors import ImageError, MetadataError, OutputError
from lightface.files import make_folder, write_private
from lightface.images import StoredFrame, read_frame
from lightface.images.failures import describe_reason, quote
from lightface.images.jpeg import is_jpeg
from lightface.metadata.jpeg_packets import read_packets, replace_packet
from lightface.metadata.reading import read_embedded, read_photo_bytes, read_sidecar, sidecar_of
from lightface.metadata.regions import (
    KEYWORDS,
    MARKS,
    PROPERTIES,
    Outcome,
    Region,
    read_regions,
    to_stored,
    write_regions,
)
from lightface.metadata.xmp import XmpPacket
from lightface.pipeline.named_faces import NamedFace

_log = logging.getLogger(__name__)

_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


class XmpPlace(StrEnum):
    """Where names are written."""

    SIDECAR = "sidecar"  # photo.jpg.xmp
    EMBED = "embed"  # the photograph's own file


@dataclass(frozen=True, slots=True)
class WrittenNames:
    """What became of the names of one photograph."""

    photo: Path
    file: Path  # the sidecar, or the photograph
    is_changed: bool
    names: tuple[str, ...] = ()  # who was to be written and is there now
    contradicted: tuple[tuple[str, str], ...] = ()  # names not written, each with the one that somebody else gave


def write_names(
    photo: Path, faces: Sequence[NamedFace], *, place: XmpPlace = XmpPlace.SIDECAR, sidecar: Path | None = None
) -> WrittenNames:
    """Make the names that lightface has in a photograph's XMP be these, as regions and keywords; all else stays.

    A person whose face somebody else has given another name is not written, see `WrittenNames.contradicted`. What is
    there already is not written again: the file is not touched. `sidecar` is where it lies, by default beside the
    photograph. A new one has the mode 0600, and what the photograph's own XMP says in the same properties, since
    programs look there instead. A photograph's file keeps its pixels, time stamps and mode, and is exchanged in one
    step.

    Raises MetadataError where the XMP is damaged or cannot hold the names, ImageError where the photograph cannot be
    read, OutputError where the place cannot be written; the file is then as it was.
    """
    for one in faces:
        if _NOT_IN_XML.search(one.name):
            raise MetadataError(f"the name {one.name!a} has characters that XMP cannot hold; rename the person")
    file = photo if place is XmpPlace.EMBED else sidecar or sidecar_of(photo)
    try:
        data = read_photo_bytes(photo) if faces or place is XmpPlace.EMBED else None
        frame = None if data is None else read_frame(data, name=str(photo))
        wanted = [Region(one.name, to_stored(one.box_px, frame)) for one in faces if frame is not None]
        if place is XmpPlace.EMBED:
            assert data is not None
            outcome = _embed(photo, data, wanted, frame)
        else:
            outcome = _write_sidecar(photo, data, file, wanted, frame)
    except MetadataError as error:
        raise MetadataError(f"{quote(file)} is left as it is: {error}") from error
    except OSError as error:
        raise OutputError(
            f"cannot write {quote(file)} ({describe_reason(error)}); write into another folder with `sidecars`"
        ) from error
    contradicted = tuple(dict.fromkeys(outcome.contradicted))
    names = dict.fromkeys(one.name for one in faces if one.name not in dict(contradicted))
    return WrittenNames(photo, file, outcome.is_changed, tuple(names), contradicted)


def remove_names(photo: Path, *, place: XmpPlace = XmpPlace.SIDECAR, sidecar: Path | None = None) -> WrittenNames:
    """Take out what `write_names` has put there; a sidecar and a packet that it has made are gone then.

    What somebody has changed since is theirs and stays. Raises as `write_names`; the photograph of a sidecar need not
    be there any more.
    """
    return write_names(photo, [], place=place, sidecar=sidecar)


def _write_sidecar(
    photo: Path, data: bytes | None, file: Path, wanted: Sequence[Region], frame: StoredFrame | None
) -> Outcome:
    is_there = os.path.lexists(file)
    if not is_there and not wanted:
        return Outcome()
    embedded = _read_embedded_or_none(photo, data)
    others = []
    copied: Sequence[str] = KEYWORDS
    if embedded is not None and frame is not None:
        with suppress(MetadataError):  # regions of a picture of another shape, as of one that was cut since
            others = [one for one in read_regions(embedded, frame) if not one.is_own]
            copied = PROPERTIES
    packet = read_sidecar(file) if is_there else _new_sidecar(embedded, copied)
    outcome = write_regions(packet, wanted, frame, others=others)
    if not outcome.is_changed:
        return outcome
    if not wanted and _is_bare(packet, embedded):
        os.unlink(file)
        return outcome
    make_folder(file.parent)
    written = packet.to_bytes()
    mode = stat.S_IMODE(os.stat(file).st_mode) if is_there else None
    with write_private(file) as new:
        new.write(written)
        if mode is not None:
            os.chmod(new.name, mode)
    return outcome


def _new_sidecar(embedded: XmpPacket | None, copied: Sequence[str]) -> XmpPacket:
    packet = XmpPacket()
    if embedded is not None:
        packet.copy_from(embedded, (*copied, *MARKS))
    return packet


def _is_bare(packet: XmpPacket, embedded: XmpPacket | None) -> bool:
    """Whether a sidecar says no more than a new one would."""
    for copied in (PROPERTIES, KEYWORDS):
        new = _new_sidecar(embedded, copied)
        write_regions(new, [], None)
        if packet.says_the_same(new):
            return True
    return False


def _read_embedded_or_none(photo: Path, data: bytes | None) -> XmpPacket | None:
    """The photograph's own packet, for a sidecar: which is written all the same where that packet is damaged."""
    try:
        if data is None:
            data = read_photo_bytes(photo)
        return read_embedded(data, name=str(photo)).packet
    except MetadataError as error:
        _log.warning("%s: %s", quote(photo), error)
    except ImageError:  # it is gone, and its sidecar is still there
        pass
    return None


def _embed(photo: Path, data: bytes, wanted: Sequence[Region], frame: StoredFrame | None) -> Outcome:
    if not is_jpeg(data):
        raise MetadataError("only in a JPEG can XMP be exchanged without touching the pixels; write a sidecar")
    before = os.stat(photo)
    found = read_packets(data)
    packet = XmpPacket(found.packet)
    if found.extended is not None:
        extended = XmpPacket(found.extended)
        spread = [name for name in (*PROPERTIES, *MARKS) if extended.find(name) is not None]
        if spread:
            raise MetadataError(f"its {spread[0]} lies in a second packet; write a sidecar")
    outcome = write_regions(packet, wanted, frame)
    if not outcome.is_changed:
        return outcome
    if not stat.S_IMODE(before.st_mode) & 0o222:
        raise MetadataError("the file is write-protected; allow writing, or write a sidecar")
    new = None if not wanted and packet.says_the_same(XmpPacket()) else packet.to_bytes()
    _exchange(photo, replace_packet(data, new), before)
    return outcome


def _exchange(photo: Path, data: bytes, before: os.stat_result) -> None:
    """Put new bytes in the place of a file, with its owner, mode and times. OSError where another program was there."""
    with write_private(photo) as file:
        file.write(data)
        file.flush()  # or the time would be set before the last bytes are written
        if hasattr(os, "chown"):
            with suppress(PermissionError):  # somebody else's, in a folder of one's own
                os.chown(file.name, before.st_uid, before.st_gid)
        shutil.copystat(photo, file.name)
        os.utime(file.name, ns=(before.st_atime_ns, before.st_mtime_ns))
        now = os.stat(photo)
        if (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size):
            raise OSError(errno.EBUSY, "another program has just changed it", str(photo))
