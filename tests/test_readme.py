"""The README's examples run, in the order in which they stand, on the portraits that it speaks of."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


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
    assert lines[0] == "hopper.jpg enrolled "
    assert lines[1] == "both.jpg ['Grace Hopper', 'unknown']"
    assert lines[2].startswith("same 0.")
    assert lines[3] == "photographs: 1 faces: 2"
    assert names["similarity"] < 0.3  # type: ignore[operator]


def test_the_configuration_example_is_one(tmp_path: Path) -> None:
    from lightface.cli.settings import load_settings

    (block,) = blocks("toml")
    (tmp_path / "config.toml").write_text(block)
    settings = load_settings({}, {"LIGHTFACE_CONFIG": str(tmp_path / "config.toml")})
    assert (settings.device, settings.min_face_size) == ("cpu", "40")


def test_no_package_index_is_recommended() -> None:
    assert "pip install lightface" not in README
