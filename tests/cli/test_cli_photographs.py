"""What stands for a photograph on the command line: files, folders, stdin, URLs; and what is said of odd ones."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import fsspec
import pytest
from command_line import Cli, assert_one_line
from PIL import Image

from lightface.images import PHOTO_SUFFIXES
from lightface.records import ByteArray


@pytest.fixture
def hopper_url(grace_hopper_path: Path) -> str:
    """A photograph on another machine, as it were."""
    fsspec.filesystem("memory").pipe_file("/album/hopper.jpg", grace_hopper_path.read_bytes())
    fsspec.filesystem("memory").pipe_file("/album/notes.txt", b"no photograph")
    return "memory://album/hopper.jpg"


# --- stdin ------------------------------------------------------------------------------------------


def test_identify_takes_a_photograph_from_stdin(
    cli: Cli, portrait_gallery: Path, both_path: Path, tmp_path: Path
) -> None:
    drawn, table = tmp_path / "drawn.png", tmp_path / "faces.csv"
    arguments = ("identify", "-", "--gallery", portrait_gallery, "--draw", drawn, "-o", table)
    result = cli(*arguments, "--json", input=both_path.read_bytes())
    assert result.exit_code == 0
    rows = json.loads(result.stdout)["faces"]
    assert [(row["person_name"], row["image_path"]) for row in rows] == [
        ("Grace Hopper", "stdin"),
        ("Eileen Collins", "stdin"),
    ]
    assert Image.open(drawn).size == Image.open(both_path).size
    assert "stdin," in table.read_text()


def test_identify_still_takes_a_list_from_stdin(cli: Cli, portrait_gallery: Path, both_path: Path) -> None:
    result = cli("identify", "-", "--gallery", portrait_gallery, input=f"{both_path}\n".encode())
    assert result.exit_code == 0 and "Grace Hopper" in result.stdout


def test_stdin_without_end_is_noticed(
    cli: Cli, portrait_gallery: Path, grace_hopper_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightface.files._MOST_LIST_BYTES", 3_000_000)
    monkeypatch.setattr("lightface.cli.inputs.MOST_BYTES", 3_000_000)
    for data, words in ((b"a" * 5_000_000, "a line of it has more than"), (bytes(5_000_000), "it has more than 3 MB")):
        refused = cli("identify", "-", "--gallery", portrait_gallery, input=data)
        assert_one_line(refused, "stdin cannot be taken for a list", words, "write one name a line")
        assert_one_line(cli("verify", "--pairs", "-", input=data), "stdin cannot be taken for a list", words)
    assert_one_line(cli("verify", "-", grace_hopper_path, input=bytes(5_000_000)), "stdin has more than 0.0 GB")
    film = grace_hopper_path.read_bytes() + bytes(5_000_000)
    assert_one_line(cli("identify", "-", "--gallery", portrait_gallery, input=film), "stdin has more than 0.0 GB")


@pytest.mark.parametrize("kind", ["webp", "avif", "tiff", "bmp", "gif"])
def test_a_picture_of_any_kind_is_told_from_a_list(
    cli: Cli, portrait_gallery: Path, grace_hopper_rgb: ByteArray, kind: str
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(grace_hopper_rgb).save(buffer, kind)
    assert buffer.tell() > 1 << 16 or kind in ("webp", "avif")  # what is looked at first
    assert "Grace Hopper" in cli("identify", "-", "--gallery", portrait_gallery, input=buffer.getvalue()).stdout


def test_pairs_come_by_stdin_and_a_pipe_says_so(cli: Cli, grace_hopper_path: Path, tmp_path: Path) -> None:
    listed = f"{grace_hopper_path},{grace_hopper_path}\n"
    assert "1 same" in cli("verify", "--pairs", "-", input=listed).stderr
    os.mkfifo(tmp_path / "pipe")
    refused = cli("verify", "--pairs", tmp_path / "pipe")
    assert_one_line(refused, "it is a pipe or a device", "what a program writes is taken from stdin, as -")


@pytest.mark.parametrize("cut", [20, 5000])
def test_a_damaged_photograph_on_stdin_is_no_list(
    cli: Cli, portrait_gallery: Path, grace_hopper_path: Path, cut: int
) -> None:
    data = grace_hopper_path.read_bytes()[:cut]
    assert_one_line(cli("identify", "-", "--gallery", portrait_gallery, input=data), "'stdin' is")


def test_other_commands_take_a_photograph_from_stdin_or_say_that_they_do_not(
    cli: Cli, grace_hopper_path: Path, tmp_path: Path
) -> None:
    data = grace_hopper_path.read_bytes()
    gallery = tmp_path / "g.sqlite"
    assert "face" in cli("detect", "-", input=data).stdout
    assert cli("enroll", "Grace", "-", "--gallery", gallery, input=data).exit_code == 0
    refused = cli("embed", "-", "-o", tmp_path / "faces.csv", input=data)
    assert_one_line(refused, "a photograph came by stdin", "save it to a file")


# --- URLs -------------------------------------------------------------------------------------------


def test_photographs_are_taken_by_url_in_every_job(
    cli: Cli, hopper_url: str, grace_hopper_path: Path, portrait_gallery: Path, tmp_path: Path
) -> None:
    assert cli("verify", hopper_url, grace_hopper_path).exit_code == 0
    assert "Grace Hopper" in cli("identify", hopper_url, "--gallery", portrait_gallery).stdout
    assert "Grace Hopper" in cli("identify", "memory://album", "--gallery", portrait_gallery).stdout
    assert hopper_url in cli("detect", hopper_url).stdout
    gallery = tmp_path / "g.sqlite"
    assert cli("enroll", "Grace", hopper_url, "--gallery", gallery).exit_code == 0
    assert hopper_url in cli("gallery", "show", "Grace", "--gallery", gallery).stdout
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(f"{hopper_url},{grace_hopper_path}\n")
    compared = cli("verify", "--pairs", pairs)  # a list names the URL, not the user
    assert compared.exit_code == 2 and "not fetched: only what you name yourself is" in compared.stderr
    assert ",error," in compared.stdout
    drawn = tmp_path / "drawn.jpg"
    assert cli("identify", hopper_url, "--gallery", portrait_gallery, "--draw", drawn).exit_code == 0
    assert drawn.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("enroll", "--people", "s3://bucket/people"),
        ("evaluate", "https://example.org/pairs.csv"),
        ("train", "--data", "s3://bucket/people"),
        ("gallery", "import", "https://example.org/export.jsonl"),
        ("models", "import", "https://example.org/net.pth"),
        ("verify", "--pairs", "https://example.org/pairs.csv"),
        ("detect", "a.jpg", "--crops", "s3://bucket/crops"),
        ("calibrate", "https://example.org/pairs.csv"),
    ],
    ids=" ".join,
)
def test_a_url_is_refused_in_words_elsewhere(cli: Cli, arguments: tuple[str, ...]) -> None:
    (url,) = (argument for argument in arguments if "://" in argument)
    assert_one_line(cli(*arguments), f"{url} is a URL", "download it first")


# --- odd photographs --------------------------------------------------------------------------------


def test_what_is_passed_over_for_its_suffix_is_told_once(
    cli: Cli, grace_hopper_path: Path, collins_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightface.images.photos._found_suffixes", lambda: PHOTO_SUFFIXES)  # as without rawpy
    monkeypatch.setattr("lightface.images.photos.find_spec", lambda name: None)
    for name, photo in (("Grace", grace_hopper_path), ("Eileen", collins_path)):
        (tmp_path / "people" / name).mkdir(parents=True)
        shutil.copy(photo, tmp_path / "people" / name)
        for passed_over in ("1.nef", "2.NEF", "notes.txt"):
            (tmp_path / "people" / name / passed_over).touch()
    told = "lightface: passed over 4 .nef, 2 .txt; install rawpy"
    for arguments in (("detect", tmp_path / "people"), ("embed", tmp_path / "people", "-o", tmp_path / "f.csv")):
        assert cli(*arguments).stderr.count(told) == 1
    people = cli("enroll", "--people", tmp_path / "people", "--gallery", tmp_path / "g.sqlite")
    assert people.exit_code == 0 and people.stderr.count(told) == 1
    assert "passed over" not in cli("detect", tmp_path / "people" / "Grace", "--quiet").stderr


def test_a_truncated_photograph_is_read_on_request(cli: Cli, grace_hopper_path: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.open(grace_hopper_path).convert("RGB").save(buffer, "JPEG", quality=95)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(buffer.getvalue()[:-3000])
    assert_one_line(cli("verify", cut, grace_hopper_path), "truncated", "pixels are missing at its end")
    told_not_to = cli(
        "verify", cut, grace_hopper_path, "--no-allow-truncated", env={"LIGHTFACE_ALLOW_TRUNCATED": "true"}
    )
    assert_one_line(told_not_to, "truncated")
    result = cli("verify", cut, grace_hopper_path, "--allow-truncated", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0 and "is truncated; what is missing is grey" in result.stderr
