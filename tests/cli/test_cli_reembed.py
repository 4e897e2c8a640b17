from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli, assert_one_line
from faces_of_colour import ColourEmbedder, make_colour_pipeline, paint_people, paint_person

from lightface.gallery import open_gallery
from lightface.pipeline import FacePipeline, enroll_people


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return paint_people(tmp_path / "people", 8, 4)


@pytest.fixture
def gallery(tmp_path: Path, people: Path) -> Path:
    """Eight people with four samples each, by the old weights."""
    path, pipeline = tmp_path / "gallery.sqlite", make_colour_pipeline(noise=1.2)
    with open_gallery(path, model_id=pipeline.model_id, create=True) as gallery:
        enroll_people(pipeline, gallery, people)
    return path


@pytest.fixture(autouse=True)
def new_weights(monkeypatch: pytest.MonkeyPatch) -> FacePipeline:
    """The new weights tell people worse apart."""
    pipeline = make_colour_pipeline(noise=2.6)
    assert isinstance(pipeline.embedder, ColourEmbedder)
    pipeline.embedder.name = "new"
    monkeypatch.setattr("lightface.cli.reembed.load_face_pipeline", lambda settings, already_aligned: pipeline)
    return pipeline


def model_of(path: Path) -> str | None:
    with open_gallery(path) as gallery:
        return gallery.model_id


def test_a_dry_run_says_what_would_change_and_changes_nothing(cli: Cli, gallery: Path) -> None:
    content = gallery.read_bytes()
    result = cli("gallery", "reembed", "--dry-run", "--threshold", "0.3", "--gallery", gallery)
    assert (result.exit_code, result.stderr) == (0, "would embed 32 samples with new, not colours\n")
    rows = {line.split("  ")[0]: line.split() for line in result.stdout.splitlines()}
    assert rows["one person"][2] == "48" and rows["two people"][2] == "448"
    assert float(rows["one person"][3]) > 0.35 > 0.2 > float(rows["one person"][4])  # mean before and after
    assert "accepted from 0.300 before (as given), 0.300 after (as given)" in result.stdout
    assert int(rows["pairs of one person"][4]) > 40 and rows["pairs of one person"][5] == "0"
    assert "samples named right: 32 before" in result.stdout
    assert "named otherwise, each sample left out of the gallery:" in result.stdout
    assert "nobody (0." in result.stdout and "p001" in result.stdout
    assert gallery.read_bytes() == content


def test_the_same_as_json(cli: Cli, gallery: Path, people: Path) -> None:
    arguments = ("gallery", "reembed", "--dry-run", "--threshold", "0.3", "--gallery", gallery, "--json")
    told = json.loads(cli(*arguments).stdout)
    assert (told["model_id_before"], told["model_id_after"], told["moved"]) == ("colours", "new", False)
    assert (told["embedded"], told["unusable"], told["same"]["pairs"]) == (32, [], 48)
    assert told["pair_flips"]["same_lost"] > 40
    assert told["named_right_before"] - told["named_right_after"] <= len(told["flipped"])
    first = told["flipped"][0]
    assert first["person_name"] == first["name_before"] and first["name_after"] != first["name_before"]
    assert Path(first["source_path"]).parent == people / first["person_name"]


def test_photographs_that_are_gone_or_changed_stop_it_or_are_dropped(cli: Cli, gallery: Path, people: Path) -> None:
    (people / "p001" / "1.png").unlink()
    paint_person(people / "p002" / "2.png", 9, 9)
    (people / "p003" / "3.png").write_bytes(b"no picture")
    arguments = ("gallery", "reembed", "--gallery", gallery)
    assert_one_line(cli(*arguments), "1 of 32 samples", "1.png (it is gone)", "--dry-run", "--drop-unusable")
    assert model_of(gallery) == "colours"

    result = cli(*arguments, "--dry-run")
    assert result.stderr.endswith("would embed 29 samples with new, not colours; 3 cannot be embedded again\n")
    listed = result.stdout.split("cannot be embedded again:\n")[1].splitlines()[1:]
    assert [line.split()[1:3] for line in listed] == [
        *(["p001", "gone"], ["p002", "changed"], ["p003", "unreadable"]),
    ]
    told = json.loads(cli(*arguments, "--dry-run", "--json").stdout)
    assert [one["reason"] for one in told["unusable"]] == ["missing_file", "invalid_image", "invalid_image"]
    assert told["unusable"][1]["message"] == "the photograph has changed since it was enrolled"

    result = cli(*arguments, "--drop-unusable")
    assert result.exit_code == 0 and "deleted:" in result.stdout
    assert result.stderr.endswith("embedded 29 samples with new, not colours; 3 were deleted\n")
    with open_gallery(gallery) as opened:
        assert opened.model_id == "new" and len(opened.samples()) == 29
        assert len(opened.samples("p001")) == 3


def test_long_lists_are_cut_and_json_is_not(cli: Cli, gallery: Path, people: Path) -> None:
    for path in people.glob("p00[1-7]/*.png"):
        path.unlink()
    arguments = ("gallery", "reembed", "--dry-run", "--gallery", gallery)
    assert "and 8 more; --json lists all" in cli(*arguments).stdout
    assert len(json.loads(cli(*arguments, "--json").stdout)["unusable"]) == 28


def test_trouble_is_one_line(cli: Cli, tmp_path: Path) -> None:
    assert_one_line(cli("gallery", "reembed", "--gallery", tmp_path / "none.sqlite"), "none.sqlite", "enroll")
    (tmp_path / "text").write_text("no gallery " * 100)
    assert_one_line(cli("gallery", "reembed", "--gallery", tmp_path / "text"), "is not a gallery")
    assert_one_line(cli("gallery", "reembed", "--threshold", "2", "--gallery", tmp_path / "text"), "--threshold is 2")


def test_an_empty_gallery_has_nothing_to_tell(cli: Cli, tmp_path: Path) -> None:
    open_gallery(tmp_path / "empty.sqlite", create=True).close()
    result = cli("gallery", "reembed", "--dry-run", "--gallery", tmp_path / "empty.sqlite")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "would embed 0 samples with new; nobody was enrolled before\n"
