from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import Cli, assert_one_line

from lightface.models.lightcnn import build_lightcnn
from lightface.models.registry import find_weights, list_weights


@pytest.fixture(scope="module")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the authors' format."""
    state = {f"module.{key}": value for key, value in build_lightcnn("lightcnn9").state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoint") / "LightCNN_9Layers (1).pth.tar"
    torch.save({"state_dict": state, "epoch": 1, "arch": "LightCNN", "prec1": 0.1}, path)
    return path


def test_list(cli: Cli) -> None:
    result = cli("models", "list")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].startswith("lightcnn9 (default)")
    lines = cli("models", "list").stdout.splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert [record["name"] for record in json.loads(cli("models", "list", "--json").stdout)] == ["lightcnn9"]


def test_info_shows_what_the_weights_expect_and_their_card(cli: Cli) -> None:
    result = cli("models", "info")
    assert result.exit_code == 0
    record = find_weights("lightcnn9")
    assert f"see {record.file.parent / 'LICENSE.md'}" in result.stdout
    assert f"SHA-256: {record.sha256}" in result.stdout
    assert "frame: eyes on row 40, mouth on row 88" in result.stdout
    assert result.stdout.rstrip().endswith(record.read_card().rstrip())
    as_json = json.loads(cli("models", "info", "lightcnn9", "--json").stdout)
    assert as_json["sha256"] == record.sha256
    assert str(record.file.parent / "LICENSE.md") in as_json["licence"]


def test_info_on_unknown_weights(cli: Cli) -> None:
    assert_one_line(cli("models", "info", "facenet"), "unknown weights 'facenet'; choose from: lightcnn9")


def test_import_makes_weights_that_can_be_named(cli: Cli, checkpoint_path: Path) -> None:
    result = cli("models", "import", checkpoint_path)
    assert result.exit_code == 0
    assert "as LightCNN_9Layers-1 (lightcnn9)" in result.stderr
    assert "no threshold is known" in result.stderr
    assert [record.name for record in list_weights()] == ["lightcnn9", "LightCNN_9Layers-1"]
    assert_one_line(cli("models", "import", checkpoint_path), "exist already", "--name")
    assert cli("models", "import", checkpoint_path, "--name", "mine", "--quiet").stderr == ""
    assert cli("models", "verify", "mine").stdout.startswith("mine: OK (")


def test_import_refuses_what_is_no_checkpoint(cli: Cli, tmp_path: Path) -> None:
    assert_one_line(cli("models", "import", tmp_path / "none.pth"), "is not a file")
    (tmp_path / "text.pth").write_text("hello")
    assert_one_line(cli("models", "import", tmp_path / "text.pth"), "no checkpoint that can be read safely")
    assert [record.name for record in list_weights()] == ["lightcnn9"]


def test_verify_finds_a_changed_byte_and_checks_the_rest(cli: Cli, checkpoint_path: Path) -> None:
    assert cli("models", "import", checkpoint_path, "--name", "mine").exit_code == 0
    file = find_weights("mine").file
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    result = cli("models", "verify")
    assert result.exit_code == 2
    assert result.stdout.startswith("lightcnn9: OK (")
    assert result.stderr.startswith(f"lightface: {file} is not the file that was registered as 'mine'")
