"""The state of a folder: who is known, who is to be named, what comes next."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import make_colour_pipeline, paint_people
from stand_ins import paint

from lightface.gallery import open_gallery
from lightface.pipeline import enroll_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Person 1 on four photographs, 2 on three, 3 on one, and one photograph of nobody."""
    folder = paint_people(tmp_path / "my photos", 3, 4)
    for person, pictures in ((2, (4,)), (3, (2, 3, 4))):
        for picture in pictures:
            (folder / f"p{person:03d}" / f"{picture}.png").unlink()
    paint(folder / "night.png", (0, 0, 0))
    return folder


@pytest.fixture
def gallery_path(tmp_path: Path, photos: Path) -> Path:
    path = tmp_path / "gallery.sqlite"
    with open_gallery(path, create=True) as gallery:
        enroll_photos(make_colour_pipeline(), gallery, "Ada", [photos / "p001" / "1.png"], threshold=0.5)
    return path


@pytest.fixture
def colours(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    pipeline = make_colour_pipeline()
    monkeypatch.setattr("lightface.cli.face_tables.load_face_pipeline", lambda *arguments, **options: pipeline)
    return cli


def test_the_state_and_what_comes_next(colours: Cli, photos: Path, gallery_path: Path) -> None:
    result = colours("people", photos, "--threshold", 0.5, "--gallery", gallery_path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[:4] for line in lines[:2]] == [
        ["who", "faces", "photographs", "example"],
        ["Ada", "4", "4", "-"],
    ]
    assert lines[2].startswith("group 1  3      3            ")
    assert lines[3] == "9 photographs: 4 faces of 1 known person, 4 unknown in 1 group and 1 in none"
    assert lines[4] == "1 photograph without a face: 1 face_not_found"
    assert lines[5].startswith(f"next: group 1, 3 faces, as on {photos / 'p002'}")
    assert lines[6].startswith("  lightface cluster '")
    assert shlex.split(lines[6])[2:] == [
        *(str(photos), "--threshold", "0.5", "--gallery", str(gallery_path)),
        *("--html", "groups.html", "--names", "names.csv"),
    ]


def test_the_next_command_can_be_typed_until_nobody_is_left(
    colours: Cli, photos: Path, gallery_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("people", photos, "--threshold", 0.5, "--gallery", gallery_path, "--json")
    state = json.loads(colours(*arguments).stdout)
    assert state["schema_version"] == 1 and state["unknown"]["faces"] == 4
    assert state["known"] == [{"person_id": 1, "person_name": "Ada", "faces": 4, "photographs": 4}]
    assert [(one["number"], one["faces"]) for one in state["unknown"]["groups"]] == [(1, 3)]
    command = shlex.split(state["next_command"])[1:]
    assert colours(*command).exit_code == 0
    names = tmp_path / "names.csv"
    names.write_bytes(names.read_bytes().replace(b"\n1,,", b"\n1,Bo,"))
    assert colours(*command).exit_code == 0
    state = json.loads(colours(*arguments).stdout)
    assert {one["person_name"]: one["photographs"] for one in state["known"]} == {"Ada": 4, "Bo": 3}
    assert (state["unknown"]["groups"], state["unknown"]["in_no_group"], state["next_command"]) == ([], 1, None)


def test_trouble_is_one_line(colours: Cli, photos: Path, made_up_gallery: Path, tmp_path: Path) -> None:
    assert_one_line(colours("people", tmp_path / "none"), "does not exist")
    result = colours("people", "-q", photos, "--threshold", 0.5, "--gallery", made_up_gallery)
    assert_one_line(result, "holds embeddings of lightcnn9-000000000000, not of colours")
    assert "--everybody" not in result.stderr
