from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Cli, assert_one_line
from typer.main import get_command

import lightface
from lightface.cli.main import app
from lightface.errors import GalleryError
from lightface.gallery import open_gallery


def test_version(cli: Cli) -> None:
    result = cli("--version")
    assert (result.exit_code, result.stdout) == (0, f"lightface {lightface.__version__}\n")


def test_help_shows_the_jobs_first(cli: Cli) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        result = cli(*arguments)
        assert result.exit_code == 0
        places = [result.stdout.index(f" {command} ") for command in ("enroll", "verify", "embed", "identify")]
        assert places == sorted(places)
        others = ("detect", "gallery", "models", "train", "doctor")
        assert places[-1] < min(result.stdout.index(f" {command} ") for command in others)


@pytest.mark.parametrize("arguments", [["--help"], ["embed", "--help"], ["gallery", "list", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from lightface.cli.main import app\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "finally:\n"
        "    heavy = {'torch', 'cv2', 'numpy', 'scipy', 'PIL', 'pyarrow', 'facenet_pytorch', 'sqlite3'}\n"
        "    print('heavy:', sorted(heavy & sys.modules.keys()))\n"
    )
    output = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert output.stdout.splitlines()[-1] == "heavy: []"


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


@pytest.mark.parametrize(("path", "command"), [*_commands(get_command(app))])
def test_help_at_80_columns_names_each_option_whole(cli: Cli, path: tuple[str, ...], command: Any) -> None:
    text = cli(*path, "--help", env={"COLUMNS": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "{" not in text
    words = set(re.split(r"[\s,│]+", text))
    for param in command.params:
        if param.param_type_name == "option" and not param.hidden:
            assert {*param.opts, *param.secondary_opts} <= words
            assert param.metavar is None or set(param.metavar.split()) <= words


def test_a_group_alone_prints_its_help(cli: Cli) -> None:
    for group in ("gallery", "models"):
        result = cli(group)
        assert result.exit_code == 0
        assert f"lightface {group}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verfy", "a", "b"], ["no such command 'verfy'", "Did you mean 'verify'?", "(see 'lightface --help')"]),
        (["--bad"], ["no such option: --bad"]),
        (["gallery", "show"], ["missing argument 'PERSON'", "(see 'lightface gallery show --help')"]),
        (["detect", "--min-face-size", "big", "a.jpg"], ["--min-face-size"]),
        (["verify", "a.jpg", "b.jpg", "--threshold", "abc"], ["--threshold is 'abc'; it must be a number (see"]),
        (["identify", "a.jpg", "-k", "0"], ["--limit is '0'; it must be 1 or more (see"]),
        (["gallery", "log", "--since", "yesterday"], ["--since is 'yesterday'; it must be a date, such as 2026-11-01"]),
        (["verify", "a.jpg", "b.jpg", "--face-selection", "best"], ["best", "largest", "require-one"]),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(cli: Cli, arguments: list[str], words: list[str]) -> None:
    assert_one_line(cli(*arguments), *words)


def test_quiet_and_verbose_are_taken_by_every_command(cli: Cli) -> None:
    assert cli("models", "list", "-q").exit_code == 0
    assert cli("models", "list", "--verbose").exit_code == 0


def raise_from_models_list(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("lightface.models.registry.list_weights", fail)


def test_an_error_of_several_lines_becomes_one(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_from_models_list(monkeypatch, GalleryError("first\nsecond"))
    assert_one_line(cli("models", "list", "--quiet"), "first second")


def test_ctrl_c_is_told_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_from_models_list(monkeypatch, KeyboardInterrupt())
    assert_one_line(cli("models", "list"), "interrupted; what was finished is kept")


def test_a_closed_pipe_is_no_trouble() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as stdout:
        command = [sys.executable, "-m", "lightface.cli.main", "models", "info"]
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_name_that_is_no_text_can_be_printed(made_up_gallery: Path) -> None:
    with open_gallery(made_up_gallery) as gallery:
        (sample, *_) = gallery.samples("Ada")
        other = replace(sample, image_sha256="f" * 64, source_path="/photos/\udcff.jpg")
        gallery.enroll("Zoe", [other])
    done = subprocess.run(
        [sys.executable, "-c", "from lightface.cli.main import run; run()", "gallery", "show", "Zoe"],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict", "LIGHTFACE_GALLERY": str(made_up_gallery)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "/photos/\\udcff.jpg" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_under_stdout_is_told_in_one_line() -> None:
    with open("/dev/full", "w") as stdout:
        command = [sys.executable, "-m", "lightface.cli.main", "models", "info"]
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lightface: cannot write the result (No space left on device)")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("typed", "completed"), [("ver", "verify"), ("gallery ren", "rename")])
def test_shell_completion_knows_the_commands(cli: Cli, typed: str, completed: str) -> None:
    words = f"lightface {typed}"
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_LIGHTFACE_COMPLETE": "complete_bash"}
    assert cli(env=environment).stdout.split() == [completed]
