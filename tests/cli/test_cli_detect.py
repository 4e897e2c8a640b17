from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, assert_one_line
from PIL import Image

from lightface.cli.results import WRITABLE_SUFFIXES, plan_pictures
from lightface.errors import ConfigError
from lightface.images import save_image
from lightface.records import ByteArray


@pytest.fixture
def folder(tmp_path: Path, grace_hopper_path: Path, collins_path: Path, landscape_path: Path) -> Path:
    """grace.jpg, deep/collins.png and landscape.png, and a file that only pretends to be a picture."""
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    shutil.copy(grace_hopper_path, photos / "grace.jpg")
    shutil.copy(collins_path, photos / "deep" / "collins.png")
    shutil.copy(landscape_path, photos / "landscape.png")
    (photos / "text.jpg").write_text("hello")
    return photos


def test_a_table_with_a_row_for_each_face(cli: Cli, grace_hopper_path: Path) -> None:
    result = cli("detect", grace_hopper_path)
    assert (result.exit_code, result.stderr) == (0, "")
    header, row = result.stdout.splitlines()
    assert header.split()[:4] == ["photograph", "face", "score", "quality"]
    x_min, y_min, x_max, y_max = (int(edge) for edge in row.split()[-4:])
    assert x_min < 222 < 310 < x_max  # around her eyes
    assert y_min < 187 < 278 < y_max  # and her mouth


def test_json_has_the_columns_of_the_face_table(cli: Cli, grace_hopper_path: Path) -> None:
    (row,) = json.loads(cli("detect", grace_hopper_path, "--json").stdout)
    assert list(row) == ["image_path", "face_index", "bbox", "landmarks", "det_score", "quality"]
    assert row["image_path"] == str(grace_hopper_path)
    assert np.shape(row["landmarks"]) == (5, 2)
    eye_a, eye_b = row["landmarks"][:2]
    assert eye_a == pytest.approx([222, 192], abs=4) and eye_b == pytest.approx([309, 187], abs=4)
    assert 0.9 < row["det_score"] <= 1 and 0.9 < row["quality"] <= 1


def test_a_folder_is_searched_and_a_bad_file_does_not_stop_it(cli: Cli, folder: Path, tmp_path: Path) -> None:
    drawn, crops, sheet = tmp_path / "drawn", tmp_path / "crops", tmp_path / "sheet.png"
    result = cli("detect", folder, "--draw", drawn, "--crops", crops, "--sheet", sheet, "--json")
    assert result.exit_code == 0
    assert [Path(row["image_path"]).name for row in json.loads(result.stdout)] == ["collins.png", "grace.jpg"]
    assert f"lightface: '{folder / 'text.jpg'}' is not a picture that can be read" in result.stderr
    assert f"lightface: {folder / 'landscape.png'}: no face found; use a larger" in result.stderr
    assert result.stderr.endswith("2 faces in 4 photographs; 2 photographs without a face\n")
    found = sorted(str(path.relative_to(tmp_path)) for path in drawn.rglob("*.*"))
    assert found == ["drawn/deep/collins.png", "drawn/grace.jpg", "drawn/landscape.png"]
    cut = sorted(str(path.relative_to(crops)) for path in crops.rglob("*.png"))
    assert cut == ["deep/collins-0.png", "grace-0.png"]
    assert Image.open(crops / "grace-0.png").size == (128, 128)
    assert Image.open(sheet).size[0] > 2 * 192
    changed = np.asarray(Image.open(drawn / "deep" / "collins.png")) != np.asarray(
        Image.open(folder / "deep" / "collins.png")
    )
    assert changed.any()


def test_folders_in_folders_can_be_left_out(cli: Cli, folder: Path) -> None:
    rows = json.loads(cli("detect", folder, "--no-recursive", "--json").stdout)
    assert [Path(row["image_path"]).name for row in rows] == ["grace.jpg"]


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_paths_come_from_stdin(cli: Cli, folder: Path, separator: str) -> None:
    listed = separator.join([str(folder / "grace.jpg"), str(folder / "deep"), ""])
    rows = json.loads(cli("detect", "-", "--json", input=listed).stdout)
    assert [Path(row["image_path"]).name for row in rows] == ["grace.jpg", "collins.png"]
    assert_one_line(cli("detect", "-", "-", input=listed), "give - once")


def test_one_photograph_is_drawn_into_the_named_file(cli: Cli, grace_hopper_path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "boxes.png"
    result = cli("detect", grace_hopper_path, "--draw", picture)
    assert (result.exit_code, result.stderr) == (0, f"drew {picture}\n")
    assert Image.open(picture).size == (512, 600)
    assert cli("detect", grace_hopper_path, "--draw", picture, "--quiet").stderr == ""


def test_no_face_is_trouble(cli: Cli, landscape_path: Path, tmp_path: Path) -> None:
    assert_one_line(cli("detect", landscape_path), f"no face found in {landscape_path}", "--min-face-size")
    (tmp_path / "empty").mkdir()
    assert_one_line(cli("detect", tmp_path / "empty"), "there is no photograph in what was named")
    assert_one_line(cli("detect", tmp_path / "none.jpg"), "none.jpg' does not exist")


def test_the_settings_reach_the_detector(cli: Cli, grace_hopper_path: Path) -> None:
    assert_one_line(cli("detect", grace_hopper_path, "--min-face-size", "400"), "no face found")
    assert_one_line(cli("detect", grace_hopper_path, "--min-face-size", "90%"), "no face found")
    assert cli("detect", grace_hopper_path, "--min-face-size", "20%").exit_code == 0
    assert_one_line(cli("detect", grace_hopper_path, "--min-face-size", "5 px"), "--min-face-size is '5 px'; it must")
    assert_one_line(cli("detect", grace_hopper_path, "--det-threshold", "1"), "no face found")
    assert_one_line(cli("detect", grace_hopper_path, "--max-side", "20"), "no face found")
    assert_one_line(cli("detect", grace_hopper_path, "--max-side", "11"), "--max-side is 11; it must be 12 or more")
    assert_one_line(cli("detect", grace_hopper_path, "--device", "tpu"), "unknown device 'tpu'")
    result = cli("detect", grace_hopper_path, "--max-pixels", "1000")
    assert result.exit_code == 2
    assert "has 512x600 pixels, more than the limit of 1,000 pixels" in result.stderr


def test_without_turns_the_advice_names_them(cli: Cli, tmp_path: Path, grace_hopper_path: Path) -> None:
    turned = tmp_path / "turned.jpg"
    with Image.open(grace_hopper_path) as image:
        image.convert("RGB").rotate(180).save(turned)
    assert cli("detect", turned).exit_code == 0
    for command in (["detect", turned], ["verify", turned, turned]):
        assert_one_line(cli(*command, "--turns", "off"), "no face found", "with --turns off, faces on their side")
    assert "turns" not in cli("detect", grace_hopper_path, "--min-face-size", "400").stderr


def test_one_photograph_that_cannot_be_read_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    assert_one_line(cli("detect", tmp_path / "notes.jpg"), "notes.jpg' is not a picture that can be read")


def test_a_photograph_is_never_replaced(cli: Cli, folder: Path) -> None:
    before = (folder / "grace.jpg").read_bytes()
    assert_one_line(cli("detect", folder / "grace.jpg", "--draw", folder / "grace.jpg"), "would replace")
    assert_one_line(cli("detect", folder, "--draw", folder), "which it is made of; name another place")
    assert_one_line(
        cli("detect", folder, "--sheet", folder / "grace.jpg"), "--sheet would replace", "which it is made of"
    )
    assert (folder / "grace.jpg").read_bytes() == before


def test_one_picture_cannot_take_several_photographs() -> None:
    with pytest.raises(ConfigError, match="is one picture for 2 photographs; name a folder"):
        plan_pictures(Path("out.jpg"), [], [Path("a.jpg"), Path("b.jpg")], option="--draw")


@pytest.mark.parametrize(
    ("named", "photos", "pictures"),
    [
        (["/p"], ["/p/a/1.jpg", "/p/b/1.heic"], ["a/1.jpg", "b/1.heic.jpg"]),
        (["/p"], ["/p/a/1.jpg"], ["a/1.jpg"]),  # as when there are more
        (["/p/a", "/q/b"], ["/p/a/1.jpg", "/q/b/2.jpg"], ["a/1.jpg", "b/2.jpg"]),
        (["/p/a", "/q/a"], ["/p/a/1.jpg", "/q/a/1.jpg"], ["p/a/1.jpg", "q/a/1.jpg"]),
        (["1.jpg", "/far/away/2.jpg"], ["1.jpg", "/far/away/2.jpg"], ["1.jpg", "2.jpg"]),
        (["/p/1.jpg", "/far/away/1.jpg"], ["/p/1.jpg", "/far/away/1.jpg"], ["p/1.jpg", "away/1.jpg"]),
        (["-"], ["/p/a/1.jpg", "/p/b/1.jpg"], ["a/1.jpg", "b/1.jpg"]),
        (["/p"], ["/p/1.heic", "/p/1.heic.jpg"], ["1.heic.jpg.jpg", "1.heic.jpg"]),
    ],
)
def test_pictures_lie_as_the_photographs_do(named: list[str], photos: list[str], pictures: list[str]) -> None:
    planned = plan_pictures(Path("out"), [Path(one) for one in named], [Path(one) for one in photos], option="--draw")
    assert list(planned.values()) == [Path("out", one) for one in pictures]


def test_crops_of_photographs_that_differ_by_their_suffix(
    cli: Cli, grace_hopper_rgb: ByteArray, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("1.jpg", "1.png", "2.png"):
        Image.fromarray(grace_hopper_rgb).save(photos / name)
    assert cli("detect", photos, "--crops", tmp_path / "crops").exit_code == 0
    assert sorted(crop.name for crop in (tmp_path / "crops").iterdir()) == ["1.jpg-0.png", "1.png-0.png", "2-0.png"]


def test_a_place_that_cannot_be_written_is_told(cli: Cli, grace_hopper_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_one_line(cli("detect", grace_hopper_path, "--draw", tmp_path / "file" / "x.png"), "cannot make the folder")
    assert_one_line(cli("detect", grace_hopper_path, "--crops", tmp_path / "file" / "x"), "cannot make the folder")
    assert_one_line(cli("detect", grace_hopper_path, "--sheet", tmp_path / "none" / "x.png"), "cannot write")


def test_every_writable_suffix_can_be_written(tmp_path: Path) -> None:
    for suffix in WRITABLE_SUFFIXES:
        save_image(np.zeros((4, 4, 3), np.uint8), tmp_path / f"x{suffix}")
