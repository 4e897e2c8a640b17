from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Cli, assert_one_line
from PIL import Image
from safetensors.torch import save_file

from lightface.alignment import align_face
from lightface.detection import MtcnnDetector
from lightface.frame import TRAINING_FRAME
from lightface.models.lightcnn import build_lightcnn
from lightface.models.registry import find_weights, list_weights
from lightface.models.weights import load_model
from lightface.records import ByteArray
from lightface.training.recognisability import FAMILIES


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


def test_info_says_whether_unrecognisable_faces_are_known(cli: Cli, checkpoint_path: Path) -> None:
    assert "\nrecognisability: known for " in cli("models", "info").stdout
    imported = cli("models", "import", checkpoint_path, "--name", "mine")
    assert "'lightface models recognisability mine FOLDER'" in imported.stderr
    assert "\nrecognisability: not known; faces too poor" in cli("models", "info", "mine").stdout


def test_imported_weights_learn_it_from_photographs(
    cli: Cli,
    checkpoint_path: Path,
    grace_hopper_rgb: ByteArray,
    astronaut_rgb: ByteArray,
    detector: MtcnnDetector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, image_rgb in {"hopper": grace_hopper_rgb, "collins": astronaut_rgb}.items():
        crop = align_face(image_rgb, detector.detect(image_rgb)[0], TRAINING_FRAME).pixels
        for light in (5, 7, 8, 10):
            Image.fromarray((crop * (light / 10)).astype(np.uint8)).save(tmp_path / f"{name}-{light}.png")
    Image.fromarray(grace_hopper_rgb).save(tmp_path / "portrait.png")
    save_file(load_model().network.state_dict(), tmp_path / "bare.safetensors")
    assert cli("models", "import", tmp_path / "bare.safetensors", "--name", "mine").exit_code == 0
    before = find_weights("mine")
    assert before.recognisability is None
    (tmp_path / "bare.safetensors").unlink()
    few = cli("models", "recognisability", "mine", tmp_path)
    assert_one_line(few, "has 9 photographs with a usable face; give 200 and more")
    monkeypatch.setattr("lightface.training.recognisability.MIN_FACES", 9)
    monkeypatch.setattr("lightface.training.recognisability.FAMILIES", FAMILIES[:2])
    spread = "lightface.training.recognisability._LEAST_SPREAD"
    monkeypatch.setattr(spread, 0.0)  # nine faces of two people are nearly alike
    learnt = cli("models", "recognisability", "mine", tmp_path)
    assert learnt.exit_code == 0, learnt.stderr
    after = find_weights("mine")
    assert after.recognisability is not None and after.model_id == before.model_id
    assert "\nrecognisability: known for 2 families" in cli("models", "info", "mine").stdout
    assert_one_line(cli("models", "recognisability", "lightcnn9", tmp_path), "came with lightface")
    assert cli("models", "import", checkpoint_path, "--name", "random").exit_code == 0
    monkeypatch.setattr(spread, 1e-3)
    untaught = cli("models", "recognisability", "random", tmp_path, "--quiet")
    assert_one_line(untaught, "to random all faces are alike; train it first")
