"""The README's examples run, in the order in which they stand, on the portraits that it speaks of.

Commands and options that README, docs and model cards only name exist.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "weights").glob("*.md"))]
# Of other programs (torchrun, and the scripts of this repository), which the documents name without a command.
OTHERS_OPTIONS = {"--nproc-per-node", "--nnodes"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README's reader sits."""
    pytest.importorskip("skimage.data")
    pytest.importorskip("matplotlib")
    from demo_tour import make_readme_folder

    folder = tmp_path_factory.mktemp("readme")
    make_readme_folder(folder)
    return folder


def without_numbers(text: str) -> list[str]:
    """The words of each line: figures depend on weights, dates on the day, and columns are as wide as they need."""
    return [" ".join(re.sub(r"\d[\d.]*(-\d\d)*", "#", line).split()) for line in text.splitlines()]


def test_the_commands_print_what_the_readme_shows(portraits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightface.cli.main import app

    monkeypatch.chdir(portraits)
    commands = [part for block in blocks("console") for part in block.split("$ ")[1:]]
    assert len(commands) == 9
    for part in commands:
        line, _, shown = part.partition("\n")
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == (1 if "different" in shown and "pairs" not in line else 0), result.output
        assert without_numbers(result.stdout) == without_numbers(shown), line
    assert "0 photographs with 0 faces; 1 unchanged" in result.stderr  # the second `embed`


def test_the_python_examples_run(
    portraits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(portraits)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert without_numbers(lines[0]) == without_numbers("same: similarity 0.993, threshold 0.485")
    assert lines[1] == "hopper.jpg: enrolled as Grace Hopper"
    assert without_numbers(lines[2]) == ["both.jpg: Grace Hopper #, unknown"]
    assert lines[3] == "['Grace Hopper', 'unknown']"
    assert [line.split(" ")[0] for line in lines[4:6]] == ["both.jpg:", "collins.jpg:"]
    assert lines[6:] == ["photographs: 1 faces: 2"]
    assert (portraits / "named.png").is_file()
    assert names["similarity"] < 0.3  # type: ignore[operator]


def test_the_python_examples_use_nothing_but_the_front_door() -> None:
    import lightface

    code = "\n".join(blocks("python"))
    assert re.findall(r"^(?:from|import) .*", code, re.MULTILINE) == ["import lightface"]
    assert set(re.findall(r"lightface\.(\w+)", code)) <= set(lightface.__all__)


def test_the_configuration_example_is_one(tmp_path: Path) -> None:
    from lightface.cli.settings import load_settings

    (block,) = blocks("toml")
    (tmp_path / "config.toml").write_text(block)
    settings = load_settings({}, {"LIGHTFACE_CONFIG": str(tmp_path / "config.toml")})
    assert (settings.device, settings.min_face_size) == ("cpu", "40")


def test_no_package_index_is_recommended() -> None:
    assert "pip install lightface" not in README


def named_commands(text: str) -> Iterator[str]:
    """What is typed in blocks of code and between backquotes, from the word `lightface` on."""
    text = text.replace("\\\n", " ").replace("-m lightface.cli.main", "lightface")
    for line in re.findall(r"^(?: {4}|\$ |)((?:torchrun .* )?lightface [^#\n]*)", text, re.MULTILINE):
        if not re.match(r"lightface [A-Z]|lightface (is|does|to|has) ", line):
            yield line[line.index("lightface ") :]
    yield from re.findall(r"`(lightface [^`]+)`", text)


def check_command(command: Any, words: list[str]) -> None:
    """Each word that must be a command is one, and each option belongs to the command before it."""
    taken = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command = command.commands[words.pop(0)]
        taken |= {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.split("=")[0] in taken, f"{command.name} has no option {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_that_is_named_exists(document: Path) -> None:
    from lightface.cli.main import app

    for line in named_commands(document.read_text(encoding="utf-8")):
        words = shlex.split(re.split(r" (?:[|;<>]|&&) ", line)[0].replace("[", "").replace("]", ""))
        check_command(get_command(app), [word for word in words[1:] if word != "..."])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_option_that_is_named_exists(document: Path) -> None:
    from lightface.cli.main import app

    def options(command: Any) -> Iterator[str]:
        for param in command.params:
            yield from (*param.opts, *param.secondary_opts)
        for inner in getattr(command, "commands", {}).values():
            yield from options(inner)

    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"`(--[a-z][a-z-]*)[ `]", text))
    assert named <= {*options(get_command(app)), *OTHERS_OPTIONS, "--help"}


def test_a_command_that_does_not_exist_is_noticed() -> None:
    from lightface.cli.main import app

    (line,) = named_commands("see `lightface gallery rename Ada Eve --forze`, which lightface does not do")
    with pytest.raises(AssertionError, match="rename has no option --forze"):
        check_command(get_command(app), shlex.split(line)[1:])
    with pytest.raises(AssertionError, match="no command 'renam'"):
        check_command(get_command(app), ["gallery", "renam"])
