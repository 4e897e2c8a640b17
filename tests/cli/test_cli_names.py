"""From groups to names on the command line: who is known is not grouped, numbers stay, names come back from a file."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import colour_of, make_colour_pipeline, paint_people, paint_person
from PIL import Image
from stand_ins import paint
from typer.testing import Result

from lightface.cli.face_tables import read_faces_of
from lightface.gallery import open_gallery

ODD_NAME = 'Ada "the Countess", \u05e2\u05d3\u05d4'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three people: 1 with four photographs, 2 with three, 3 with two."""
    folder = paint_people(tmp_path / "photos", 3, 4)
    for person, picture in ((2, 4), (3, 4), (3, 3)):
        (folder / f"p{person:03d}" / f"{picture}.png").unlink()
    return folder


@pytest.fixture
def gallery_path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def cluster(cli: Cli, monkeypatch: pytest.MonkeyPatch, gallery_path: Path) -> Cli:
    """The command on people of colour, at a threshold that suits them."""
    pipeline = make_colour_pipeline()
    monkeypatch.setattr("lightface.cli.face_tables.load_face_pipeline", lambda *arguments, **options: pipeline)
    monkeypatch.setenv("LIGHTFACE_GALLERY", str(gallery_path))
    return lambda *arguments: cli("cluster", *arguments, "--threshold", 0.5)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    return tmp_path / "names.csv"


def enroll(gallery_path: Path, name: str, photographs: Sequence[Path]) -> None:
    from lightface.pipeline import enroll_photos

    with open_gallery(gallery_path, create=True) as gallery:
        for result in enroll_photos(make_colour_pipeline(), gallery, name, photographs, threshold=0.5):
            assert result.error is None


def groups_of(result: Result) -> dict[str, set[str]]:
    """Of --json, the photographs by number of group or name of person, as `person/picture`."""
    found: dict[str, set[str]] = {}
    for face in json.loads(result.stdout)["faces"]:
        path = Path(face["image_path"])
        title = face["person_name"] or str(face["cluster"])
        found.setdefault(title, set()).add(f"{path.parent.name}/{path.stem}")
    return found


def paint_two(path: Path, left: tuple[int, int, int], right: tuple[int, int, int]) -> None:
    """A photograph of two people side by side."""
    paint(path, left, width=160)
    image = Image.open(path)
    image.paste(right, (80, 0, 160, 80))
    image.save(path)


def read_rows(names: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(names.read_bytes().decode("utf-8-sig"), newline="")))


def write_rows(names: Path, rows: Sequence[dict[str, str]], *, delimiter: str = ",", encoding: str = "utf-8") -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    names.write_bytes(text.getvalue().encode(encoding))


def give_names(names: Path, given: dict[str, str]) -> None:
    """As a person does: beside the groups' numbers."""
    rows = read_rows(names)
    assert given.keys() <= {row["group"] for row in rows}
    write_rows(names, [{**row, "name": given.get(row["group"], row["name"])} for row in rows])


def enrolled(gallery_path: Path) -> dict[str, set[str]]:
    with open_gallery(gallery_path) as gallery:
        return {
            person.name: {
                f"{Path(one.source_path).parent.name}/{Path(one.source_path).stem}"
                for one in gallery.samples(person.id)
            }
            for person in gallery.people()
        }


# --- the gallery is asked first -----------------------------------------------------------------------


def test_known_people_keep_their_names_and_the_rest_is_grouped(
    cluster: Cli, photos: Path, gallery_path: Path, tmp_path: Path
) -> None:
    enroll(gallery_path, "Ada", [photos / "p001" / "1.png", photos / "p001" / "2.png"])
    folder, page, table = tmp_path / "links", tmp_path / "page.html", tmp_path / "groups.csv"
    result = cluster(photos, "--folder", folder, "--html", page, "-o", table)
    assert result.exit_code == 0, result.output
    lines = [line.split()[:3] for line in result.stdout.splitlines()]
    assert lines == [["group", "faces", "photographs"], ["Ada", "4", "4"], ["1", "3", "3"], ["2", "2", "2"]]
    assert "4 of 9 faces of 1 known person, 5 in 2 groups, 0 in none, at threshold 0.500\n" in result.stderr
    assert {path.name: len(list(path.iterdir())) for path in folder.iterdir()} == {"Ada (id 1)": 4, "1": 3, "2": 2}
    headings = re.findall(r"<h2>(.*?) <span", page.read_text(encoding="utf-8"))
    assert headings == ["Ada", "Group 1", "Group 2"]
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["cluster"], row["person_name"]) for row in rows] == [
        *[("", "Ada")] * 4,
        *[("1", "")] * 3,
        *[("2", "")] * 2,
    ]


def test_everybody_groups_known_people_too(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    before = cluster(photos, "--json")
    enroll(gallery_path, "Ada", [photos / "p001" / "1.png"])
    assert cluster(photos, "--json", "--everybody").stdout == before.stdout
    assert_one_line(cluster(photos, "--everybody", "--names", names), "leave --everybody out")


def test_nobody_is_named_twice_on_one_photograph(cluster: Cli, photos: Path, gallery_path: Path) -> None:
    paint_two(photos / "both.png", colour_of(1, 1), colour_of(1, 5))
    enroll(gallery_path, "Ada", [photos / "p001" / "1.png", photos / "p001" / "2.png"])
    faces = json.loads(cluster(photos, "--json").stdout)["faces"]
    both = [face["person_name"] for face in faces if face["image_path"].endswith("both.png")]
    assert sorted(map(str, both)) == ["Ada", "None"]


def test_an_enrolled_face_is_its_persons_even_where_the_template_is_unlike_it(
    cluster: Cli, photos: Path, gallery_path: Path
) -> None:
    pictures = [photos / f"p001/{number}.png" for number in (1, 2, 3)]
    enroll(gallery_path, "Ada", pictures)
    result = cluster(photos, "--json", "--known-threshold", 0.999)
    assert groups_of(result)["Ada"] == {"p001/1", "p001/2", "p001/3"}


def test_a_default_gallery_of_another_model_is_not_asked_and_a_named_one_is_refused(
    cluster: Cli, photos: Path, made_up_gallery: Path, user_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIGHTFACE_GALLERY")
    before = cluster(photos)
    default = user_folders / "data" / "lightface" / "gallery.sqlite"
    default.parent.mkdir(parents=True)
    shutil.copy(made_up_gallery, default)
    result = cluster(photos)
    assert (result.exit_code, result.stdout) == (0, before.stdout)
    assert "is of lightcnn9-000000000000, not of colours, and is not asked who is known" in result.stderr
    refused = cluster(photos, "-q", "--gallery", made_up_gallery)
    assert_one_line(refused, "holds embeddings of lightcnn9-000000000000, not of colours", "--everybody")


def test_an_encrypted_gallery_without_its_key(cluster: Cli, cli: Cli, photos: Path, gallery_path: Path) -> None:
    enroll(gallery_path, "Ada", [photos / "p001" / "1.png"])
    passphrase = {"LIGHTFACE_PASSPHRASE": "correct horse battery"}
    assert cli("gallery", "encrypt", env=passphrase).exit_code == 0
    assert_one_line(cluster(photos), "is encrypted", "LIGHTFACE_PASSPHRASE", "--everybody")
    assert cluster(photos, "--everybody").exit_code == 0


# --- numbers of groups --------------------------------------------------------------------------------


def test_numbers_stay_while_photographs_come_and_go_and_people_get_known(
    cluster: Cli, photos: Path, gallery_path: Path
) -> None:
    first = groups_of(cluster(photos, "--json"))
    assert {number: len(faces) for number, faces in first.items()} == {"1": 4, "2": 3, "3": 2}
    for picture in range(1, 7):  # the largest from now on
        paint_person(photos / "p004" / f"{picture}.png", 4, picture)
    paint_person(photos / "p003" / "9.png", 3, 9)
    (photos / "p001" / "1.png").unlink()
    second = groups_of(cluster(photos, "--json"))
    assert {number: {face[:4] for face in faces} for number, faces in second.items()} == {
        "1": {"p001"},
        "2": {"p002"},
        "3": {"p003"},
        "4": {"p004"},
    }
    enroll(gallery_path, "Bo", [photos / "p002" / "1.png"])
    shutil.rmtree(photos / "p004")
    for picture in range(1, 4):
        paint_person(photos / "p005" / f"{picture}.png", 5, picture)
    third = groups_of(cluster(photos, "--json"))
    assert {number: {face[:4] for face in faces} for number, faces in third.items()} == {
        "Bo": {"p002"},
        "1": {"p001"},
        "3": {"p003"},
        "5": {"p005"},  # neither 2 nor 4, which were others
    }


def test_numbers_of_a_table_are_kept_by_its_path_and_nothing_is_written_beside_it(
    cluster: Cli, photos: Path, tmp_path: Path, user_folders: Path
) -> None:
    from lightface.batch import embed_folder

    place = tmp_path / "tables"
    place.mkdir()
    embed_folder(make_colour_pipeline(), [photos], place / "faces.parquet")
    before = sorted(place.iterdir())
    assert set(groups_of(cluster(place / "faces.parquet", "--json"))) == {"1", "2", "3"}
    shutil.rmtree(photos / "p001")
    embed_folder(make_colour_pipeline(), [photos], place / "faces.parquet")
    assert set(groups_of(cluster(place / "faces.parquet", "--json"))) == {"2", "3"}
    assert sorted(place.iterdir()) == before
    (kept,) = (user_folders / "cache" / "lightface" / "faces").glob("*.groups.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_damaged_file_of_numbers_is_told_and_no_trouble(cluster: Cli, photos: Path, user_folders: Path) -> None:
    first = cluster(photos)
    (kept,) = (user_folders / "cache" / "lightface" / "faces").glob("*.groups.json")
    for damaged in ("{", "[]", '{"last": 1, "faces": {"a": "x"}}', '{"last": 1, "faces": []}'):
        kept.write_text(damaged)
        again = cluster(photos)
        assert (again.exit_code, again.stdout) == (0, first.stdout)
        assert "cannot be used" in again.stderr and "numbers begin anew" in again.stderr


# --- names ----------------------------------------------------------------------------------------------


def test_names_of_groups_become_people(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    result = cluster(photos, "--names", names)
    assert result.exit_code == 0, result.output
    assert f"wrote {names}: write a name beside each group that you know" in result.stderr
    assert stat.S_IMODE(names.stat().st_mode) == 0o600 and not gallery_path.exists()
    assert names.read_bytes().startswith(b"\xef\xbb\xbfgroup,name,faces,")  # the mark that spreadsheets look for
    rows = read_rows(names)
    assert [(row["group"], row["name"], row["faces"], row["photographs"], row["face"]) for row in rows] == [
        ("1", "", "4", "4", "the only one"),
        ("2", "", "3", "3", "the only one"),
        ("3", "", "2", "2", "the only one"),
    ]
    assert Path(rows[0]["example"]).parent == photos / "p001"
    give_names(names, {"1": ODD_NAME, "3": "=Eve()"})
    named = cluster(photos, "--names", names)
    assert named.exit_code == 0, named.output
    assert f"enrolled 6 faces as 2 people; {names} has 1 group left" in named.stderr
    everybody = enrolled(gallery_path)
    assert everybody.keys() == {ODD_NAME, "=Eve()"}
    assert everybody[ODD_NAME] == {f"p001/{number}" for number in range(1, 5)}
    assert [row["group"] for row in read_rows(names)] == ["2"]
    assert [line.split()[0] for line in named.stdout.splitlines()[1:]] == ["=Eve()", "Ada", "2"]
    give_names(names, {"2": "Bo"})
    assert cluster(photos, "--names", names).exit_code == 0
    assert enrolled(gallery_path)["Bo"] == {"p002/1", "p002/2", "p002/3"}
    assert read_rows(names) == []


def test_a_file_without_new_names_changes_nothing(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    cluster(photos, "--names", names)
    before = names.read_bytes()
    assert cluster(photos, "--names", names).exit_code == 0
    assert names.read_bytes() == before and not gallery_path.exists()


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-8")])
def test_files_as_spreadsheets_save_them(
    cluster: Cli, photos: Path, gallery_path: Path, names: Path, delimiter: str, encoding: str
) -> None:
    cluster(photos, "--names", names)
    rows = [{**row, "name": ODD_NAME if row["group"] == "2" else ""} for row in read_rows(names)]
    write_rows(names, rows, delimiter=delimiter, encoding=encoding)
    assert cluster(photos, "--names", names).exit_code == 0
    assert enrolled(gallery_path) == {ODD_NAME: {"p002/1", "p002/2", "p002/3"}}


def test_two_groups_of_one_name_are_one_person(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    cluster(photos, "--names", names)
    give_names(names, {"1": "Ada", "3": "Ada "})
    result = cluster(photos, "--names", names)
    assert "enrolled 6 faces as 1 person" in result.stderr
    assert len(enrolled(gallery_path)["Ada"]) == 6


def test_names_that_are_refused_stay_in_the_file(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    enroll(gallery_path, "Ada", [photos / "p001" / "1.png"])
    cluster(photos, "--names", names)
    give_names(names, {"1": "ADA", "2": "Ada"})
    result = cluster(photos, "--names", names)
    assert result.exit_code == 2
    complaints = [line for line in result.stderr.splitlines() if line.startswith("lightface: ")]
    assert len(complaints) == 2
    assert "'ADA' and 'Ada' look like one name" in complaints[0]
    assert "group 2 does not resemble 'Ada', who is enrolled already" in complaints[1]
    assert enrolled(gallery_path) == {"Ada": {"p001/1"}}
    rows = read_rows(names)
    assert [row["name"] for row in rows] == ["ADA", "Ada"] and "does not resemble" in rows[1]["note"]
    give_names(names, {"1": "Bo", "2": "bo"})
    result = cluster(photos, "--names", names)
    assert result.exit_code == 0 and "'bo' and 'Bo' look like one name" in result.stderr
    assert enrolled(gallery_path).keys() == {"Ada", "Bo"}


def test_a_group_is_added_to_somebody_whom_it_resembles(
    cluster: Cli, photos: Path, gallery_path: Path, names: Path
) -> None:
    enroll(gallery_path, "Ada", [photos / "p001" / "1.png"])
    strict = ("--known-threshold", 0.99)  # so that the rest of Ada is a group
    cluster(photos, "--names", names, *strict)
    give_names(names, {"1": "Ada"})
    result = cluster(photos, "--names", names, *strict)
    assert result.exit_code == 0, result.output
    assert enrolled(gallery_path) == {"Ada": {f"p001/{number}" for number in range(1, 5)}}


def test_nobody_gets_two_faces_of_one_photograph(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    paint_two(photos / "both.png", colour_of(1, 5), colour_of(2, 5))
    cluster(photos, "--names", names)
    give_names(names, {"1": "Ada", "2": "Ada"})
    result = cluster(photos, "--names", names)
    assert (
        f"group 2 cannot be 'Ada', who is on {photos / 'both.png'} already, and nobody is there twice" in result.stderr
    )
    assert "p002/1" not in enrolled(gallery_path)["Ada"]
    assert [(row["group"], row["name"]) for row in read_rows(names)] == [("2", "Ada"), ("3", "")]
    again = cluster(photos, "--names", names)  # against her as she is enrolled now
    assert again.exit_code == 2 and "nobody is there twice" in again.stderr


def test_two_names_for_one_group(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    cluster(photos, "--names", names)
    rows = read_rows(names)
    write_rows(names, [{**rows[0], "name": "Ada"}, {**rows[0], "name": "Bo"}, *rows[1:]])
    result = cluster(photos, "--names", names)
    assert result.exit_code == 2 and "group 1 has 2 names, 'Ada' and 'Bo'; leave one of them" in result.stderr
    assert {row["name"] for row in read_rows(names)} == {"Ada", "Bo", ""}


def test_a_stale_file_never_names_other_faces(
    cluster: Cli, photos: Path, gallery_path: Path, names: Path, user_folders: Path
) -> None:
    cluster(photos, "--names", names)
    give_names(names, {"1": "Ada", "2": "Bo"})
    for picture in (1, 2, 3):  # other people under the names of the old photographs
        paint_person(photos / "p002" / f"{picture}.png", 7, picture)
    shutil.rmtree(user_folders / "cache")  # and numbers begin anew
    for picture in range(1, 7):
        paint_person(photos / "p000" / f"{picture}.png", 6, picture)
    result = cluster(photos, "--names", names)
    assert result.exit_code == 2
    assert "group 1 of 'Ada' has changed since (4 of its 4 faces are elsewhere now)" in result.stderr
    assert "group 2 of 'Bo' has changed since (they are gone)" in result.stderr
    assert enrolled(gallery_path) == {}
    rows = read_rows(names)
    assert [row["name"] for row in rows] == ["", "", "", ""]
    assert rows[0]["note"].startswith("'Ada' was refused") and rows[1]["note"].startswith("'Bo' was refused")


def test_names_are_for_the_faces_that_the_file_lists(
    cluster: Cli, photos: Path, gallery_path: Path, names: Path
) -> None:
    cluster(photos, "--names", names)
    give_names(names, {"3": "Eve"})
    paint_person(photos / "p003" / "8.png", 3, 8)  # which nobody has seen
    assert cluster(photos, "--names", names).exit_code == 0
    assert enrolled(gallery_path)["Eve"] == {"p003/1", "p003/2"}


def test_a_sorted_column_of_numbers_is_noticed(cluster: Cli, photos: Path, gallery_path: Path, names: Path) -> None:
    cluster(photos, "--names", names)
    rows = read_rows(names)
    numbers = [row["group"] for row in rows][::-1]
    write_rows(names, [{**row, "group": number, "name": "Ada"} for row, number in zip(rows, numbers, strict=True)])
    result = cluster(photos, "--names", names)
    assert "group 3 of 'Ada' has changed since (4 of its 4 faces are elsewhere now)" in result.stderr
    assert enrolled(gallery_path) == {"Ada": {"p002/1", "p002/2", "p002/3"}}  # whose row is as it was


def test_a_photograph_that_is_gone_between_two_steps(
    cluster: Cli, photos: Path, gallery_path: Path, names: Path, tmp_path: Path
) -> None:
    from lightface.batch import embed_folder

    table = tmp_path / "faces.parquet"
    embed_folder(make_colour_pipeline(), [photos], table)
    cluster(table, "--names", names)
    give_names(names, {"1": "Ada", "3": "Eve"})
    (photos / "p001" / "2.png").unlink()
    for picture in (1, 2):
        (photos / "p003" / f"{picture}.png").unlink()
    result = cluster(table, "--names", names)
    assert result.exit_code == 0
    gone = [line for line in result.stderr.splitlines() if re.search(r"^lightface: .*p00\d/\d.png", line)]
    assert len(gone) == 4  # a line a photograph, and one for the name that is left
    assert enrolled(gallery_path) == {"Ada": {"p001/1", "p001/3", "p001/4"}}
    assert {row["group"]: row["name"] for row in read_rows(names)} == {"2": "", "3": "Eve"}


def test_trouble_with_the_names_file_is_one_line(cluster: Cli, photos: Path, names: Path, tmp_path: Path) -> None:
    for text, word in (
        ("path_a,path_b\na,b\n", "no column 'group'"),
        ("group,name,check,age\n1,Ada,a,3\n", "a column 'age' that is not of it"),
        ("", "is empty"),
        ('group,name,check\n1,"Ada,a\n', "quotes"),
        ("group,name,check\n1,Ada, Countess,a\n", "line 2: more cells than columns"),
        ("group,name,check\none,Ada,a\n", "line 2: the group 'one' is no number"),
    ):
        names.write_text(text)
        assert_one_line(cluster(photos, "--names", names), str(names), word)
        assert names.read_text() == text
    names.write_bytes("group,name,check\n1,Zoë,a\n".encode("cp1252"))
    assert_one_line(cluster(photos, "--names", names), "is not UTF-8", "save it as CSV UTF-8")
    assert_one_line(cluster(photos, "--names", tmp_path / "names.xlsx"), "end its name in .csv")
    assert_one_line(cluster(photos, "--names", tmp_path / "none" / "names.csv"), "there is no folder")
    assert_one_line(cluster(photos, "--names", tmp_path), "is none")


def test_an_edit_while_the_command_runs_is_not_lost(
    cluster: Cli, photos: Path, names: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(photos, "--names", names)
    original = read_faces_of

    def read_slowly(*arguments: object, **options: object) -> object:
        give_names(names, {"1": "Ada"})
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("lightface.cli.cluster.read_faces_of", read_slowly)
    result = cluster(photos, "--names", names)
    assert result.exit_code == 2 and "was changed meanwhile, and is left as it is" in result.stderr
    assert read_rows(names)[0]["name"] == "Ada"


KILLED_AT_THE_THIRD_FACE = """
import os, signal, sys
import lightface.pipeline.group_names as naming
enroll, done = naming.enroll_face, []
def count(*arguments):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return enroll(*arguments)
naming.enroll_face = count
from lightface.cli.main import app
app(sys.argv[1:])
"""


def test_nothing_is_lost_when_it_is_killed(
    cluster: Cli, photos: Path, gallery_path: Path, names: Path, tmp_path: Path
) -> None:
    from lightface.batch import embed_folder

    table = tmp_path / "faces.parquet"
    embed_folder(make_colour_pipeline(), [photos], table)
    cluster(table, "--names", names)
    give_names(names, {"1": "Ada", "2": "Bo"})
    before = names.read_bytes()
    arguments = ["cluster", str(table), "--names", str(names), "--threshold", "0.5"]
    program = [sys.executable, "-c", KILLED_AT_THE_THIRD_FACE, *arguments]
    done = subprocess.run(program, capture_output=True, env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert names.read_bytes() == before
    assert [len(faces) for faces in enrolled(gallery_path).values()] == [2]
    again = cluster(table, "--names", names)
    assert again.exit_code == 0, again.output
    # Who was left is known by the gallery meanwhile, or enrolled now; nobody of them is left to be named.
    assert [row["group"] for row in read_rows(names)] == ["3"]
    assert groups_of(cluster(table, "--json")).keys() == {"Ada", "Bo", "3"}
