from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, assert_one_line

from lightface.errors import GalleryError
from lightface.gallery import NewSample, StoredThreshold, open_gallery
from lightface.models.registry import DEFAULT_WEIGHTS, find_weights


@pytest.fixture(autouse=True)
def this_gallery(made_up_gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTFACE_GALLERY", str(made_up_gallery))


def names(path: Path) -> list[str]:
    with open_gallery(path) as gallery:
        return [person.name for person in gallery.people()]


def test_list(cli: Cli) -> None:
    result = cli("gallery", "list")
    assert result.exit_code == 0
    rows = [line.split()[:3] for line in result.stdout.splitlines()]
    assert rows == [["id", "name", "samples"], ["1", "Ada", "2"], ["2", "Émile", "1"]]


def test_list_as_json(cli: Cli) -> None:
    people = json.loads(cli("gallery", "list", "--json").stdout)
    assert all(datetime.fromisoformat(person.pop("since")).year > 2000 for person in people)
    assert people == [{"id": 1, "name": "Ada", "samples": 2}, {"id": 2, "name": "Émile", "samples": 1}]


def test_list_of_nobody_says_so_on_stderr(cli: Cli) -> None:
    for person in ("1", "2"):
        cli("gallery", "remove", person, "--yes")
    result = cli("gallery", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nobody is enrolled\n")
    assert cli("gallery", "list", "--quiet").stderr == ""


@pytest.mark.parametrize("person", ["Ada", "ADA", "1"])
def test_show_takes_a_name_in_any_case_or_an_id(cli: Cli, person: str) -> None:
    result = cli("gallery", "show", person)
    assert result.exit_code == 0
    assert result.stdout.startswith("Ada (id 1, since ")
    assert "team: engines" in result.stdout
    assert [line.split()[-1] for line in result.stdout.splitlines()[-2:]] == ["/photos/1.jpg", "/photos/2.jpg"]


def test_show_as_json(cli: Cli) -> None:
    shown = json.loads(cli("gallery", "show", "émile", "--json").stdout)
    assert (shown["name"], shown["metadata"]) == ("Émile", {})
    (sample,) = shown["samples"]
    assert sample["source_path"] == "/photos/3.jpg"
    assert sample["box_px"] == [10.0, 20.0, 110.0, 140.0]
    assert "vector" not in sample


def test_an_unknown_person_is_answered_with_the_closest(cli: Cli) -> None:
    assert_one_line(cli("gallery", "show", "Adda"), "no person 'Adda'", "did you mean 'Ada'?")
    assert_one_line(cli("gallery", "show", "17"), "no person 17")
    for digits in (19, 20, 5000):
        assert_one_line(cli("gallery", "show", "9" * digits), "no person")


def test_remove_asks_and_without_a_terminal_needs_yes(cli: Cli, made_up_gallery: Path) -> None:
    assert_one_line(cli("gallery", "remove", "Ada"), "give --yes")
    assert names(made_up_gallery) == ["Ada", "Émile"]
    result = cli("gallery", "remove", "Ada", "--yes")
    assert result.exit_code == 0
    removed, not_reached = result.stderr.splitlines()
    assert removed == "removed Ada (id 1) with 2 samples"
    assert "not reached: the photographs" in not_reached and "backups" in not_reached
    assert names(made_up_gallery) == ["Émile"]


@pytest.mark.parametrize(("answer", "left"), [("y\n", ["Émile"]), ("n\n", ["Ada", "Émile"]), ("\n", ["Ada", "Émile"])])
def test_remove_obeys_the_answer(
    cli: Cli, made_up_gallery: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    monkeypatch.setattr("lightface.cli.console.is_terminal", lambda: True)
    result = cli("gallery", "remove", "Ada", input=answer)
    assert "Remove Ada (id 1) with 2 samples?" in result.stderr
    assert result.exit_code == (0 if answer == "y\n" else 2)
    assert names(made_up_gallery) == left


def test_remove_one_sample(cli: Cli, made_up_gallery: Path) -> None:
    result = cli("gallery", "remove", "Ada", "--sample", "1", "-y")
    assert result.stderr.startswith("removed 1 of 2 samples of Ada (id 1)\nnot reached: ")
    with open_gallery(made_up_gallery) as gallery:
        assert [sample.id for sample in gallery.samples("Ada")] == [2]
    assert_one_line(cli("gallery", "remove", "Ada", "--sample", "3", "-y"), "'Ada' has no sample 3")
    assert "stays without" not in result.stderr
    last = cli("gallery", "remove", "Ada", "--sample", "2", "-y")
    assert last.stderr.startswith("removed 1 of 1 sample of Ada (id 1)\nAda stays without a sample; 'lightface gallery")


def test_rename(cli: Cli, made_up_gallery: Path) -> None:
    assert cli("gallery", "rename", "ada", "Ada Lovelace").stderr == "Ada is Ada Lovelace now\n"
    assert names(made_up_gallery) == ["Ada Lovelace", "Émile"]
    assert_one_line(cli("gallery", "rename", "émile", "ADA lovelace"), "there is a 'Ada Lovelace' already")


def test_merge(cli: Cli, made_up_gallery: Path) -> None:
    assert_one_line(cli("gallery", "merge", "Émile", "Ada"), "give --yes")
    assert cli("gallery", "merge", "Émile", "Ada", "--yes").stderr == "Émile is Ada now, with 3 samples\n"
    assert names(made_up_gallery) == ["Ada"]


def test_export_and_import_by_files(cli: Cli, tmp_path: Path) -> None:
    exported, copy = tmp_path / "people.jsonl", tmp_path / "new" / "copy.sqlite"
    result = cli("gallery", "export", exported)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"exported 2 people with 3 samples to {exported}\n"
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    result = cli("gallery", "import", exported, "--gallery", copy)
    assert result.stderr == "imported 2 people and 3 samples; 0 samples were there already\n"
    assert names(copy) == ["Ada", "Émile"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    result = cli("gallery", "import", exported, "--gallery", copy)
    assert result.stderr == "imported 0 people and 0 samples; 3 samples were there already\n"


def test_export_and_import_by_pipe(cli: Cli, tmp_path: Path) -> None:
    exported = cli("gallery", "export", "-")
    assert exported.exit_code == 0 and exported.stderr == ""
    assert [json.loads(line)["kind"] for line in exported.stdout.splitlines()].count("sample") == 3
    copy = tmp_path / "copy.sqlite"
    assert cli("gallery", "import", "-", "--gallery", copy, input=exported.stdout).exit_code == 0
    assert names(copy) == ["Ada", "Émile"]


def test_an_import_of_something_else_changes_nothing(cli: Cli, made_up_gallery: Path) -> None:
    assert_one_line(cli("gallery", "import", "-", input='{"a": 1}\n'), "line 1")
    nowhere = made_up_gallery.with_name("new.sqlite")
    assert_one_line(cli("gallery", "import", "-", "--gallery", nowhere, input='{"a": 1}\n'), "line 1")
    assert not nowhere.exists()
    assert_one_line(cli("gallery", "import", made_up_gallery.parent / "none.jsonl"), "none.jsonl cannot be read")
    picture = made_up_gallery.parent / "hopper.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    assert_one_line(cli("gallery", "import", picture), "hopper.jpg is not an exported gallery; name what")
    assert names(made_up_gallery) == ["Ada", "Émile"]


def test_import_does_not_copy_what_never_ends(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lightface.cli.inputs.MOST_BYTES", 3_000_000)
    nowhere = tmp_path / "none.sqlite"
    assert_one_line(cli("gallery", "import", "-", "--gallery", nowhere, input=bytes(6_000_000)), "stdin has more than")
    assert not nowhere.exists()


def test_an_import_says_which_thresholds_it_brought(cli: Cli, made_up_gallery: Path, tmp_path: Path) -> None:
    with open_gallery(made_up_gallery) as gallery:
        gallery.set_threshold(StoredThreshold(far=1e-3, threshold=0.41, source="club pairs"))
    exported = tmp_path / "people.jsonl"
    cli("gallery", "export", exported)
    said = cli("gallery", "import", exported, "--gallery", tmp_path / "copy.sqlite").stderr
    assert said.splitlines()[1:] == [
        "lightface: the file brought 1 threshold, which decides who is recognised; see 'lightface gallery stats', and "
        "'lightface calibrate --reset' to do without"
    ]
    assert cli("gallery", "import", exported, "--gallery", tmp_path / "copy.sqlite").stderr.count("\n") == 1


def test_a_link_that_leads_to_itself_is_told(cli: Cli, made_up_gallery: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    for arguments in (
        ("gallery", "import", loop),
        ("gallery", "list", "--gallery", loop),
        ("verify", "--pairs", loop, "-o", tmp_path / "out.csv"),
        ("cluster", loop),
    ):
        result = cli(*arguments)
        assert_one_line(result, "loop.jsonl")
        assert "a fault in lightface" not in result.stderr
    assert cli("gallery", "export", loop).exit_code == 0  # a file takes the place of the link
    assert loop.read_bytes().startswith(b'{"kind": "gallery"') and not loop.is_symlink()


def test_what_an_import_refuses_it_takes_where_it_is_asked_to(cli: Cli, made_up_gallery: Path, tmp_path: Path) -> None:
    exported, copy = tmp_path / "people.jsonl", tmp_path / "copy.sqlite"
    cli("gallery", "export", exported)
    header, *lines = [json.loads(line) for line in exported.read_text().splitlines()]
    lines[0]["name"], lines[1]["name"] = "Ann Lee", "Ann  Lee"
    brought = {"kind": "threshold", "far": 1e-3, "threshold": 0.01, "source": "x", "created_at": lines[0]["created_at"]}
    header["model_id"] = find_weights(DEFAULT_WEIGHTS).model_id
    exported.write_text("".join(f"{json.dumps(line)}\n" for line in (header, brought, *lines)))
    arguments = ("gallery", "import", exported, "--gallery", copy)
    assert_one_line(cli(*arguments), "line 4", "'Ann  Lee' and 'Ann Lee'")
    assert_one_line(cli(*arguments, "--allow-alike"), "brings a threshold of 0.010", "allow looser ones")
    assert not copy.exists()
    result = cli(*arguments, "--allow-alike", "--allow-looser")
    assert result.exit_code == 0 and "the file brought 1 threshold" in result.stderr


def test_an_import_that_fails_in_its_middle_leaves_no_gallery(cli: Cli, tmp_path: Path) -> None:
    exported = tmp_path / "people.jsonl"
    cli("gallery", "export", exported)
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    lines[-1]["image_sha256"] = lines[-2]["image_sha256"]  # one face of two people
    exported.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    folder = tmp_path / "new"
    folder.mkdir()
    result = cli("gallery", "import", exported, "--gallery", folder / "gallery.sqlite")
    assert_one_line(result, "cannot be 'Émile' as well")
    assert list(folder.iterdir()) == []


def test_a_copy_that_fails_leaves_no_gallery(cli: Cli, made_up_gallery: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(made_up_gallery, isolation_level=None)
    connection.execute("UPDATE sample SET quality = 7 WHERE id = 3")
    connection.close()
    folder = tmp_path / "new"
    folder.mkdir()
    result = cli("gallery", "copy", made_up_gallery, folder / "gallery.sqlite")
    assert_one_line(result, "score and quality", "from 0 to 1")
    assert list(folder.iterdir()) == []
    (folder / "gallery.sqlite").touch()  # as after a kill at the very first moment
    exported = tmp_path / "people.jsonl"
    assert cli("gallery", "export", exported).exit_code == 0
    assert_one_line(cli("gallery", "import", exported, "--gallery", folder / "gallery.sqlite"), "from 0 to 1")


def test_stats(cli: Cli, made_up_gallery: Path) -> None:
    with open_gallery(made_up_gallery) as gallery:
        earlier, later = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
        gallery.set_threshold(StoredThreshold(far=1e-3, threshold=0.41, source="club pairs", created_at=later))
        gallery.set_threshold(StoredThreshold(far=1e-4, threshold=0.5, source="other pairs", created_at=earlier))
    lines = [line.split(maxsplit=1) for line in cli("gallery", "stats").stdout.splitlines()]
    assert lines[:4] == [
        ["gallery", str(made_up_gallery)],
        ["model", "lightcnn9-000000000000"],
        ["people", "2"],
        ["samples", "3"],
    ]
    assert [" ".join(" ".join(line).split()) for line in lines[-2:]] == [
        "threshold at FAR 0.001 0.410 (club pairs; 2026-03-04)",
        "threshold at FAR 0.0001 0.500 (other pairs; 2026-01-02, which a later calibration replaced)",
    ]
    stats = json.loads(cli("gallery", "stats", "--json").stdout)
    assert stats["stats"]["sample_count"] == 3
    assert stats["thresholds"][0]["threshold"] == 0.41


def test_no_gallery_is_told_with_the_way_out(cli: Cli, tmp_path: Path) -> None:
    for command in (["list"], ["show", "Ada"], ["stats"], ["export", "-"]):
        assert_one_line(cli("gallery", *command, "--gallery", tmp_path / "none"), "there is no gallery at", "enroll")
    assert not (tmp_path / "none").exists()


def test_a_wrong_file_is_no_gallery(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 1000)
    assert_one_line(cli("gallery", "list", "--gallery", tmp_path / "text"), "is not a gallery")
    assert_one_line(cli("gallery", "list", "--gallery", tmp_path), "is a folder")
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert_one_line(cli("gallery", "list", "--gallery", foreign), "another application's database")


def test_an_export_at_a_terminal_shows_everything(made_up_gallery: Path) -> None:
    with open_gallery(made_up_gallery) as gallery:
        gallery.set_metadata("Ada", {"note": "\x9b2J\u202eeve"})
    script = (
        "import io, sys\n"
        "sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding='utf-8', write_through=True)\n"
        "sys.stdout.isatty = lambda: True\n"
        "from lightface.cli.main import app\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "finally:\n"
        "    sys.__stdout__.write(sys.stdout.buffer.getvalue().decode())\n"
    )
    command = [sys.executable, "-c", script, "gallery", "export", "-", "--gallery", str(made_up_gallery)]
    done = subprocess.run(command, capture_output=True, check=True)
    lines = done.stdout.decode().split("\n")
    assert "\\u009b2J\\u202eeve" in lines[1] and all(line.isprintable() for line in lines)
    assert json.loads(lines[1])["metadata"]["note"] == "\x9b2J\u202eeve"


def test_relocate(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, new = tmp_path / "club.sqlite", tmp_path / "new"
    monkeypatch.setenv("LIGHTFACE_GALLERY", str(path))
    new.mkdir()
    with open_gallery(path, create=True) as gallery:
        for number in (1, 2, 3):
            (new / f"{number}.jpg").write_bytes(b"picture %d" % number)
            sample = NewSample(
                vector=np.eye(256, dtype=np.float32)[number],
                model_id="lightcnn9-000000000000",
                source_path=f"/photos/{number}.jpg",
                image_sha256=hashlib.sha256(b"picture %d" % number).hexdigest(),
            )
            gallery.enroll("Ada", [sample])
    (new / "2.jpg").unlink()
    (new / "3.jpg").write_bytes(b"another")
    dry = cli("gallery", "relocate", "/photos", new, "--dry-run")
    assert (dry.exit_code, dry.stderr) == (0, "1 sample would be relocated; 2 stay as before\n")
    assert [line.split() for line in dry.stdout.splitlines()] == [
        ["sample", "person", "status", "photograph"],
        ["2", "Ada", "missing", str(new / "2.jpg")],
        ["3", "Ada", "different", str(new / "3.jpg")],
    ]
    assert "/photos/1.jpg" in cli("gallery", "show", "Ada").stdout
    done = cli("gallery", "relocate", "/photos", new, "--json")
    assert done.stderr == "1 sample relocated; 2 stay as before\n"
    told = json.loads(done.stdout)
    assert (told["schema_version"], told["dry_run"]) == (1, False)
    assert [one["status"] for one in told["samples"]] == ["relocated", "missing", "different"]
    assert str(new / "1.jpg") in cli("gallery", "show", "Ada").stdout
    assert cli("gallery", "relocate", "/photos", new).exit_code == 2  # nothing could be done
    assert_one_line(cli("gallery", "relocate", "/nowhere", new), "no sample of", "/nowhere")


def test_undo(cli: Cli, made_up_gallery: Path) -> None:
    assert cli("gallery", "merge", "Émile", "Ada", "--yes").exit_code == 0
    assert_one_line(cli("gallery", "undo"), "give --yes")
    assert names(made_up_gallery) == ["Ada"]
    done = cli("gallery", "undo", "--yes")
    assert done.stderr == ("took back 'merge': 1 person and 1 sample become as before\n")
    assert names(made_up_gallery) == ["Ada", "Émile"]
    assert_one_line(cli("gallery", "undo", "--yes"), "there is no change to take back", "taken back already")


def test_undo_takes_back_a_move_of_several_samples_but_no_removal(cli: Cli, made_up_gallery: Path) -> None:
    assert cli("gallery", "move", "Ada", "--to", "Bo", "--sample", 1, "--sample", 2).exit_code == 0
    assert cli("gallery", "undo", "--yes").exit_code == 0
    assert names(made_up_gallery) == ["Ada", "Émile"]
    with open_gallery(made_up_gallery) as gallery:
        assert [sample.id for sample in gallery.samples("Ada")] == [1, 2]
    cli("gallery", "merge", "Émile", "Ada", "--yes")
    assert cli("gallery", "remove", "Ada", "--sample", 3, "--yes").exit_code == 0
    assert_one_line(cli("gallery", "undo", "--yes"), "is final, as a removal")


def test_undo_forgets(cli: Cli, made_up_gallery: Path) -> None:
    cli("gallery", "merge", "Émile", "Ada", "--yes")
    assert cli("gallery", "undo", "--forget").exit_code == 0
    assert_one_line(cli("gallery", "undo", "--yes"), "no change to take back")
    assert "Émile".encode() not in made_up_gallery.read_bytes()


def test_a_url_of_another_kind_is_no_gallery(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for a path, and a folder of its name made."""
    monkeypatch.chdir(tmp_path)
    assert_one_line(cli("gallery", "list", "--gallery", "s3://b/g.sqlite"), "is no gallery", "postgresql://")
    assert_one_line(cli("gallery", "copy", "s3://b/g.sqlite", "there.sqlite"), "is no gallery")
    with pytest.raises(GalleryError, match="is no gallery"):
        open_gallery("s3://b/g.sqlite", create=True)
    assert_one_line(cli("gallery", "relocate", "s3://b/old", tmp_path), "is a URL")
    assert not (tmp_path / "s3:").exists() and not (tmp_path / "there.sqlite").exists()
