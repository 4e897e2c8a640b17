from __future__ import annotations

import math

import pytest
import torch

from lightface.training.objectives.classification import (
    ArcFace,
    ArcFaceSettings,
    CosFace,
    CosFaceSettings,
    Softmax,
    SoftmaxSettings,
)
from lightface.training.objectives.objective import UNKNOWN, Targets


def test_the_first_loss_is_an_even_guess() -> None:
    torch.manual_seed(0)
    objective = Softmax(SoftmaxSettings(), embedding_size=256, classes=50)
    loss = objective(torch.randn(64, 256), Targets(torch.arange(64) % 50, None))
    assert float(loss) == pytest.approx(SoftmaxSettings().expected_first_loss(50), rel=0.02)
    assert SoftmaxSettings().expected_first_loss(50) == math.log(50)


def test_it_is_a_linear_classifier_with_bias() -> None:
    objective = Softmax(SoftmaxSettings(), embedding_size=2, classes=2)
    with torch.no_grad():
        objective.classifier.weight.copy_(torch.eye(2))
        objective.classifier.bias.copy_(torch.tensor([0.0, 1.0]))
    loss = objective(torch.tensor([[3.0, 1.0]]), Targets(torch.tensor([0]), None))
    assert float(loss) == pytest.approx(math.log1p(math.exp(-1)))  # logits 3 and 2


def test_the_margin_is_taken_from_the_own_cosine() -> None:
    objective = CosFace(CosFaceSettings(scale=10, margin=0.2), embedding_size=2, classes=2)
    with torch.no_grad():
        objective.classifier.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))  # lengths do not count
        loss = objective(torch.tensor([[3.0, 4.0]]), Targets(torch.tensor([0]), None))
    own, other = 10 * (0.6 - 0.2), 10 * 0.8
    assert float(loss) == pytest.approx(math.log1p(math.exp(other - own)), rel=1e-5)


def test_the_first_loss() -> None:
    torch.manual_seed(0)
    settings = CosFaceSettings()
    objective = CosFace(settings, embedding_size=256, classes=100)
    loss = objective(torch.randn(2048, 256), Targets(torch.arange(2048) % 100, None))
    assert float(loss.detach()) == pytest.approx(settings.expected_first_loss(100), rel=0.02)
    assert settings.expected_first_loss(100_000) > settings.expected_first_loss(100) + 5


def two_classes(settings: ArcFaceSettings) -> ArcFace:
    objective = ArcFace(settings, embedding_size=2, classes=2)
    with torch.no_grad():
        objective.classifier.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))  # lengths do not count
    return objective


def test_the_own_angle_is_enlarged_by_the_margin() -> None:
    objective = two_classes(ArcFaceSettings(scale=10, margin=0.3))
    angle = 0.7
    embedding = 3 * torch.tensor([[math.cos(angle), math.sin(angle)]])
    loss = objective(embedding, Targets(torch.tensor([0]), None))
    own, other = 10 * math.cos(angle + 0.3), 10 * math.cos(math.pi / 2 - angle)
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(other - own)), rel=1e-5)


def test_the_loss_rises_with_the_angle_all_the_way() -> None:
    objective = two_classes(ArcFaceSettings(scale=10, margin=0.5))
    angles = torch.linspace(0.01, math.pi - 0.01, 200)
    embeddings = torch.stack([torch.cos(angles), -torch.sin(angles)], dim=1)  # away from the other class
    targets = [Targets(torch.tensor([0]), None)] * len(angles)
    losses = [float(objective(row[None], target).detach()) for row, target in zip(embeddings, targets, strict=True)]
    own = [loss for loss, angle in zip(losses, angles, strict=True) if angle > math.pi / 2]
    assert own == sorted(own)


def test_gradients_are_finite_where_the_angle_is_none() -> None:
    objective = two_classes(ArcFaceSettings())
    embedding = torch.tensor([[2.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    objective(embedding, Targets(torch.tensor([0, 0]), None)).backward()
    assert embedding.grad is not None and embedding.grad.isfinite().all()


def test_unknown_people_do_not_count() -> None:
    objective = two_classes(ArcFaceSettings())
    embeddings = torch.tensor([[1.0, 1.0], [0.5, -1.0]])
    alone = objective(embeddings[:1], Targets(torch.tensor([0]), None))
    assert torch.equal(objective(embeddings, Targets(torch.tensor([0, UNKNOWN]), None)), alone)


def test_the_first_loss_with_an_angle() -> None:
    torch.manual_seed(0)
    settings = ArcFaceSettings()
    objective = ArcFace(settings, embedding_size=256, classes=100)
    loss = objective(torch.randn(2048, 256), Targets(torch.arange(2048) % 100, None))
    assert float(loss.detach()) == pytest.approx(settings.expected_first_loss(100), rel=0.02)
    assert settings.expected_first_loss(100_000) > settings.expected_first_loss(100) + 5
