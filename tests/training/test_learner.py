from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightface.errors import ConfigError
from lightface.models.lightcnn import ARCHITECTURES
from lightface.training.config import NetworkSettings, OptimiserSettings, Stage, TrainingConfig
from lightface.training.distributed import Processes
from lightface.training.learner import AveragedNetwork, Learner
from lightface.training.model import build_network, embed_images
from lightface.training.objectives.combination import ObjectiveSettings
from lightface.training.objectives.distillation import CosineSettings
from lightface.training.objectives.objective import Targets

IMAGES = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TARGETS = Targets(torch.arange(8) % 3, None)


def learner(config: TrainingConfig) -> Learner:
    return Learner(config, classes=3, teacher_size=None, device=torch.device("cpu"), processes=Processes())


def still(config: TrainingConfig) -> TrainingConfig:
    """Without dropout, so that a step depends on nothing but its batch."""
    return replace(config, network=replace(config.network, dropout=0.0))


def weights(of: Learner) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in of.model.parameters()])


def test_a_batch_is_learnt(simple_config: TrainingConfig) -> None:
    optimiser = OptimiserSettings(kind="adamw", classifier_rate=1.0)
    student = learner(replace(still(simple_config), optimiser=optimiser))
    losses = [float(student.learn(IMAGES, TARGETS, learning_rate=1e-3, step=step)) for step in range(12)]
    assert losses[0] == pytest.approx(1.0986, rel=0.05)  # ln 3
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "network",
    [
        *(NetworkSettings(architecture, norm=norm) for architecture in ARCHITECTURES for norm in (False, True)),
        NetworkSettings(padding="valid"),
        NetworkSettings(padding="full", norm=True),
    ],
    ids=lambda network: f"{network.architecture} {network.padding} {network.norm}",
)
def test_a_step_moves_every_weight_of_each_network(network: NetworkSettings, simple_config: TrainingConfig) -> None:
    size_px = 64 if network.padding == "valid" else 32
    stages = (Stage(size_px=size_px, batch_size=8),)
    student = learner(replace(simple_config, network=network, stages=stages, optimiser=OptimiserSettings(kind="adamw")))
    channels = ARCHITECTURES[network.architecture].in_channels
    images = torch.rand(6, channels, size_px, size_px, generator=torch.Generator().manual_seed(0))
    targets = Targets(torch.arange(6) % 3, None)
    before = {name: parameter.detach().clone() for name, parameter in student.model.named_parameters()}
    loss = student.learn(images, targets, learning_rate=1e-3, step=0)
    assert torch.isfinite(loss).all()
    for name, parameter in student.model.named_parameters():
        assert torch.isfinite(parameter).all() and not torch.equal(parameter, before[name]), name


def test_weights_that_are_trained_on_begin_with_a_fitted_head(simple_config: TrainingConfig) -> None:
    trained_on = replace(still(simple_config).network, start_from="lightcnn9", norm=True)
    objectives = ObjectiveSettings(cosine=CosineSettings(head="isometry"))
    images = torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(0))

    def begin(network: NetworkSettings, teacher: torch.Tensor) -> float:
        targets = Targets(torch.full((64,), -1), teacher)
        student = Learner(
            replace(simple_config, network=network, objectives=objectives, precision="fp32"),
            classes=0,
            teacher_size=128,
            device=torch.device("cpu"),
            processes=Processes(),
            start=(images, targets),
        )
        student.model.eval()
        with torch.no_grad():
            return float(student.model(images, targets.labels, teacher))

    embeddings = embed_images(build_network(trained_on, images=images), images)
    axes = torch.linalg.qr(torch.randn(256, 128, generator=torch.Generator().manual_seed(1))).Q
    teacher = F.normalize(embeddings @ axes)
    assert begin(trained_on, teacher) < 0.35 < 0.8 < begin(replace(trained_on, start_from=None), teacher)


def test_parts_add_up_to_the_whole_batch(simple_config: TrainingConfig) -> None:
    whole, parts = (learner(replace(still(simple_config), accumulate=count)) for count in (1, 4))
    first = whole.learn(IMAGES, TARGETS, learning_rate=0.01, step=0)
    second = parts.learn(IMAGES, TARGETS, learning_rate=0.01, step=0)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(weights(whole), weights(parts), atol=1e-6, rtol=1e-5)


def test_long_gradients_are_clipped(simple_config: TrainingConfig) -> None:
    def moved(clip_norm: float | None) -> float:
        optimiser = replace(
            simple_config.optimiser, momentum=0.0, weight_decay=0.0, clip_norm=clip_norm, bias_rate=1.0,
            classifier_rate=1.0,
        )  # fmt: skip
        student = learner(replace(still(simple_config), optimiser=optimiser))
        before = weights(student)
        student.learn(IMAGES, TARGETS, learning_rate=1.0, step=0)
        return float((weights(student) - before).norm())

    assert moved(None) > 0.01
    assert moved(0.01) == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("clip_norm", [None, 2.0])
def test_a_gradient_without_a_number_shows_in_the_losses_of_its_own_step(
    clip_norm: float | None, simple_config: TrainingConfig
) -> None:
    student = learner(replace(still(simple_config), optimiser=OptimiserSettings(clip_norm=clip_norm)))
    assert torch.isfinite(student.learn(IMAGES, TARGETS, learning_rate=0.01, step=0)).all()
    next(student.model.parameters()).register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]
    assert torch.isnan(student.learn(IMAGES, TARGETS, learning_rate=0.01, step=1)).all()


def test_losses_that_are_scaled_for_fp16_teach_the_same(simple_config: TrainingConfig) -> None:
    """As on a GPU; here the network itself runs in float32."""
    optimiser = OptimiserSettings(kind="adamw", clip_norm=0.5)
    plain, scaled = (learner(replace(still(simple_config), optimiser=optimiser)) for _ in range(2))
    scaled._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(3):
        losses = [student.learn(IMAGES, TARGETS, learning_rate=1e-3, step=step) for student in (plain, scaled)]
        torch.testing.assert_close(*losses)
    torch.testing.assert_close(weights(plain), weights(scaled), atol=1e-5, rtol=1e-4)

    before = weights(scaled)
    next(scaled.model.parameters()).register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]
    lost = scaled.learn(IMAGES, TARGETS, learning_rate=1e-3, step=3)
    assert torch.isfinite(lost).all() and torch.equal(weights(scaled), before)  # a step that is left out
    assert scaled._scaler.get_scale() == 512


def test_muon_does_not_train_in_fp16(simple_config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightface.training.learner.resolve_precision", lambda name, device: "fp16")
    with pytest.raises(ConfigError, match="muon trains in bf16 or fp32"):
        learner(replace(simple_config, optimiser=OptimiserSettings(kind="muon")))


def test_a_state_is_all_there_is(tiny_config: TrainingConfig) -> None:
    config = replace(tiny_config, objectives=replace(tiny_config.objectives, cosine=None, relational=None))
    first, second = learner(config), learner(replace(config, seed=1))
    first.learn(IMAGES, TARGETS, learning_rate=0.01, step=0)
    second.load_state(copy.deepcopy(first.state()))
    for student in (first, second):
        torch.manual_seed(5)
        student.learn(IMAGES, TARGETS, learning_rate=0.01, step=1)
    assert torch.equal(weights(first), weights(second))
    averages = [student.average.network.state_dict() for student in (first, second)]
    assert all(torch.equal(averages[0][key], averages[1][key]) for key in averages[0])


def test_losses_have_names_and_a_sum(tiny_config: TrainingConfig) -> None:
    config = replace(tiny_config, objectives=replace(tiny_config.objectives, cosine=None))
    student = Learner(config, classes=3, teacher_size=4, device=torch.device("cpu"), processes=Processes())
    assert student.name_losses(torch.tensor([2.0, 0.5])) == {"loss": 4.0, "softmax": 2.0, "relational": 0.5}


def test_the_average_follows_the_network() -> None:
    network: Any = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average: Any = AveragedNetwork(network, 0.5)
    start = float(network[0].weight.detach())
    with torch.no_grad():
        network[0].weight.fill_(start + 1)
        network[1].running_mean.fill_(4)
        network[1].num_batches_tracked.fill_(7)
    average.update(step=1000)
    assert float(average.network[0].weight) == pytest.approx(start + 0.5)
    assert float(average.network[1].running_mean) == pytest.approx(2)
    assert int(average.network[1].num_batches_tracked) == 7


def test_the_average_begins_short() -> None:
    network: Any = nn.Linear(1, 1, bias=False)
    average: Any = AveragedNetwork(network, 0.999)
    start = float(network.weight.detach())
    with torch.no_grad():
        network.weight.fill_(start + 1)
    average.update(step=0)
    assert float(average.network.weight) == pytest.approx(start + 0.9)


def test_without_decay_it_is_the_network() -> None:
    network: Any = nn.Linear(2, 2)
    average: Any = AveragedNetwork(network, None)
    with torch.no_grad():
        network.weight.add_(1)
    average.update(step=3)
    assert torch.equal(average.network.weight, network.weight)
    assert not average.network.training and not average.network.weight.requires_grad
