from __future__ import annotations

import math

import pytest
import torch

from lightface.training.objectives.objective import Targets
from lightface.training.objectives.softmax import Softmax, SoftmaxSettings


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
