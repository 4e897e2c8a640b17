from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightface.errors import CheckpointError, ConfigError, TrainingError, WeightsError
from lightface.models.registry import find_weights
from lightface.models.weights import load_model, write_weights
from lightface.training.checkpoint import save_checkpoint
from lightface.training.config import NetworkSettings
from lightface.training.model import TrainingModel, build_network
from lightface.training.objectives.combination import ObjectiveSettings, build_objectives


def test_structure_follows_the_settings() -> None:
    torch.manual_seed(0)
    network = build_network(NetworkSettings(pooling="avg", inner_dropout=0.25, norm=True)).train()
    text = repr(network)
    assert text.count("Dropout2d(p=0.25") == 4 and text.count("BatchNorm") == 11
    assert sum(module == "avg" for module in (getattr(m, "kind", None) for m in network.modules())) == 4


def test_a_run_can_start_from_registered_weights() -> None:
    network = build_network(NetworkSettings(start_from="lightcnn9"))
    weights = load_model("lightcnn9").network.state_dict()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in network.state_dict().items())


def test_a_run_can_start_from_a_file(tmp_path: Path) -> None:
    settings = NetworkSettings(norm=True)
    state = build_network(settings).state_dict()
    save_checkpoint(tmp_path / "best.pt", {"network": state})
    write_weights(tmp_path / "w.safetensors", state, {})
    for name in ("best.pt", "w.safetensors"):
        network = build_network(NetworkSettings(norm=True, start_from=str(tmp_path / name)))
        assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_starts_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set norm = false to start from them"):
        build_network(NetworkSettings(norm=True, start_from="lightcnn9"))
    with pytest.raises(CheckpointError, match="is missing"):
        build_network(NetworkSettings(architecture="lightcnn29", start_from="lightcnn9"))
    with pytest.raises(WeightsError, match="unknown weights 'resnet'"):
        build_network(NetworkSettings(start_from="resnet"))
    save_checkpoint(tmp_path / "other.pt", {"model": {}})
    with pytest.raises(TrainingError, match="holds no network"):
        build_network(NetworkSettings(start_from=str(tmp_path / "other.pt")))
    assert find_weights("lightcnn9").architecture == "lightcnn9"


def test_normalisation_put_into_finished_weights_changes_nothing_but_the_scale() -> None:
    finished = build_network(NetworkSettings(start_from="lightcnn9")).eval()
    images = torch.rand(32, 1, 64, 64)
    network = build_network(NetworkSettings(start_from="lightcnn9", norm=True), images=images).eval()
    with torch.no_grad():
        plain, normed = finished(images), network(images)
    standardised = (plain - plain.mean(dim=0)) / plain.std(dim=0)
    torch.testing.assert_close(normed, standardised, rtol=1e-2, atol=1e-2)


def test_losses_are_in_full_precision() -> None:
    objectives = build_objectives(ObjectiveSettings(), dropout=0.0, classes=3, teacher_size=None)
    model = TrainingModel(build_network(NetworkSettings()), objectives, precision="bf16")
    losses = model(torch.rand(2, 1, 16, 16), torch.tensor([0, 2]), None)
    assert losses.shape == (1,) and losses.dtype == torch.float32
