from __future__ import annotations

import pytest
import torch

from lightface.training.config import NetworkSettings, OptimiserSettings
from lightface.training.model import TrainingModel, build_network
from lightface.training.muon import Muon
from lightface.training.objectives.combination import ObjectiveSettings, build_objectives
from lightface.training.optimiser import build_optimisers, set_learning_rate


@pytest.fixture(scope="module")
def model() -> TrainingModel:
    objectives = build_objectives(ObjectiveSettings(), dropout=0.5, classes=3, teacher_size=None)
    return TrainingModel(build_network(NetworkSettings(norm=True)), objectives, precision="fp32")


def group_of(optimiser: torch.optim.Optimizer, parameter: torch.Tensor) -> dict[str, float]:
    (found,) = [group for group in optimiser.param_groups if any(p is parameter for p in group["params"])]
    return found


def test_rates_and_decay_as_the_authors_set_them(model: TrainingModel) -> None:
    (optimiser,) = build_optimisers(model, OptimiserSettings())
    set_learning_rate(optimiser, 0.01)
    named = dict(model.named_parameters())
    expected = {
        "network.fc1.filter.weight": (0.01, 1e-4),
        "network.fc1.filter.bias": (0.02, 0.0),
        "network.fc1.norm.weight": (0.01, 0.0),
        "objectives.objectives.softmax.classifier.weight": (0.1, 1e-4),
        "objectives.objectives.softmax.classifier.bias": (0.2, 0.0),
    }
    for name, (rate, decay) in expected.items():
        group = group_of(optimiser, named[name])
        assert group["lr"] == pytest.approx(rate), name
        assert group["weight_decay"] == decay, name
    assert isinstance(optimiser, torch.optim.SGD)
    assert optimiser.param_groups[0]["momentum"] == 0.9
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(named)


def test_adamw(model: TrainingModel) -> None:
    settings = OptimiserSettings(kind="adamw", betas=(0.9, 0.98), bias_rate=1.0, classifier_rate=1.0)
    (optimiser,) = build_optimisers(model, settings)
    assert isinstance(optimiser, torch.optim.AdamW)
    assert {group["betas"] for group in optimiser.param_groups} == {(0.9, 0.98)}
    assert len(optimiser.param_groups) == 2  # with decay and without


def test_muon_takes_the_filters_and_leaves_the_rest_to_adamw(model: TrainingModel) -> None:
    muon, adamw = build_optimisers(model, OptimiserSettings(kind="muon", learning_rate=1e-3, bias_rate=1.0))
    assert isinstance(muon, Muon) and isinstance(adamw, torch.optim.AdamW)
    taken = [parameter for group in muon.param_groups for parameter in group["params"]]
    left = [parameter for group in adamw.param_groups for parameter in group["params"]]
    assert len(taken) == 9 and all(parameter.dim() == 4 for parameter in taken)
    assert len(left) + 9 == len(list(model.parameters())) and all(parameter.dim() < 4 for parameter in left)
    for optimiser in (muon, adamw):
        set_learning_rate(optimiser, 0.5e-3)  # half way down
    assert muon.param_groups[0]["lr"] == pytest.approx(0.005)
    assert adamw.param_groups[0]["lr"] == pytest.approx(0.5e-3)
