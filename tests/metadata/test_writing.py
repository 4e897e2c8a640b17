"""Names into photographs and out again: nothing of anybody else's is lost, and exiftool reads what is there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pictures import (
    BOB_STORED_PX,
    HEIGHT,
    ORIENTATIONS,
    PACKET,
    WIDTH,
    frame_of,
    packet_of_digikam,
    paint_photo,
)
from PIL import ExifTags, Image

from lightface.errors import MetadataError, MissingFileError, OutputError
from lightface.images import load_photo, read_frame
from lightface.metadata import writing
from lightface.metadata.jpeg_packets import EXTENDED_HEADER, read_packets, replace_packet
from lightface.metadata.reading import read_names
from lightface.metadata.regions import Region, read_regions, to_stored, to_upright, write_regions
from lightface.metadata.writing import XmpPlace, remove_names, write_names
from lightface.metadata.xmp import XmpPacket, items_of, text_of
from lightface.pipeline.named_faces import NamedFace
from lightface.records import BoxPx

HOSTILE_NAMES = [
    'Ada, "Countess" of L\'ovelace',
    "<b>Ann & Bo</b> ]]> {a|b}",
    "שלום עולם",
    "\u202eLeft to right",
    "-tag=x; rm *",
    "Zoë 🦊",
]
ADA = NamedFace("Ada", (200.0, 150.0, 280.0, 240.0))  # of an upright picture
PLACES = list(XmpPlace)


def keywords_in(packet: XmpPacket, name: str = "dc:subject") -> list[str]:
    found = packet.find(name)
    return [] if found is None else [text_of(item) for item in items_of(found)]


def packet_in(photo: Path, place: XmpPlace) -> XmpPacket:
    if place is XmpPlace.SIDECAR:
        return XmpPacket(photo.with_name(f"{photo.name}.xmp").read_bytes())
    return XmpPacket(read_packets(photo.read_bytes()).packet)


def state_of(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, stat.S_IMODE(path.stat().st_mode))
        for path in folder.iterdir()
    }


# --- orientations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_regions_are_where_the_pixels_are(suffix: str, orientation: int, tmp_path: Path) -> None:
    """A white rectangle that is found in the upright photograph is marked where it lies in the stored one."""
    stored = Image.new("RGB", (WIDTH, HEIGHT), (90, 80, 70))
    left, top, right, bottom = map(int, BOB_STORED_PX)
    stored.paste((255, 255, 255), (left, top, right, bottom))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photo = tmp_path / f"photo{suffix}"
    if suffix == ".heic":  # which turns the picture itself, too
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(stored).save(photo, quality=95, exif=exif.tobytes())
    else:
        stored.save(photo, exif=exif, quality=95)
    upright = load_photo(photo).image_rgb
    frame = read_frame(photo.read_bytes(), name=str(photo))
    assert frame.upright_size_px == upright.shape[1::-1]
    white = upright.min(axis=2) > 170
    rows, columns = white.any(axis=1).nonzero()[0], white.any(axis=0).nonzero()[0]
    box_px: BoxPx = (float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0)
    marked = [edge * side for edge, side in zip(to_stored(box_px, frame), (WIDTH, HEIGHT) * 2, strict=True)]
    assert marked == pytest.approx(BOB_STORED_PX, abs=1)
    assert to_upright(to_stored(box_px, frame), frame) == pytest.approx(box_px)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_is_written_is_read(place: XmpPlace, orientation: int, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", orientation=orientation)
    faces = [NamedFace(name, (10.0 + 40 * at, 20.0, 45.0 + 40 * at, 70.0)) for at, name in enumerate(HOSTILE_NAMES)]
    assert write_names(photo, faces, place=place).names == tuple(HOSTILE_NAMES)
    found = read_names(photo)
    assert not found.errors and [one.name for one in found.faces] == HOSTILE_NAMES
    for face, one in zip(faces, found.faces, strict=True):
        assert one.box_px == pytest.approx(face.box_px, abs=0.01) and one.is_own
    packet = packet_in(photo, place)
    assert keywords_in(packet) == keywords_in(packet, "Iptc4xmpExt:PersonInImage") == HOSTILE_NAMES


# --- what is there already --------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_what_others_wrote_stays_and_what_is_ours_goes_again(place: XmpPlace, tmp_path: Path) -> None:
    theirs = XmpPacket(packet_of_digikam()).canonical()
    photo = paint_photo(tmp_path / "photo.jpg")
    if place is XmpPlace.EMBED:
        photo.write_bytes(replace_packet(photo.read_bytes(), packet_of_digikam()))
    else:
        (tmp_path / "photo.jpg.xmp").write_bytes(packet_of_digikam())
    assert write_names(photo, [ADA], place=place).is_changed
    packet = packet_in(photo, place)
    text = packet.to_bytes()
    for kept in (b"xmp:Rating", b"People/Bob", b"<!-- tags -->", b"XMP Core 4.4.0-Exiv2"):
        assert kept in text
    assert keywords_in(packet) == ["Bob", "holiday", "Ada"]
    regions = read_regions(packet, frame_of(1))
    assert [(one.name, one.is_own) for one in regions] == [("Bob", False), ("Ada", True)]
    assert remove_names(photo, place=place).is_changed
    left = packet_in(photo, place)
    assert left.says_the_same(XmpPacket(theirs))
    assert not remove_names(photo, place=place).is_changed


@pytest.mark.parametrize("place", PLACES)
def test_a_second_time_nothing_is_touched(place: XmpPlace, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", orientation=6)
    faces = [ADA, NamedFace("Zoë", (33.3333, 44.4444, 77.7777, 99.9999))]
    assert write_names(photo, faces, place=place).is_changed
    before = state_of(tmp_path)
    assert not write_names(photo, faces, place=place).is_changed
    # From batch to batch, boxes differ by less than a pixel.
    nearly = [NamedFace(one.name, tuple(edge + 0.1 for edge in one.box_px)) for one in faces]  # type: ignore[arg-type]
    assert not write_names(photo, nearly, place=place).is_changed
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("place", PLACES)
def test_removal_leaves_what_was_before_the_first_writing(place: XmpPlace, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    os.utime(photo, ns=(10**18, 10**18 + 123_456_789))
    photo.chmod(0o640)
    before = state_of(tmp_path)
    write_names(photo, [ADA], place=place)
    assert state_of(tmp_path) != before
    remove_names(photo, place=place)
    assert state_of(tmp_path) == before  # the sidecar is gone, the JPEG has its bytes, mode and time


def test_a_file_keeps_pixels_mode_and_times(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    os.utime(photo, ns=(10**18 + 1, 10**18 + 123_456_789))
    photo.chmod(0o644)
    pixels = load_photo(photo).image_rgb
    write_names(photo, [ADA], place=XmpPlace.EMBED)
    status = photo.stat()
    assert status.st_mtime_ns == 10**18 + 123_456_789 and stat.S_IMODE(status.st_mode) == 0o644
    assert (load_photo(photo).image_rgb == pixels).all()
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_sidecar_is_its_owners_and_an_older_one_keeps_its_mode(tmp_path: Path) -> None:
    photo, sidecar = paint_photo(tmp_path / "photo.jpg"), tmp_path / "photo.jpg.xmp"
    write_names(photo, [ADA])
    assert stat.S_IMODE(sidecar.stat().st_mode) == 0o600
    sidecar.chmod(0o664)
    write_names(photo, [])
    write_names(photo, [ADA])
    sidecar.chmod(0o664)
    write_names(photo, [ADA, NamedFace("Zoë", (10, 10, 50, 50))])
    assert stat.S_IMODE(sidecar.stat().st_mode) == 0o664


def test_what_is_found_no_more_goes(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    write_names(photo, [ADA, NamedFace("Zoë", (10, 10, 50, 50))])
    write_names(photo, [NamedFace("Zoë", (10, 10, 50, 50))])
    packet = packet_in(photo, XmpPlace.SIDECAR)
    assert [one.name for one in read_regions(packet, frame_of(1))] == ["Zoë"] == keywords_in(packet)
    write_names(photo, [])
    assert not (tmp_path / "photo.jpg.xmp").exists()


def test_nobody_to_write_makes_no_sidecar(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    assert not write_names(photo, []).is_changed
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


# --- who else has named a face ----------------------------------------------------------------------


def test_a_name_that_somebody_gave_is_not_given_again(tmp_path: Path) -> None:
    photo, sidecar = paint_photo(tmp_path / "photo.jpg"), tmp_path / "photo.jpg.xmp"
    sidecar.write_bytes(packet_of_digikam())
    written = write_names(photo, [NamedFace("Bob", (64.0, 36.0, 140.0, 118.0))])
    assert written.names == ("Bob",) and not written.contradicted
    packet = packet_in(photo, XmpPlace.SIDECAR)
    assert [(one.name, one.is_own) for one in read_regions(packet, frame_of(1))] == [("Bob", False)]
    assert keywords_in(packet) == ["Bob", "holiday"]
    assert keywords_in(packet, "Iptc4xmpExt:PersonInImage") == ["Bob"]  # which digiKam did not write
    remove_names(photo)
    assert packet_in(photo, XmpPlace.SIDECAR).says_the_same(XmpPacket(packet_of_digikam()))


@pytest.mark.parametrize("box_px", [(30.0, 0.0, 170.0, 150.0), (200.0, 150.0, 280.0, 240.0)], ids=["wide", "elsewhere"])
def test_who_is_marked_by_somebody_gets_no_second_region(box_px: BoxPx, tmp_path: Path) -> None:
    photo, sidecar = paint_photo(tmp_path / "photo.jpg"), tmp_path / "photo.jpg.xmp"
    sidecar.write_bytes(packet_of_digikam())
    write_names(photo, [NamedFace("Bob", box_px)])
    assert len(read_regions(packet_in(photo, XmpPlace.SIDECAR), frame_of(1))) == 1


@pytest.mark.parametrize("where", ["sidecar", "file", "file, beside a sidecar of another program"])
def test_a_face_that_somebody_named_otherwise_is_told_and_left(where: str, tmp_path: Path) -> None:
    photo, sidecar = paint_photo(tmp_path / "photo.jpg"), tmp_path / "photo.jpg.xmp"
    if where == "sidecar":
        sidecar.write_bytes(packet_of_digikam())
    else:
        photo.write_bytes(replace_packet(photo.read_bytes(), packet_of_digikam()))
    if "beside" in where:
        sidecar.write_text(PACKET.format(descriptions=""))
    before = state_of(tmp_path)
    written = write_names(photo, [NamedFace("Robert", (64.0, 36.0, 140.0, 118.0))])
    assert written.contradicted == (("Robert", "Bob"),) and written.names == () and not written.is_changed
    assert state_of(tmp_path) == before


def test_what_somebody_has_changed_since_is_theirs(tmp_path: Path) -> None:
    photo, sidecar = paint_photo(tmp_path / "photo.jpg"), tmp_path / "photo.jpg.xmp"
    write_names(photo, [ADA, NamedFace("Zoë", (10, 10, 50, 50))])
    text = sidecar.read_text(encoding="utf-8")
    for tag in ("mwg-rs:Name", "MPReg:PersonDisplayName"):
        assert f"<{tag}>Ada</{tag}>" in text
        text = text.replace(f"<{tag}>Ada</{tag}>", f"<{tag}>Ada King</{tag}>")
    sidecar.write_text(text, encoding="utf-8")
    assert write_names(photo, [ADA]).contradicted == (("Ada", "Ada King"),)
    remove_names(photo)
    packet = packet_in(photo, XmpPlace.SIDECAR)
    assert [one.name for one in read_regions(packet, frame_of(1))] == ["Ada King"]
    assert b"<lightface:" not in packet.to_bytes()


def test_a_new_sidecar_has_what_the_file_says_in_the_same_lists(tmp_path: Path) -> None:
    """Programs that find a sidecar look at its keywords and regions instead of those in the file."""
    photo = paint_photo(tmp_path / "photo.jpg")
    photo.write_bytes(replace_packet(photo.read_bytes(), packet_of_digikam()))
    before = state_of(tmp_path)
    write_names(photo, [ADA])
    packet = packet_in(photo, XmpPlace.SIDECAR)
    assert keywords_in(packet) == ["Bob", "holiday", "Ada"]
    assert [one.name for one in read_regions(packet, frame_of(1))] == ["Bob", "Ada"]
    remove_names(photo)
    assert state_of(tmp_path) == before


# --- what is left alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"<x", packet_of_digikam()[:700], b"\xff" * 99], ids=["empty", "x", "cut", "ff"])
def test_a_damaged_sidecar_is_left_alone_and_told(data: bytes, tmp_path: Path) -> None:
    photo, sidecar = paint_photo(tmp_path / "photo.jpg"), tmp_path / "photo.jpg.xmp"
    sidecar.write_bytes(data)
    before = state_of(tmp_path)
    for faces in ([ADA], []):
        with pytest.raises(MetadataError, match=r"photo\.jpg\.xmp' is left as it is: its XMP is damaged"):
            write_names(photo, faces)
    assert state_of(tmp_path) == before


def test_damaged_xmp_in_a_file_is_left_alone_and_hinders_no_sidecar(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    photo.write_bytes(replace_packet(photo.read_bytes(), packet_of_digikam()[:700]))
    before = state_of(tmp_path)
    with pytest.raises(MetadataError, match=r"photo\.jpg' is left as it is: its XMP is damaged"):
        write_names(photo, [ADA], place=XmpPlace.EMBED)
    assert state_of(tmp_path) == before
    assert write_names(photo, [ADA]).is_changed
    assert "photo.jpg" in caplog.text and "damaged" in caplog.text
    assert photo.read_bytes() == before["photo.jpg"][0]


def test_a_new_sidecar_takes_no_regions_over_that_were_of_another_picture(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    photo.write_bytes(replace_packet(photo.read_bytes(), packet_of_digikam(1000, 1000)))
    before = state_of(tmp_path)
    with pytest.raises(MetadataError, match="cut or turned since"):
        write_names(photo, [ADA], place=XmpPlace.EMBED)
    write_names(photo, [ADA])
    packet = packet_in(photo, XmpPlace.SIDECAR)
    assert [one.name for one in read_regions(packet, frame_of(1))] == ["Ada"]
    assert keywords_in(packet) == ["Bob", "holiday", "Ada"]
    remove_names(photo)
    assert state_of(tmp_path) == before


def test_names_in_the_second_packet_of_a_large_xmp_are_read_and_not_added_to(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    extended = packet_of_digikam()
    digest = hashlib.md5(extended).hexdigest().upper().encode()
    content = EXTENDED_HEADER + digest + len(extended).to_bytes(4) + bytes(4) + extended
    note = f'<rdf:Description xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="{digest.decode()}"/>'
    data = replace_packet(photo.read_bytes(), PACKET.format(descriptions=note).encode())
    photo.write_bytes(data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content + data[2:])
    assert [one.name for one in read_names(photo).faces] == ["Bob"]
    before = state_of(tmp_path)
    with pytest.raises(MetadataError, match="its mwg-rs:Regions lies in a second packet"):
        write_names(photo, [ADA], place=XmpPlace.EMBED)
    assert state_of(tmp_path) == before


def test_a_file_that_another_program_changes_meanwhile_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")

    def replace_late(data: bytes, packet: bytes | None) -> bytes:
        photo.write_bytes(data + b"theirs")
        return replace_packet(data, packet)

    monkeypatch.setattr(writing, "replace_packet", replace_late)
    with pytest.raises(OutputError, match="another program has just changed it"):
        write_names(photo, [ADA], place=XmpPlace.EMBED)
    assert photo.read_bytes().endswith(b"theirs") and len(list(tmp_path.iterdir())) == 1


def test_regions_of_a_picture_that_was_cut_are_not_added_to(tmp_path: Path) -> None:
    photo, sidecar = paint_photo(tmp_path / "photo.jpg"), tmp_path / "photo.jpg.xmp"
    sidecar.write_bytes(packet_of_digikam(500, 300))
    with pytest.raises(MetadataError, match="of a picture of 500x300 pixels, and it has 400x300"):
        write_names(photo, [ADA])
    sidecar.write_bytes(packet_of_digikam(WIDTH * 2, HEIGHT * 2))  # made smaller since
    assert write_names(photo, [ADA]).is_changed


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_other_kinds_of_files_are_not_touched(suffix: str, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / f"photo{suffix}")
    before = state_of(tmp_path)
    with pytest.raises(MetadataError, match="only in a JPEG"):
        write_names(photo, [ADA], place=XmpPlace.EMBED)
    assert state_of(tmp_path) == before
    assert write_names(photo, [ADA]).file == tmp_path / f"photo{suffix}.xmp"
    assert read_names(photo).faces == (ADA,)


def test_a_write_protected_file_stays_so(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    photo.chmod(0o444)
    with pytest.raises(MetadataError, match="write-protected"):
        write_names(photo, [ADA], place=XmpPlace.EMBED)


def test_a_photograph_that_is_gone(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    write_names(photo, [ADA])
    photo.unlink()
    with pytest.raises(MissingFileError, match=r"photo\.jpg"):
        write_names(photo, [ADA])
    assert remove_names(photo).is_changed and not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg.xmp").mkdir()
    with pytest.raises((OutputError, MetadataError), match=r"photo\.jpg\.xmp"):
        write_names(photo, [ADA])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        write_names(photo, [ADA], sidecar=tmp_path / "file" / "photo.jpg.xmp")


def test_a_name_that_xml_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="characters that XMP cannot hold"):
        write_names(paint_photo(tmp_path / "photo.jpg"), [NamedFace("Ada\ufffe", ADA.box_px)])


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "originals").mkdir()
    photo = paint_photo(tmp_path / "originals" / "photo.jpg")
    (tmp_path / "link.jpg").symlink_to(photo)
    write_names(tmp_path / "link.jpg", [ADA], place=XmpPlace.EMBED)
    assert (tmp_path / "link.jpg").is_symlink() and read_names(photo).faces == (ADA,)


# --- read by another program ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exiftool() -> str:
    found = shutil.which("exiftool")
    if found is None:
        pytest.skip("exiftool is not installed (Debian: libimage-exiftool-perl)")
    return found


def read_with(exiftool: str, file: Path) -> dict[str, Any]:
    done = subprocess.run(
        [exiftool, "-json", "-struct", "-G1", "-n", "-validate", "-warning", "-XMP:all", file],
        capture_output=True,
        check=True,
    )
    (tags,) = json.loads(done.stdout)
    assert isinstance(tags, dict)
    return tags


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exiftool_reads_it(exiftool: str, place: XmpPlace, orientation: int, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", orientation=orientation)
    frame = frame_of(orientation)
    boxes = [to_upright((0.1 * at, 0.2, 0.1 * at + 0.08, 0.3), frame) for at in range(1, 7)]
    write_names(photo, [NamedFace(name, box) for name, box in zip(HOSTILE_NAMES, boxes, strict=True)], place=place)
    tags = read_with(exiftool, photo if place is XmpPlace.EMBED else tmp_path / "photo.jpg.xmp")
    assert tags["XMP-dc:Subject"] == tags["XMP-iptcExt:PersonInImage"] == HOSTILE_NAMES
    info = tags["XMP-mwg-rs:RegionInfo"]
    assert info["AppliedToDimensions"] == {"W": WIDTH, "H": HEIGHT, "Unit": "pixel"}
    assert [(one["Name"], one["Type"]) for one in info["RegionList"]] == [(name, "Face") for name in HOSTILE_NAMES]
    for at, one in enumerate(info["RegionList"], start=1):
        expected = {"X": 0.1 * at + 0.04, "Y": 0.25, "W": 0.08, "H": 0.1}
        assert {key: one["Area"][key] for key in expected} == pytest.approx(expected, abs=1e-5)
    people = tags["XMP-MP:RegionInfoMP"]["Regions"]
    assert [one["PersonDisplayName"] for one in people] == HOSTILE_NAMES
    assert [float(part) for part in people[2]["Rectangle"].split(", ")] == pytest.approx(
        [0.3, 0.2, 0.08, 0.1], abs=1e-5
    )
    assert not [one for one in str(tags.get("ExifTool:Warning", "")).split("\n") if "XMP" in one]


def test_what_exiftool_adds_stays_and_what_it_rewrites_is_still_ours(exiftool: str, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    write_names(photo, [ADA], place=XmpPlace.EMBED)
    subprocess.run([exiftool, "-q", "-overwrite_original", "-XMP-dc:Subject+=Sea", "-XMP:Rating=3", photo], check=True)
    assert not write_names(photo, [ADA], place=XmpPlace.EMBED).is_changed
    assert remove_names(photo, place=XmpPlace.EMBED).is_changed
    tags = read_with(exiftool, photo)
    assert tags["XMP-dc:Subject"] == "Sea" or tags["XMP-dc:Subject"] == ["Sea"]
    assert tags["XMP-xmp:Rating"] == 3
    assert not [name for name in tags if "Region" in name or "Person" in name or "lightface" in name]


def test_regions_that_nobody_could_mean_are_passed_over() -> None:
    packet = XmpPacket(packet_of_digikam().replace(b'"0.25"', b'"NaN"').replace(b"0.15, 0.1, 0.2, 0.3", b"a, b"))
    assert read_regions(packet, frame_of(1)) == []
    outcome = write_regions(packet, [Region("Ada", (0.5, 0.5, 0.7, 0.7))], frame_of(1))
    assert outcome.is_changed and len(items_of(packet.find("mwg-rs:Regions")[1])) == 2  # type: ignore[index]
