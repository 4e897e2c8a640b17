"""Names that other programs gave: in XMP, in Picasa's files, in digiKam's database, for all orientations."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

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

from lightface.errors import MetadataError, MissingFileError
from lightface.metadata.digikam import read_digikam
from lightface.metadata.jpeg_packets import replace_packet
from lightface.metadata.picasa import read_picasa
from lightface.metadata.reading import read_names, read_names_of
from lightface.metadata.regions import to_upright
from lightface.pipeline.named_faces import NamedFace
from lightface.records import BoxPx

BOB_STORED = (0.15, 0.1, 0.35, 0.4)  # as shares of the stored picture


def bob_in(orientation: int) -> BoxPx:
    """Where Bob is in the upright photograph."""
    return to_upright(BOB_STORED, frame_of(orientation))


def test_the_box_of_the_pictures_is_the_one_of_the_packet() -> None:
    assert bob_in(1) == pytest.approx(BOB_STORED_PX)


# --- XMP --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_digikam_wrote_into_files(suffix: str, orientation: int, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / f"photo{suffix}", orientation=orientation, xmp=packet_of_digikam())
    names = read_names(photo)
    assert not names.errors
    assert [(one.name, one.is_own) for one in names.faces] == [("Bob", False)]
    assert names.faces[0].box_px == pytest.approx(bob_in(orientation))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_regions_that_count_from_the_upright_picture_say_so_by_their_size(orientation: int, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", orientation=orientation)
    (tmp_path / "photo.jpg.xmp").write_bytes(packet_of_digikam(HEIGHT, WIDTH))
    (face,) = read_names(photo).faces
    x_min, y_min, x_max, y_max = BOB_STORED  # here of the upright one
    assert face.box_px == pytest.approx((x_min * HEIGHT, y_min * WIDTH, x_max * HEIGHT, y_max * WIDTH))


@pytest.mark.parametrize("sidecar", ["photo.jpg.xmp", "photo.xmp", "elsewhere/any.xmp"])
def test_sidecars_are_read(sidecar: str, tmp_path: Path) -> None:
    photo, path = paint_photo(tmp_path / "photo.jpg"), tmp_path / sidecar
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(packet_of_digikam())
    names = read_names(photo, sidecar=path if "elsewhere" in sidecar else None)
    assert [one.name for one in names.faces] == ["Bob"]


def test_a_sidecar_that_may_be_another_photographs_is_not_read(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg")
    paint_photo(tmp_path / "photo.png")
    (tmp_path / "photo.xmp").write_bytes(packet_of_digikam())
    assert read_names(photo).faces == ()


def test_a_face_in_file_and_sidecar_counts_once_and_the_unnamed_are_counted(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", xmp=packet_of_digikam())
    (tmp_path / "photo.jpg.xmp").write_bytes(packet_of_digikam())
    assert len(read_names(photo).faces) == 1
    (tmp_path / "photo.jpg.xmp").write_bytes(packet_of_digikam().replace(b"Bob", b"").replace(b"0.15,", b"0.5,"))
    names = read_names(photo)
    assert [one.name for one in names.faces] == ["Bob"] and names.unnamed == 2
    assert read_names_of([photo, paint_photo(tmp_path / "other.jpg")]) == [names]


def test_what_cannot_be_read_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", xmp=packet_of_digikam())
    (tmp_path / "photo.jpg.xmp").write_bytes(packet_of_digikam()[:500])
    names = read_names(photo)
    assert [one.name for one in names.faces] == ["Bob"]
    assert str(names.errors[0]).startswith(f"'{tmp_path}/photo.jpg.xmp' is not read: its XMP")
    photo.write_bytes(replace_packet(photo.read_bytes(), b"<cut"))
    assert len(read_names(photo).errors) == 2 and not read_names(photo).faces
    photo.unlink()
    assert [type(error) for error in read_names(photo).errors] == [MissingFileError]


def test_regions_of_a_photograph_that_was_cut_since_are_told(tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", xmp=packet_of_digikam(1000, 1000))
    names = read_names(photo)
    assert not names.faces and "of a picture of 1000x1000 pixels, and it has 400x300" in str(names.errors[0])


def test_pets_and_focus_points_are_no_faces(tmp_path: Path) -> None:
    packet = packet_of_digikam().replace(b'Type="Face"', b'Type="Pet"').replace(b"MP:RegionInfo", b"MP:Other")
    assert read_names(paint_photo(tmp_path / "photo.jpg", xmp=packet)).faces == ()


def test_structures_as_nested_descriptions(tmp_path: Path) -> None:
    """As Adobe's programs write them."""
    text = """<rdf:Description xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
      xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"><mwg-rs:Regions><rdf:Description><mwg-rs:RegionList><rdf:Seq>
      <rdf:li><rdf:Description mwg-rs:Type="Face"><mwg-rs:Name>Bob</mwg-rs:Name><mwg-rs:Area><rdf:Description
      stArea:x="0.25" stArea:y="0.25" stArea:w="0.2" stArea:h="0.3"/></mwg-rs:Area></rdf:Description></rdf:li></rdf:Seq>
      </mwg-rs:RegionList></rdf:Description></mwg-rs:Regions></rdf:Description>"""
    photo = paint_photo(tmp_path / "photo.jpg", xmp=PACKET.format(descriptions=text).encode())
    (face,) = read_names(photo).faces
    assert face.name == "Bob" and face.box_px == pytest.approx(BOB_STORED_PX)


# --- Picasa -----------------------------------------------------------------------------------------


def rect64(box: tuple[float, float, float, float]) -> str:
    """As Picasa writes it: without leading zeros."""
    return f"rect64({''.join(f'{round(edge * 65535):04x}' for edge in box).lstrip('0')})"


INI = """[Picasa]
name=Holiday
[Contacts2]
8e62398ebda8c1a5=Bob;;
{more}
[photo.jpg]
star=yes
rotate=rotate(1)
faces={faces}
[.album:0123]
name=Best % of [all]
"""


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_picasa_wrote(orientation: int, tmp_path: Path) -> None:
    photo = paint_photo(tmp_path / "photo.jpg", orientation=orientation)
    faces = f"{rect64(BOB_STORED)},8e62398ebda8c1a5;{rect64((0.01, 0.5, 0.2, 0.7))},ffffffffffffffff"
    (tmp_path / ".picasa.ini").write_text(INI.format(faces=faces, more=""))
    (names,) = read_picasa(tmp_path)
    assert (names.path, names.unnamed, names.errors) == (photo, 1, ())
    (face,) = names.faces
    assert face.name == "Bob" and face.box_px == pytest.approx(bob_in(orientation), abs=0.01)


def test_leading_zeros_are_missing_in_picasas_rectangles(tmp_path: Path) -> None:
    paint_photo(tmp_path / "photo.jpg")
    faces = ";".join(
        f"rect64({digits}),8E62398EBDA8C1A5"
        for digits in ("3330333" + "80004000", "8000" + "0333" + "0333" + "4000", "1" * 17, "xyz")
    )
    (tmp_path / ".picasa.ini").write_text(INI.format(faces=faces, more=""))
    (names,) = read_picasa(tmp_path)
    (face,) = names.faces  # the second has its right edge on the left, the others are none
    left, top, right, bottom = (edge / 65535 for edge in (0x0333, 0x0333, 0x8000, 0x4000))
    assert face.box_px == pytest.approx((left * WIDTH, top * HEIGHT, right * WIDTH, bottom * HEIGHT))


def test_picasas_contacts_come_from_other_folders_and_from_contacts_xml(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paint_photo(tmp_path / folder / "photo.jpg")
    faces = (
        f"{rect64(BOB_STORED)},1111;{rect64((0.5, 0.5, 0.7, 0.8))},2222;{rect64((0.8, 0.5, 0.9, 0.8))},8e62398ebda8c1a5"
    )
    (tmp_path / "a" / ".picasa.ini").write_text(INI.format(faces=faces, more="1111=Zoë;;"), encoding="utf-8")
    (tmp_path / "b" / ".picasa.ini").write_text(f"[photo.jpg]\nfaces={faces}\n")
    found = {one.path.parent.name: [face.name for face in one.faces] for one in read_picasa(tmp_path)}
    assert found == {"a": ["Zoë", "Bob"], "b": ["Zoë", "Bob"]}
    contacts = tmp_path / "a" / "people.xml"
    contacts.write_text('<contacts><contact id="2222" name="Ann &amp; Bo" display="Ann"/><contact id="3"/></contacts>')
    found = {
        one.path.parent.name: [face.name for face in one.faces] for one in read_picasa(tmp_path, contacts=contacts)
    }
    assert found["b"] == ["Zoë", "Ann & Bo", "Bob"]
    contacts.rename(tmp_path / "a" / "contacts.xml")
    assert [one.faces for one in read_picasa(tmp_path)] == [one.faces for one in read_picasa(tmp_path)]
    assert [face.name for face in read_picasa(tmp_path)[1].faces] == ["Zoë", "Ann & Bo", "Bob"]


def test_picasas_photographs_that_are_gone_or_spelled_otherwise(tmp_path: Path) -> None:
    paint_photo(tmp_path / "PHOTO.JPG")
    text = INI.format(faces=f"{rect64(BOB_STORED)},8e62398ebda8c1a5", more="")
    gone = f"[gone.jpg]\nfaces={rect64(BOB_STORED)},8e62398ebda8c1a5\n[../secret.jpg]\nfaces=rect64(1),1\n"
    (tmp_path / ".picasa.ini").write_text(text + gone)
    found, missing = read_picasa(tmp_path)
    assert found.path.name == "PHOTO.JPG" and [one.name for one in found.faces] == ["Bob"]
    assert missing.path.name == "gone.jpg" and "moved or deleted" in str(missing.errors[0])


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\0\0", b"faces=rect64(1),2", b"[photo.jpg\n", b"[a]\n" * 10 + b"=\n", b"\0" * 99], ids=repr
)
def test_damaged_files_of_picasas_are_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / ".picasa.ini").write_bytes(data)
    (tmp_path / "contacts.xml").write_bytes(b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>")
    found = read_picasa(tmp_path)
    assert any("contacts.xml" in str(one.errors) for one in found)
    assert all(not one.faces for one in found)


# --- digiKam ----------------------------------------------------------------------------------------

# What digiKam's own database declares of the tables that are read.
SCHEMA = """
CREATE TABLE AlbumRoots (id INTEGER PRIMARY KEY, label TEXT, status INTEGER NOT NULL, type INTEGER NOT NULL,
    identifier TEXT, specificPath TEXT, UNIQUE(identifier, specificPath));
CREATE TABLE Albums (id INTEGER PRIMARY KEY, albumRoot INTEGER NOT NULL, relativePath TEXT NOT NULL, date DATE,
    caption TEXT, collection TEXT, icon INTEGER, UNIQUE(albumRoot, relativePath));
CREATE TABLE Images (id INTEGER PRIMARY KEY, album INTEGER, name TEXT NOT NULL, status INTEGER NOT NULL,
    category INTEGER NOT NULL, modificationDate DATETIME, fileSize INTEGER, uniqueHash TEXT, manualOrder INTEGER);
CREATE TABLE ImageInformation (imageid INTEGER PRIMARY KEY, rating INTEGER, orientation INTEGER, width INTEGER,
    height INTEGER);
CREATE TABLE Tags (id INTEGER PRIMARY KEY, pid INTEGER, name TEXT NOT NULL, UNIQUE (name, pid));
CREATE TABLE TagProperties (tagid INTEGER, property TEXT, value TEXT);
CREATE TABLE ImageTagProperties (imageid INTEGER, tagid INTEGER, property TEXT, value TEXT);
INSERT INTO Tags VALUES (1, 0, 'People'), (2, 1, 'Bob'), (3, 1, 'Unknown'), (4, 1, 'Zoë');
INSERT INTO TagProperties VALUES (2, 'person', 'Bob'), (3, 'unknownPerson', NULL), (4, 'person', 'Zoë');
INSERT INTO Albums (id, albumRoot, relativePath) VALUES (1, 1, '/'), (2, 1, '/2019/party');
INSERT INTO Images (id, album, name, status, category) VALUES (1, 2, 'photo.jpg', 1, 1), (2, 1, 'gone.jpg', 1, 1),
    (3, 2, 'deleted.jpg', 3, 1);
"""


def rectangle(box_px: BoxPx) -> str:
    x_min, y_min, x_max, y_max = map(round, box_px)
    return f'<rect x="{x_min}" y="{y_min}" width="{x_max - x_min}" height="{y_max - y_min}"/>'


def make_digikam(folder: Path, root: Path, faces: list[tuple[int, int, str, str]], size: tuple[int, int]) -> Path:
    with closing(sqlite3.connect(folder / "digikam4.db")) as connection:
        connection.executescript(SCHEMA)
        connection.execute("INSERT INTO AlbumRoots VALUES (1, 'all', 0, 1, ?, '/')", (f"volumeid:?path={root}",))
        connection.executemany("INSERT INTO ImageTagProperties VALUES (?, ?, ?, ?)", faces)
        connection.executemany("INSERT INTO ImageInformation VALUES (?, 0, 1, ?, ?)", [(1, *size), (3, *size)])
        connection.commit()
    return folder / "digikam4.db"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_digikam_keeps(orientation: int, tmp_path: Path) -> None:
    (tmp_path / "album" / "2019" / "party").mkdir(parents=True)
    photo = paint_photo(tmp_path / "album" / "2019" / "party" / "photo.jpg", orientation=orientation)
    box_px = rectangle(bob_in(orientation))
    faces = [
        (1, 2, "tagRegion", box_px),
        (1, 4, "autodetectedPerson", f"4,autodetectedFace,{box_px}"),  # which nobody has confirmed
        (1, 3, "tagRegion", box_px),  # of nobody that is known
        (2, 4, "tagRegion", box_px),
        (3, 4, "tagRegion", box_px),
    ]
    database = make_digikam(tmp_path, tmp_path / "album", faces, (WIDTH, HEIGHT))
    before = database.read_bytes()
    gone, found = read_digikam(tmp_path)
    assert (found.path, found.unnamed, found.errors) == (photo, 1, ())
    (face,) = found.faces
    assert face == NamedFace("Bob", face.box_px) and face.box_px == pytest.approx(bob_in(orientation), abs=1)
    assert gone.path.name == "gone.jpg" and "was it moved?" in str(gone.errors[0])
    assert database.read_bytes() == before and sorted(tmp_path.iterdir()) == [tmp_path / "album", database]


def test_albums_that_were_moved_and_photographs_made_smaller(tmp_path: Path) -> None:
    (tmp_path / "here" / "2019" / "party").mkdir(parents=True)
    photo = paint_photo(tmp_path / "here" / "2019" / "party" / "photo.jpg")
    big = tuple(4 * edge for edge in BOB_STORED_PX)
    faces = [(1, 2, "tagRegion", rectangle(big))]  # type: ignore[arg-type]
    database = make_digikam(tmp_path, tmp_path / "there", faces, (4 * WIDTH, 4 * HEIGHT))
    assert isinstance(read_digikam(database)[0].errors[0], MissingFileError)
    (found,) = read_digikam(database, photos=tmp_path / "here")
    assert found.path == photo and found.faces[0].box_px == pytest.approx(BOB_STORED_PX)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE ImageInformation SET width = 300")
        connection.commit()
    (cut,) = read_digikam(database, photos=tmp_path / "here")
    assert not cut.faces and "had 300x1200 when digiKam read it" in str(cut.errors[0])


def test_a_name_that_leads_out_of_the_album_is_not_followed(tmp_path: Path) -> None:
    database = make_digikam(tmp_path, tmp_path, [(1, 2, "tagRegion", rectangle(BOB_STORED_PX))], (WIDTH, HEIGHT))
    paint_photo(tmp_path.parent / "photo.jpg")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE Albums SET relativePath = '/..' WHERE id = 2")
        connection.commit()
    (found,) = read_digikam(database)
    assert not found.faces and "outside of its albums" in str(found.errors[0])


@pytest.mark.parametrize("kind", ["nothing", "text", "another database", "endless"])
def test_what_is_no_database_of_digikams(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "digikam4.db"
    if kind == "text":
        path.write_text("hello " * 1000)
    if kind in ("another database", "endless"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE Tags (id)")
            if kind == "endless":
                connection.executescript(
                    SCHEMA.replace("CREATE TABLE Tags (", "CREATE TABLE Other (").split("INSERT")[0]
                )
                endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n"
                connection.executescript(f"DROP TABLE Images; CREATE VIEW Images AS {endless}")
    with pytest.raises(MetadataError, match=r"digikam4\.db"):
        read_digikam(path)
