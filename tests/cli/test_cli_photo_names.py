"""Names go into photographs' metadata by `identify`, and come out of it, of Picasa and of digiKam by `enroll`."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import make_colour_pipeline, paint_person
from PIL import ExifTags, Image

from lightface.gallery import open_gallery
from lightface.metadata.reading import read_names
from lightface.metadata.writing import write_names
from lightface.pipeline.named_faces import NamedFace

PEOPLE = {"Grace Hopper", "Eileen Collins"}
# What turns an upright picture into the one that is stored under each EXIF orientation.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def turned(grace_hopper_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Grace Hopper beside Eileen Collins as a camera would store them, in all eight orientations."""
    data = pytest.importorskip("skimage.data")
    with Image.open(grace_hopper_path) as hopper:
        both = Image.new("RGB", (1024, 512))
        both.paste(hopper.crop((0, 0, 512, 512)), (0, 0))
        both.paste(Image.fromarray(data.astronaut()), (512, 0))
    folder = tmp_path_factory.mktemp("turned")
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        stored = both if turn is None else both.transpose(turn)
        stored.save(folder / f"{orientation}.jpg", exif=exif, quality=92)
    return folder


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A gallery of Ann, who is told by her colour, and her photograph; as alike as poor faces must be to match."""
    for command in ("identify", "enroll"):
        monkeypatch.setattr(
            f"lightface.cli.{command}.load_face_pipeline", lambda *_, **__: make_colour_pipeline(noise=0.1)
        )
    from lightface.pipeline import enroll_photos

    with open_gallery(tmp_path / "ann.sqlite", create=True) as gallery:
        enroll_photos(
            make_colour_pipeline(noise=0.1), gallery, "Ann", [paint_person(tmp_path / "known" / "1.png", 1, 1)]
        )
    paint_person(tmp_path / "photos" / "ann.jpg", 1, 2)
    paint_person(tmp_path / "photos" / "stranger.jpg", 9, 1)
    return tmp_path / "ann.sqlite"


def names_in(folder: Path) -> dict[str, set[str]]:
    return {path.name: {one.name for one in read_names(path).faces} for path in sorted(folder.glob("*.jpg"))}


def people_of(path: Path) -> dict[str, int]:
    with open_gallery(path) as gallery:
        return {person.name: len(gallery.samples(person.id)) for person in gallery.people()}


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["sidecar", "embed"])
def test_the_whole_way_in_all_orientations(
    place: str, cli: Cli, turned: Path, portrait_gallery: Path, tmp_path: Path
) -> None:
    photos = Path(shutil.copytree(turned, tmp_path / "photos"))
    before = contents(photos)
    identify = ("identify", photos, "--gallery", portrait_gallery)
    result = cli(*identify, "--verbose", "--write-xmp", place)
    assert result.exit_code == 0
    assert result.stdout.count("matched") == 16 and "wrote names for 8 photographs" in result.stderr
    assert names_in(photos) == {f"{orientation}.jpg": PEOPLE for orientation in TURNS}
    if place == "sidecar":
        assert {path: data for path, data in contents(photos).items() if path.suffix == ".jpg"} == before
    written = contents(photos)
    again = cli(*identify, "--write-xmp", place)
    assert "wrote names for 0 photographs; 8 needed no change" in again.stderr
    assert contents(photos) == written
    # Into a gallery that knows nobody: the marks are where the faces are found.
    enrolled = cli("enroll", "--from-xmp", photos, "--gallery", tmp_path / "new.sqlite")
    assert enrolled.exit_code == 0 and "enrolled 16 of 16 photographs" in enrolled.stderr
    assert people_of(tmp_path / "new.sqlite") == dict.fromkeys(PEOPLE, 8)
    # Into one that knows them, it would say what lightface has said itself.
    known = cli("enroll", "--from-xmp", photos, "--gallery", portrait_gallery)
    assert known.exit_code == 0 and "16 faces were named by lightface itself" in known.stderr
    assert people_of(portrait_gallery) == dict.fromkeys(PEOPLE, 1)
    removed = cli("identify", photos, "--remove-xmp", place)  # for which no gallery is needed
    assert removed.exit_code == 0 and removed.stdout == ""
    assert contents(photos) == before


def test_only_who_was_matched_is_written_unless_it_is_asked_for(cli: Cli, colours: Path, tmp_path: Path) -> None:
    bands = ("--threshold", "0.999", "--review-threshold", "0.5")
    identify = ("identify", tmp_path / "photos", "--gallery", colours, *bands, "--write-xmp", "sidecar")
    assert cli(*identify).exit_code == 0
    assert names_in(tmp_path / "photos") == {"ann.jpg": set(), "stranger.jpg": set()}
    assert not list((tmp_path / "photos").glob("*.xmp"))
    cli(*identify, "--write-review")
    assert names_in(tmp_path / "photos") == {"ann.jpg": {"Ann"}, "stranger.jpg": set()}
    cli(*identify)
    assert not list((tmp_path / "photos").glob("*.xmp"))


def test_sidecars_in_another_folder(cli: Cli, colours: Path, tmp_path: Path) -> None:
    photos, sidecars = tmp_path / "photos", tmp_path / "sidecars"
    paint_person(photos / "deep" / "ann.jpg", 1, 3)
    before = contents(photos)
    elsewhere = ("--sidecars", sidecars)
    assert cli("identify", photos, "--gallery", colours, "--write-xmp", "sidecar", *elsewhere).exit_code == 0
    assert sorted(path.relative_to(sidecars) for path in sidecars.rglob("*.xmp")) == [
        Path("ann.jpg.xmp"),
        Path("deep/ann.jpg.xmp"),
    ]
    assert stat.S_IMODE(sidecars.stat().st_mode) == 0o700
    assert contents(photos) == before
    assert cli("enroll", "--from-xmp", photos, *elsewhere, "--gallery", tmp_path / "new.sqlite").exit_code == 0
    assert people_of(tmp_path / "new.sqlite") == {"Ann": 2}
    assert_one_line(cli("enroll", "--from-xmp", photos, "--gallery", tmp_path / "none.sqlite"), "no face is named")
    cli("identify", photos, "--remove-xmp", "sidecar", *elsewhere)
    assert not list(sidecars.rglob("*.xmp"))


def test_what_goes_wrong_with_one_photograph_is_one_line(cli: Cli, colours: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "ann.jpg.xmp").write_bytes(b"<damaged")
    identify = ("identify", "--gallery", colours, "--write-xmp", "sidecar")
    result = cli(*identify, photos)
    assert result.exit_code == 0  # the other is done
    (line,) = [line for line in result.stderr.splitlines() if "ann.jpg.xmp" in line]
    assert line.startswith("lightface: ") and "is left as it is: its XMP is damaged" in line
    assert "1 could not be changed" in result.stderr
    alone = cli(*identify, photos / "ann.jpg")
    assert alone.exit_code == 2 and "matched" in alone.stdout
    assert (photos / "ann.jpg.xmp").read_bytes() == b"<damaged"
    assert cli("identify", photos / "ann.jpg", "--remove-xmp", "sidecar").exit_code == 2


def test_a_photograph_that_is_gone_before_its_names_are_written(
    cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightface.metadata import writing

    def lose(photo: Path, *arguments: object, **options: object) -> object:
        if photo.name == "ann.jpg":
            photo.unlink()
        return write_names(photo, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "write_names", lose)
    result = cli("identify", tmp_path / "photos", "--gallery", colours, "--write-xmp", "sidecar")
    assert result.exit_code == 0 and "ann.jpg" in result.stderr and "No such file" in result.stderr


def test_a_face_that_somebody_named_otherwise_is_told(cli: Cli, colours: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "ann.jpg"
    write_names(photo, [NamedFace("Anna, the elder", (2.0, 2.0, 80.0, 80.0))])
    sidecar = photo.with_name("ann.jpg.xmp")
    text = sidecar.read_text(encoding="utf-8")
    sidecar.write_text(text.replace("lightface:", "other:").replace("xmlns:lightface", "xmlns:other"), "utf-8")
    result = cli("identify", photo, "--gallery", colours, "--write-xmp", "sidecar")
    assert result.exit_code == 0
    assert f"{photo}: Ann is not written, since somebody named this face Anna, the elder" in result.stderr


def test_options_that_make_no_sense_are_refused(cli: Cli, colours: Path, tmp_path: Path) -> None:
    photo, data = tmp_path / "photos" / "ann.jpg", (tmp_path / "photos" / "ann.jpg").read_bytes()
    of_identify: list[tuple[tuple[object, ...], str]] = [
        (("--sidecars", tmp_path), "--write-xmp"),
        (("--write-review",), "--write-xmp"),
        (("--write-xmp", "embed", "--remove-xmp", "embed"), "undo each other"),
        (("--write-xmp", "embed", "--sidecars", tmp_path), "'embed' writes none"),
        (("--write-xmp", "sidecar", "--already-aligned"), "aligned crops"),
    ]
    for options, word in of_identify:
        assert_one_line(cli("identify", photo, "--gallery", colours, *options), word)
    on_stdin = cli("identify", "-", "--gallery", colours, "--write-xmp", "sidecar", input=data)
    assert_one_line(on_stdin, "no file of this machine")
    of_enroll: list[tuple[tuple[object, ...], str]] = [
        (("--from-xmp", tmp_path, "--from-picasa", tmp_path), "one place at a time"),
        (("--sidecars", tmp_path), "--sidecars goes with --from-xmp only"),
        (("--contacts", photo, "--from-xmp", tmp_path), "--contacts goes with --from-picasa only"),
        (("--albums", tmp_path), "--albums goes with --from-digikam only"),
        (("Ann", "--from-xmp", tmp_path), "another program names people"),
        (("--from-xmp", tmp_path / "none"), "none"),
        (("--from-picasa", photo), "is no folder"),
        (("--from-digikam", photo), "is no database of digiKam's"),
    ]
    for options, word in of_enroll:
        assert_one_line(cli("enroll", *options, "--gallery", colours), word)


def test_picasas_names_are_enrolled(cli: Cli, colours: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / ".picasa.ini").write_text(
        '[Contacts2]\n1a=Bo, \u202ethe "Younger";;\n2b=Bo\x07;;\n[stranger.jpg]\n'
        "faces=rect64(ffffffff),1a;rect64(1111222233334444),ffffffffffffffff;rect64(1111222233334444),2b\n"
        "[gone.jpg]\nfaces=rect64(ffffffff),1a\n",
        encoding="utf-8",
    )
    result = cli("enroll", "--from-picasa", photos, "--gallery", colours)
    assert result.exit_code == 0
    assert people_of(colours) == {"Ann": 1, 'Bo, \u202ethe "Younger"': 1}
    assert "\\u202e" in result.stdout and "\u202e" not in result.stdout
    assert "gone.jpg" in result.stderr and "characters that cannot be printed" in result.stderr
    assert "1 named face in 1 photograph; 2 marked without a name, 1 file could not be read" in result.stderr
    again = cli("enroll", "--from-picasa", photos, "--gallery", colours)
    assert again.exit_code == 0 and "duplicate" in again.stdout


def test_what_fits_no_face_is_told_with_its_reason(cli: Cli, colours: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / ".picasa.ini").write_text(
        "[Contacts2]\n1a=Bo;;\n[stranger.jpg]\nfaces=rect64(0000000011111111),1a\n"
        "[ann.jpg]\nfaces=rect64(ffffffff),1a\n"
    )
    result = cli("enroll", "--from-picasa", photos, "--gallery", colours, "--threshold", "0.5", "--json")
    assert result.exit_code == 2
    assert "no face is found where 'Bo' is marked, at 0 0 5 5" in result.stderr
    assert "resembles 'Ann'" in result.stderr and "--even-if-alike" in result.stderr
    assert result.stdout.count('"face_not_found"') == result.stdout.count('"identity_conflict"') == 1


def test_xmp_beside_photographs_is_no_file_that_was_passed_over(cli: Cli, colours: Path, tmp_path: Path) -> None:
    identify = ("identify", tmp_path / "photos", "--gallery", colours)
    cli(*identify, "--write-xmp", "sidecar")
    assert list((tmp_path / "photos").glob("*.xmp")) and os.listdir(tmp_path / "photos")
    assert "passed over" not in cli(*identify).stderr
