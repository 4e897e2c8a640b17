"""The XMP packet of a JPEG: read, exchanged, taken out, with every other byte of the file as it was.

There is no library of a free licence that does this without loss: Pillow decodes the pixels and encodes them anew,
exiv2's bindings are GPL, Exempi is no Python package that a computer without a compiler can install. A JPEG is a row of
segments before its pixels (ITU-T T.81, annex B), and a packet is one of them (XMP specification, part 3, 1.1.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from lightface.errors import MetadataError

STANDARD_HEADER: Final = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_HEADER: Final = b"http://ns.adobe.com/xmp/extension/\0"
MOST_PACKET_BYTES: Final = 65_535 - 2 - len(STANDARD_HEADER)  # that one segment holds
_MOST_EXTENDED_BYTES: Final = 1 << 24

_APP0, _APP1, _APP2 = 0xE0, 0xE1, 0xE2
_START_OF_SCAN: Final = 0xDA
_END: Final = 0xD9
_EXIF: Final = b"Exif\0\0"
_SEVERAL_PICTURES: Final = b"MPF\0"  # whose places count from this segment on
_NOTE: Final = re.compile(rb"HasExtendedXMP\s*(?:=\s*[\"']|>)\s*([0-9A-Fa-f]{32})")


@dataclass(frozen=True, slots=True)
class JpegPackets:
    """What a JPEG holds of XMP."""

    packet: bytes | None  # the standard one
    extended: bytes | None  # what did not fit into it, and is a packet of its own


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    start: int  # of the marker, in the file
    end: int
    content_start: int

    def begins(self, data: bytes, header: bytes) -> bool:
        return data.startswith(header, self.content_start, self.end)


def read_packets(data: bytes) -> JpegPackets:
    """The packets of the bytes of a JPEG. MetadataError for a damaged row of segments or two standard packets."""
    segments = list(_segments(data))
    standard = _find_packet(data, segments)
    packet = None if standard is None else data[standard.content_start + len(STANDARD_HEADER) : standard.end]
    found = None if packet is None else _NOTE.search(packet)
    extended = None if found is None else _join_extended(data, segments, found[1].upper())
    return JpegPackets(packet, extended)


def replace_packet(data: bytes, packet: bytes | None) -> bytes:
    """The bytes of a JPEG with another standard packet, or without one; all else is byte for byte as it was.

    A new one comes after the EXIF block. MetadataError where the packet does not fit, or pictures behind the first
    would be lost, and as `read_packets`.
    """
    if packet is not None and len(packet) > MOST_PACKET_BYTES:
        raise MetadataError(
            f"its XMP would have {len(packet):,} bytes, more than the {MOST_PACKET_BYTES:,} that a JPEG takes; "
            "write a sidecar"
        )
    segments = list(_segments(data))
    old = _find_packet(data, segments)
    if old is None:
        leading = list(takewhile(lambda one: one.marker == _APP0 or one.begins(data, _EXIF), segments))
        start = end = leading[-1].end if leading else 2
    else:
        start, end = old.start, old.end
    new = b"" if packet is None else _wrap(STANDARD_HEADER + packet)
    is_behind = any(
        one.marker == _APP2 and one.begins(data, _SEVERAL_PICTURES) and one.start < start for one in segments
    )
    if is_behind and len(new) != end - start:
        raise MetadataError("it holds several pictures, whose places would be wrong then; write a sidecar")
    return data[:start] + new + data[end:]


def _wrap(content: bytes) -> bytes:
    return bytes([0xFF, _APP1]) + (len(content) + 2).to_bytes(2) + content


def _find_packet(data: bytes, segments: list[_Segment]) -> _Segment | None:
    found = [one for one in segments if one.marker == _APP1 and one.begins(data, STANDARD_HEADER)]
    if len(found) > 1:
        raise MetadataError("it holds two packets of XMP, and nobody can tell which one counts; take out one of them")
    return found[0] if found else None


def _join_extended(data: bytes, segments: list[_Segment], digest: bytes) -> bytes:
    """The parts of the extended packet of that MD5, by their places in it."""
    parts: dict[int, bytes] = {}
    length = 0
    for one in segments:
        if one.marker == _APP1 and one.begins(data, EXTENDED_HEADER):
            content = data[one.content_start + len(EXTENDED_HEADER) : one.end]
            if content[:32].upper() == digest and len(content) >= 40:
                length = int.from_bytes(content[32:36])
                parts[int.from_bytes(content[36:40])] = content[40:]
    whole = bytearray()
    for start in sorted(parts):
        if start != len(whole) or len(whole) > _MOST_EXTENDED_BYTES:
            break
        whole += parts[start]
    if not whole or len(whole) != length:
        raise MetadataError("a part of its extended XMP is missing; mend it in the program that wrote it")
    return bytes(whole)


def _segments(data: bytes) -> Iterator[_Segment]:
    """Those before the pixels. MetadataError where the row is broken."""
    place = 2
    while True:
        start = place
        while data[place : place + 2] == b"\xff\xff":  # bytes that fill
            place += 1
        marker = data[place + 1] if data[place : place + 1] == b"\xff" and place + 1 < len(data) else None
        if marker in (_START_OF_SCAN, _END):
            return
        length = int.from_bytes(data[place + 2 : place + 4])
        if marker is None or marker < 0xC0 or length < 2 or place + 2 + length > len(data):
            raise MetadataError("its segments are damaged; save it again from a photo viewer, or write a sidecar")
        end = place + 2 + length
        yield _Segment(marker, start, end, place + 4)
        place = end
