from __future__ import annotations

import math

import pytest
import torch

from lightface.training.objectives.cosface import CosFace, CosFaceSettings
from lightface.training.objectives.objective import Targets


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
