from __future__ import annotations

import pytest
import torch

from lightface.training.config import NetworkSettings, OptimiserSettings
from lightface.training.model import TrainingModel, build_network
from lightface.training.objectives.combination import ObjectiveSettings, build_objectives
from lightface.training.optimiser import Muon, build_optimisers, orthogonalise, set_learning_rate


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


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_directions_become_about_equally_strong(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-4
    result = orthogonalise(matrix)
    values = torch.linalg.svdvals(result)
    assert result.dtype == torch.float32 and result.shape == matrix.shape
    assert values.min() > 0.5 and values.max() < 1.4
    # The singular vectors stay: what is left of the gradient points the same way.
    assert (result * matrix).sum() > 0


def test_a_step_is_a_share_of_the_filters_length() -> None:
    torch.manual_seed(0)
    filters = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    before, length = filters.detach().clone(), float(filters.detach().norm())
    optimiser = Muon([{"params": [filters]}], lr=0.02)
    for scale in (1.0, 1e6):  # of the gradient, which does not matter
        filters.grad = torch.randn(6, 4, 3, 3) * scale
        optimiser.step()
        assert float((filters.detach() - before).norm()) == pytest.approx(0.02 * length, rel=0.02)
        before, length = filters.detach().clone(), float(filters.detach().norm())


def test_it_finds_a_target() -> None:
    torch.manual_seed(0)
    target = torch.randn(6, 4, 3, 3)
    filters = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    first = float((filters.detach() - target).square().mean())
    optimiser = Muon([{"params": [filters]}], lr=0.05)
    for step in range(100):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 100)
        optimiser.zero_grad()
        (filters - target).square().mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float((filters.detach() - target).square().mean()) < 0.05 * first


def test_decay_shortens_filters_that_stand_still() -> None:
    filters = torch.nn.Parameter(torch.ones(2, 2, 1, 1))
    optimiser = Muon([{"params": [filters]}], lr=0.1, weight_decay=0.5)
    filters.grad = torch.zeros_like(filters)
    optimiser.step()
    torch.testing.assert_close(filters.detach(), torch.full((2, 2, 1, 1), 0.95))
