"""Softmax cross-entropy over people, as LightCNN's authors train."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from lightface.errors import ConfigError
from lightface.training.objectives.objective import Objective, Targets, labelled_cross_entropy


@dataclass(frozen=True, slots=True)
class SoftmaxSettings:
    """Softmax cross-entropy."""

    weight: float = 1.0
    label_smoothing: float = 0.0  # share of the target that is spread over all classes

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; it must lie in 0..1, without 1")

    def expected_first_loss(self, classes: int) -> float:
        """Of a network that knows nothing: ln of the number of classes."""
        return math.log(classes)


class Softmax(Objective):
    """A linear classifier on the embedding."""

    def __init__(self, settings: SoftmaxSettings, *, embedding_size: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.classifier = nn.Linear(embedding_size, classes)
        # Small, so that training starts from an even guess: a loss of ln(classes).
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        logits = self.classifier(embeddings)
        return labelled_cross_entropy(logits, targets.labels, label_smoothing=self.settings.label_smoothing)
