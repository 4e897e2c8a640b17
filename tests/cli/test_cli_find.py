"""Searching on the command line: photographs of a person, folders and tables in; a list, links and a sheet out."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import make_colour_pipeline, paint_people, paint_person
from PIL import Image

from lightface.records import Status
from lightface.tables import read_faces


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three people with three photographs each."""
    return paint_people(tmp_path / "photos", 3, 3)


@pytest.fixture
def query(tmp_path: Path) -> Path:
    """Another photograph of the second."""
    return paint_person(tmp_path / "query.png", 2, 9)


@pytest.fixture
def find(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command on people of colour, at a threshold that suits them: their weights know none."""
    pipeline = make_colour_pipeline()
    monkeypatch.setattr("lightface.cli.find.load_face_pipeline", lambda *arguments, **options: pipeline)
    monkeypatch.setenv("LIGHTFACE_THRESHOLD", "0.99")  # which is for two faces, and has no say here
    return lambda *arguments: cli("find", *arguments, "--threshold", 0.5)


@pytest.fixture
def table(photos: Path, tmp_path: Path) -> Path:
    from lightface.batch import embed_folder

    embed_folder(make_colour_pipeline(), [photos], tmp_path / "faces.parquet")
    return tmp_path / "faces.parquet"


def test_photographs_of_a_person_in_a_folder_that_is_embedded_once(find: Cli, query: Path, photos: Path) -> None:
    result = find(query, "--in", photos)
    assert result.exit_code == 0, result.output
    header, *lines = [line.split() for line in result.stdout.splitlines()]
    assert header == ["photograph", "face", "status", "similarity"]
    assert {line[0] for line in lines} == set(map(str, (photos / "p002").iterdir()))
    assert [line[2] for line in lines] == ["found"] * 3
    similarities = [float(line[3]) for line in lines]
    assert similarities == sorted(similarities, reverse=True)
    assert "embedded 9 photographs" in result.stderr
    assert result.stderr.endswith("3 photographs of 9 found; searched 9 faces at threshold 0.500\n")
    assert "embedded 0 photographs with 0 faces; 9 unchanged" in find(query, "--in", photos).stderr


def test_several_photographs_and_places_and_the_table(
    find: Cli, query: Path, photos: Path, table: Path, tmp_path: Path
) -> None:
    output = tmp_path / "found.csv"
    own = photos / "p002" / "1.png"
    result = find(query, own, "--in", table, "--in", photos / "p002", "-o", output)
    assert result.exit_code == 0, result.output
    rows = read_faces(output)
    assert {row.image_path for row in rows} == set((photos / "p002").iterdir())
    assert {(row.status, row.threshold) for row in rows} == {(Status.MATCHED, 0.5)}
    marked = {line.split()[0]: line.split()[2] for line in result.stdout.splitlines()[1:]}
    assert marked[str(own)] == "query" and list(marked.values()).count("found") == 2


def test_nobody_found_exits_with_1_and_says_who_comes_nearest(find: Cli, photos: Path, tmp_path: Path) -> None:
    stranger = paint_person(tmp_path / "stranger.png", 9, 1)
    result = find(stranger, "--in", photos, "--copy-to", tmp_path / "copies")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "0 photographs of 9 found" in result.stderr and "nobody else reaches that; nearest is " in result.stderr
    assert not (tmp_path / "copies").exists()
    (own,) = [paint_person(tmp_path / "alone" / "1.png", 9, 1)]
    assert find(own, "--in", own.parent).exit_code == 1  # itself alone


def test_as_json(find: Cli, query: Path, table: Path) -> None:
    search = json.loads(find(query, "--in", table, "--json", "--limit", 2).stdout)
    assert (search["schema_version"], search["model_id"], search["faces_searched"]) == (1, "colours", 9)
    assert [Path(one["image_path"]).parent.name for one in search["found"]] == ["p002"] * 2
    assert search["left_out_by_limit"] == 1


@pytest.mark.parametrize("option", ["--copy-to", "--link-to"])
def test_found_photographs_in_a_folder(
    find: Cli, query: Path, photos: Path, table: Path, tmp_path: Path, option: str
) -> None:
    folder = tmp_path / "found"
    (photos / "p002" / "3.png").unlink()
    result = find(query, "--in", table, option, folder)
    assert result.exit_code == 0, result.output
    assert f"made {folder} with 2 photographs; 1 photograph is gone" in result.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("1.png", "2.png"):
        assert (folder / name).is_symlink() == (option == "--link-to")
        assert (folder / name).read_bytes() == (photos / "p002" / name).read_bytes()
        assert (folder / name).stat().st_mtime == (photos / "p002" / name).stat().st_mtime
    assert_one_line(find(query, "--in", table, option, folder), "not an empty folder; name a new one")


def test_names_below_the_folder_that_was_searched_are_kept(
    find: Cli, query: Path, photos: Path, tmp_path: Path
) -> None:
    paint_person(photos / "p003" / "1.png", 2, 8)  # of one name with another
    assert find(query, "--in", photos, "--copy-to", tmp_path / "found").exit_code == 0
    copies = {path.relative_to(tmp_path / "found") for path in (tmp_path / "found").rglob("*.png")}
    assert copies == {Path("p002/1.png"), Path("p002/2.png"), Path("p002/3.png"), Path("p003/1.png")}


def test_what_would_be_found_the_next_time_or_replaced_is_refused(
    find: Cli, query: Path, photos: Path, table: Path, tmp_path: Path
) -> None:
    inside = find(query, "--in", photos, "--link-to", photos / "found")
    assert_one_line(inside, "--link-to", "which is searched; choose a place outside")
    assert_one_line(find(query, "--in", table, "-o", table), "--output would replace")
    assert_one_line(find(query, "--in", "nowhere"), "'nowhere' does not exist")
    assert_one_line(find(query, "--in", table, "--sheet", query), "--sheet would replace")
    both = find(query, "--in", table, "--link-to", tmp_path / "a", "--copy-to", tmp_path / "b")
    assert_one_line(both, "choose one")
    assert_one_line(find(query, "--in", table, "--sheet", tmp_path / "sheet.txt"), "cannot write a picture")


def test_a_sheet_of_the_faces(find: Cli, query: Path, photos: Path, table: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    (photos / "p002" / "3.png").unlink()
    result = find(query, "--in", table, "--sheet", sheet)
    assert result.exit_code == 0, result.output
    assert "not on the sheet: " in result.stderr and f"drew {sheet}\n" in result.stderr
    picture = np.asarray(Image.open(sheet))
    assert picture.shape[1] == 3 * 192 + 4 * 12  # the face looked for and two that were found
    assert (abs(picture.astype(int) - (20, 180, 100)).sum(axis=2) < 30).sum() > 5000  # the colour of the query


def test_photographs_of_different_people_are_refused(cli: Cli, grace_hopper_path: Path, collins_path: Path) -> None:
    pair = ("find", grace_hopper_path, collins_path, "--in", grace_hopper_path.parent)
    refused = cli(*pair)
    assert_one_line(refused, "seem to show two people", "--even-if-unlike")
    told = cli(*pair, "--even-if-unlike")
    assert "2 photographs of 2 would not pass as the person of the others" in told.stderr


def test_real_portraits(
    cli: Cli,
    hopper_mirrored_path: Path,
    grace_hopper_path: Path,
    both_path: Path,
    collins_path: Path,
    landscape_path: Path,
    tmp_path: Path,
) -> None:
    from lightface.batch import embed_folder
    from lightface.pipeline import load_pipeline

    table = tmp_path / "faces.parquet"
    embed_folder(load_pipeline(device="cpu"), [grace_hopper_path, both_path, collins_path], table)
    result = cli("find", hopper_mirrored_path, "--in", table, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert {line.split()[0] for line in result.stdout.splitlines()[1:]} == {str(grace_hopper_path), str(both_path)}
    assert "searched 4 faces at threshold 0.485" in result.stderr
    largest = cli("find", both_path, "--in", table)
    assert f"{both_path}: 2 faces, the largest taken; see --face-selection" in largest.stderr
    assert_one_line(cli("find", landscape_path, "--in", table), f"{landscape_path}: no face found")
    with_landscape = cli("find", landscape_path, hopper_mirrored_path, "--in", table)
    assert with_landscape.exit_code == 0 and "no face found" in with_landscape.stderr
    faces_of_colour = tmp_path / "colours.parquet"
    embed_folder(make_colour_pipeline(), [grace_hopper_path], faces_of_colour)
    assert_one_line(cli("find", grace_hopper_path, "--in", faces_of_colour), "by colours", "--model")


def test_trouble_is_one_line(find: Cli, query: Path, table: Path, tmp_path: Path) -> None:
    assert_one_line(find(query), "--in")
    assert_one_line(find(tmp_path / "none.png", "--in", table), "none.png")
    assert_one_line(find(query, "--in", tmp_path / "none.csv"), "none.csv", "No such file")
    assert_one_line(find(query, "--in", table, "--face-selection", "all"), "--face-selection")
