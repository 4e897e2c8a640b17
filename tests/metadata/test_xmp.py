"""XMP packets: hostile and damaged ones are refused, others keep what they hold; JPEGs keep every other byte."""

from __future__ import annotations

import hashlib
import time
from io import BytesIO
from pathlib import Path

import pytest
from pictures import PACKET, packet_of_digikam, paint_photo
from PIL import Image

from lightface.errors import MetadataError
from lightface.metadata.jpeg_packets import EXTENDED_HEADER, MOST_PACKET_BYTES, read_packets, replace_packet
from lightface.metadata.xmp import MOST_BYTES, XmpPacket, add_array, add_item, field_of, items_of, text_of

LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (letter, b"&%c;" % (letter - 1) * 10) for letter in b"bcdefghij"
)
DAMAGED = {
    "a billion laughs": LAUGHS + b"]><x>&j;</x>",
    "another file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "a document type in UTF-16": ("<!DOCTYPE x [<!ENTITY a 'ha'>]>" + packet_of_digikam().decode()).encode("utf-16"),
    "more than 16 MiB": b"<x>" + b" " * MOST_BYTES + b"</x>",
    "cut off": packet_of_digikam()[:900],
    "of no encoding": packet_of_digikam().replace(b"holiday", b"holi\xe4day"),
    "of an unknown encoding": b"<?xml version='1.0' encoding='none-such'?>" + packet_of_digikam(),
    "nothing": b"",
    "zeros": b"\0" * 100,
    "no XML": b"\x89PNG\r\n",
    "XML of another kind": b"<html/>",
    "very deep": b"<a>" * 100_000,
    "two at once": packet_of_digikam() + packet_of_digikam(),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_whole_xmp_is_refused_soon(data: bytes) -> None:
    start_s = time.monotonic()
    with pytest.raises(MetadataError, match="its XMP "):
        XmpPacket(data)
    assert time.monotonic() - start_s < 5


def test_what_is_read_is_written_back() -> None:
    data = packet_of_digikam()
    packet = XmpPacket(data)
    assert XmpPacket(packet.to_bytes()).canonical() == XmpPacket(data).canonical()
    assert b"<!-- tags -->" in packet.to_bytes()
    # Before and after the root, it is as it was to the last byte.
    start, end = data.index(b"<x:xmpmeta"), data.index(b"</x:xmpmeta>")
    assert packet.to_bytes().startswith(data[:start]) and packet.to_bytes().endswith(data[end:])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_stay(encoding: str) -> None:
    packet = XmpPacket(PACKET.replace("\ufeff", "").format(descriptions="<!-- é -->").encode(encoding))
    array = add_array(packet.add("dc:subject"))
    add_item(array).text = "é"
    written = packet.to_bytes()
    assert "é" in written.decode(encoding)
    found = XmpPacket(written).find("dc:subject")
    assert found is not None and [text_of(item) for item in items_of(found)] == ["é"]


def test_a_property_that_is_there_twice_is_not_believed() -> None:
    subject = '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject/></rdf:Description>'
    packet = XmpPacket(PACKET.format(descriptions=subject * 2).encode())
    with pytest.raises(MetadataError, match="dc:subject is there twice"):
        packet.find("dc:subject")


def test_structures_in_all_their_forms() -> None:
    packet = XmpPacket(packet_of_digikam())
    regions = packet.find("mwg-rs:Regions")
    assert regions is not None
    size = field_of(regions, "mwg-rs:AppliedToDimensions")
    assert size is not None and text_of(field_of(size, "stDim:w")) == "400"
    assert field_of(regions, "mwg-rs:Name") is None


# --- in a JPEG --------------------------------------------------------------------------------------


@pytest.fixture
def jpeg(tmp_path: Path) -> bytes:
    return paint_photo(tmp_path / "photo.jpg").read_bytes()


def segments_with(content: bytes) -> bytes:
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content


def test_every_other_byte_of_a_jpeg_stays(jpeg: bytes) -> None:
    written = replace_packet(jpeg, b"<first/>")
    assert read_packets(written).packet == b"<first/>"
    assert len(written) == len(jpeg) + 8 + 4 + 29
    assert b"Exif" in written[: written.index(b"<first/>")]  # some programs look for it at the beginning only
    assert Image.open(BytesIO(written)).tobytes() == Image.open(BytesIO(jpeg)).tobytes()
    again = replace_packet(written, b"<second, which is longer/>")
    assert replace_packet(again, None) == replace_packet(written, None) == jpeg


def test_a_packet_that_does_not_fit_is_refused(jpeg: bytes) -> None:
    assert len(replace_packet(jpeg, b" " * MOST_PACKET_BYTES)) > MOST_PACKET_BYTES
    with pytest.raises(MetadataError, match=r"65,505 bytes.* write a sidecar"):
        replace_packet(jpeg, b" " * (MOST_PACKET_BYTES + 1))


def test_two_packets_are_not_touched(jpeg: bytes) -> None:
    twice = replace_packet(jpeg, b"<a/>")
    twice = jpeg[:2] + segments_with(b"http://ns.adobe.com/xap/1.0/\0<b/>") + twice[2:]
    for change in (lambda: read_packets(twice), lambda: replace_packet(twice, b"<c/>")):
        with pytest.raises(MetadataError, match="two packets"):
            change()


@pytest.mark.parametrize("length", [2, 3, 10, 100])
def test_a_jpeg_that_is_cut_off_is_refused(jpeg: bytes, length: int) -> None:
    with pytest.raises(MetadataError, match="segments are damaged"):
        read_packets(jpeg[:length])


def test_the_second_packet_of_a_large_one_is_read_and_stays(jpeg: bytes) -> None:
    whole = b"<x>" + b"a" * 70_000 + b"</x>"
    digest = hashlib.md5(whole).hexdigest().upper().encode()
    note = b'<x xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="%s"/>' % digest
    parts = b"".join(
        segments_with(
            EXTENDED_HEADER + digest + len(whole).to_bytes(4) + start.to_bytes(4) + whole[start : start + 40_000]
        )
        for start in (40_000, 0)  # in any order
    )
    large = replace_packet(jpeg[:2] + parts + jpeg[2:], note)
    assert read_packets(large).extended == whole
    changed = replace_packet(large, note + b" ")
    assert read_packets(changed).extended == whole
    first = segments_with(EXTENDED_HEADER + digest + len(whole).to_bytes(4) + (0).to_bytes(4) + whole[:40_000])
    for missing in (parts.replace(first, b""), first):
        with pytest.raises(MetadataError, match="a part of its extended XMP is missing"):
            read_packets(large.replace(missing, b""))


def test_pictures_behind_the_first_stay_where_their_index_says(jpeg: bytes) -> None:
    index = b"\xff\xe2\x00\x08MPF\0xx"
    several = jpeg[:2] + index + jpeg[2:]
    assert replace_packet(several, b"<a/>").index(b"<a/>") < replace_packet(several, b"<a/>").index(index)
    behind = jpeg[:2] + index + segments_with(b"http://ns.adobe.com/xap/1.0/\0<b/>") + jpeg[2:]
    assert replace_packet(behind, b"<c/>").index(index) == 2  # of the same length
    with pytest.raises(MetadataError, match="several pictures"):
        replace_packet(behind, b"<longer/>")
