from __future__ import annotations

import ast
import io
import json
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
from lightface.cli.inputs import STANDARD_STREAM
from lightface.cli.main import app
from lightface.cli.program import name_flags
from lightface.cli.results import TableOutput
from lightface.errors import ConfigError, GalleryError, ImageError
from lightface.gallery import StoredThreshold, open_gallery
from lightface.images import find_photos, load_photo
from lightface.locations import to_path
from lightface.records import Status
from lightface.tables import PairRow, write_pairs


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


@pytest.mark.parametrize(("path", "command"), [*_commands(get_command(app))])
def test_each_command_and_option_is_typed_in_some_test(path: tuple[str, ...], command: Any) -> None:
    tests = "\n".join(file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parents[1].rglob("test_*.py")))
    typed = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", tests))
    assert not path or re.search(r"""["' ]""" + r"""["']?,? ?["']?""".join(path) + r"""["' ]""", tests)
    for param in command.params:
        if param.param_type_name == "option" and not param.hidden and "completion" not in param.name:  # typer's own
            assert {option for option in (*param.opts, *param.secondary_opts) if option.startswith("--")} <= typed


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


# --- what is printed --------------------------------------------------------------------------------

FORGERY = "\x1b[1A\x9b2K\r/photos/x.jpg\nmatched  Eve\u202e\u200b"


def test_nothing_in_a_gallery_forges_a_line(cli: Cli, made_up_gallery: Path) -> None:
    with open_gallery(made_up_gallery) as gallery:
        (sample, *_) = gallery.samples("Ada")
        gallery.enroll(
            "Zoe", [replace(sample, image_sha256="f" * 64, source_path=FORGERY)], metadata={"no\nte": FORGERY}
        )
        gallery.set_threshold(StoredThreshold(far=1e-3, threshold=0.4, source=FORGERY))
    for command, lines in (("show", 4), ("stats", 9), ("list", 4), ("audit", None)):
        arguments = ("gallery", command, *(["Zoe"] if command == "show" else []), "--gallery", made_up_gallery)
        result = cli(*arguments)
        shown = result.stdout + result.stderr
        assert all(line.isprintable() for line in shown.split("\n")), (command, shown)
        assert lines is None or result.stdout.count("\n") == lines
        assert not any(line.startswith("matched") for line in shown.split("\n"))
        if command in ("show", "stats"):
            assert "\\x1b[1A\\x9b2K\\r/photos/x.jpg\\nmatched  Eve\\u202e\\u200b" in shown
        as_json = cli(*arguments, "--json").stdout
        assert all(line.isprintable() for line in as_json.split("\n"))
    told = json.loads(cli("gallery", "show", "Zoe", "--gallery", made_up_gallery, "--json").stdout)
    assert told["samples"][0]["source_path"] == FORGERY
    assert told["metadata"] == {"no\nte": FORGERY}


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "{name}", "{name}"],
        ["identify", "{name}"],
        ["embed", "{name}", "-o", "x.csv"],
        ["embed", "x", "-o", "{name}"],
        ["cluster", "{name}"],
        ["detect", "{name}"],
        ["evaluate", "{name}"],
        ["gallery", "show", "{name}"],
        ["gallery", "list", "--gallery", "{name}/x"],
        ["models", "info", "{name}"],
        ["verify", "--pairs", "{name}"],
        ["train", "--config", "{name}"],
        ["{name}"],
        ["verify", "a", "b", "--face-selection", "{name}"],
    ],
)
def test_nothing_that_is_typed_forges_a_line(
    cli: Cli, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where what they leave is nobody's
    result = cli(*(argument.format(name=FORGERY) for argument in arguments))
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.rstrip("\n").isprintable(), result.stderr


def test_a_table_on_a_terminal_shows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for format in ("csv", "jsonl"):
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        with TableOutput(STANDARD_STREAM, format) as table:
            write_pairs(table.path, [PairRow(path_a=Path(FORGERY), path_b=Path("b"), status=Status.ERROR)])
            table.finish()
        shown = terminal.getvalue()
        assert shown.count("\n") == (2 if format == "csv" else 1)
        assert all(line.isprintable() for line in shown.split("\n"))
    with pytest.raises(ConfigError, match="--format parquet is not for a terminal; redirect stdout"):
        TableOutput(STANDARD_STREAM, "parquet")


def test_only_two_files_write_to_the_terminal() -> None:
    folder = Path(lightface.__file__).parent / "cli"
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        printed = re.findall(r"\bprint\(|\.write\(|sys\.stdout\.(?!flush)", text)
        printed += re.findall(r"typer\.s?echo\((?!context\.get_help|f\"lightface )", text)
        assert not printed or file.stem in ("results", "console", "program"), f"{file.name} prints by itself: {printed}"


# --- empty arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["enroll", "Ann", ""], "the argument PHOTO"),
        (["enroll", "", "a.jpg"], "the argument NAME"),
        (["enroll", "Ann", "a.jpg", ""], "the argument PHOTO"),
        (["enroll", "--people", ""], "--people"),
        (["enroll", "Ann", "a.jpg", "--consent", ""], "--consent"),
        (["verify", "", "a.jpg"], "the argument A"),
        (["verify", "--pairs="], "--pairs"),
        (["verify", "a", "b", "--sheet", ""], "--sheet"),
        (["embed", "", "-o", "x.csv"], "the argument PHOTO"),
        (["embed", "photos", "-o", ""], "--output"),
        (["identify", "", "--draw", "x"], "the argument PHOTO"),
        (["identify", "a.jpg", "--draw="], "--draw"),
        (["identify", "a.jpg", "--gallery", ""], "--gallery"),
        (["cluster", ""], "the argument FACES"),
        (["cluster", "x.csv", "--folder", ""], "--folder"),
        (["cluster", "x.csv", "--enroll-as", ""], "--enroll-as"),
        (["find", "a.jpg", "--in", ""], "--in"),
        (["detect", "a.jpg", "--crops", ""], "--crops"),
        (["evaluate", ""], "the argument PATH"),
        (["evaluate", "x", "-o", "a.html", "-o", ""], "--output"),
        (["calibrate", ""], "the argument PATH"),
        (["train", "--data", ""], "--data"),
        (["gallery", "remove", ""], "the argument PERSON"),
        (["gallery", "export", ""], "the argument FILE"),
        (["gallery", "import", ""], "the argument FILE"),
        (["gallery", "copy", "a.sqlite", ""], "the argument DST"),
        (["gallery", "rotate-key", "--new-key-file", ""], "--new-key-file"),
        (["models", "import", ""], "the argument FILE"),
    ],
)
def test_an_empty_argument_is_refused(cli: Cli, arguments: list[str], named: str) -> None:
    assert_one_line(
        cli(*arguments), f"{named} is empty; give it a value, or leave it out (see 'lightface {arguments[0]}"
    )


def test_an_empty_variable_or_setting_is_refused(cli: Cli, tmp_path: Path) -> None:
    for variable in ("LIGHTFACE_GALLERY", "LIGHTFACE_KEY_FILE", "LIGHTFACE_CONFIG"):
        assert_one_line(cli("gallery", "list", env={variable: ""}), f"the environment variable {variable} is empty")
    config = tmp_path / "config.toml"
    config.write_text('gallery = ""\n')
    assert_one_line(cli("gallery", "list", env={"LIGHTFACE_CONFIG": str(config)}), "gallery is empty; give it a value")


def test_a_note_of_consent_may_be_empty(cli: Cli, made_up_gallery: Path) -> None:
    assert cli("gallery", "consent", "Ada", "", "--gallery", made_up_gallery).exit_code == 0


def test_the_library_takes_no_empty_path() -> None:
    with pytest.raises(ConfigError, match="an empty path names nothing"):
        to_path("")
    for load in (load_photo, lambda path: find_photos([path])):
        with pytest.raises(ImageError, match="an empty path names nothing"):
            load("")


def test_each_parameter_that_the_library_names_is_an_option() -> None:
    package = Path(lightface.__file__).parent
    options = {
        option for _, command in _commands(get_command(app)) for param in command.params for option in param.opts
    }
    for file in package.rglob("*.py"):
        if file.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call | ast.JoinedStr | ast.Assign):  # no docstrings
                texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                for text in (text for text in texts if isinstance(text, str)):
                    flags = re.findall("--[a-z-]+", name_flags(text)) if "`" in text else []
                    assert set(flags) <= options, f"{file}: {text}"


def test_parameters_are_told_as_options() -> None:
    assert name_flags("raise `min_quality`, or another `device`") == "raise --min-quality, or another --device"
    assert name_flags("lower `min_face_size_px`") == "lower --min-face-size"
    assert name_flags("see `lightface evaluate`, a `B` or a` b") == "see `lightface evaluate`, a `B` or a` b"
    # What a user named so is told as it is; an apostrophe is no quotation mark.
    assert name_flags("'a `device` b' is gone; lower `far`") == "'a `device` b' is gone; lower --far"
    assert name_flags("/tmp/`device`.jpg is gone") == "/tmp/`device`.jpg is gone"
    assert name_flags("a person's photo; (`far`) isn't it") == "a person's photo; (--far) isn't it"
