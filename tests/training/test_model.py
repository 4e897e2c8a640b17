from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightface.errors import CheckpointError, ConfigError, DeviceError, TrainingError, WeightsError
from lightface.models.registry import find_weights
from lightface.models.weights import load_model, write_weights
from lightface.training.config import NetworkSettings
from lightface.training.model import TrainingModel, autocast, build_network, resolve_precision, settle_norms
from lightface.training.objectives.combination import ObjectiveSettings, build_objectives
from lightface.training.preparation import TrainingData
from lightface.training.run_folder import save_checkpoint


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


def test_the_cpu(cpu: torch.device) -> None:
    assert resolve_precision("auto", cpu) == "fp32"
    assert resolve_precision("bf16", cpu) == "bf16"
    with pytest.raises(DeviceError, match="fp16 trains on cuda only"):
        resolve_precision("fp16", cpu)


def test_a_gpu_with_and_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=supported: has)
        assert resolve_precision("auto", torch.device("cuda")) == expected


def test_autocast_changes_what_products_run_in(cpu: torch.device) -> None:
    a = torch.ones(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(precision, cpu):
            assert (a @ a).dtype == dtype


def test_normalisation_is_settled_on_what_recognition_sees(tiny_data: TrainingData, cpu: torch.device) -> None:
    torch.manual_seed(0)
    network = build_network(NetworkSettings(norm=True))
    pixels = tiny_data.crops.decoded.pixels[:32].copy()
    settle_norms(network, pixels)
    with torch.no_grad():
        embeddings = network(torch.from_numpy(pixels)[..., 8:136, 8:136].float() / 255)
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(256), atol=0.05, rtol=0)
    assert not network.training
