"""CosFace: the cosine to the own class must exceed the others by a margin.

Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, equation 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from lightface.errors import ConfigError
from lightface.training.objectives.objective import (
    Objective,
    Targets,
    expected_margin_loss,
    label_mask,
    labelled_cross_entropy,
)


@dataclass(frozen=True, slots=True)
class CosFaceSettings:
    """CosFace; the scale and the margin are the paper's."""

    weight: float = 1.0
    scale: float = 64.0  # times the cosines
    margin: float = 0.35  # taken from the cosine to the own class
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ConfigError(f"margin is {self.margin}; a CosFace margin must lie in 0..1, without 1")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; it must lie in 0..1, without 1")

    def expected_first_loss(self, classes: int) -> float:
        """Of a network that knows nothing."""
        return expected_margin_loss(classes, scale=self.scale, setback=self.scale * self.margin)


class CosFace(Objective):
    """Cosines to one direction a class, with an additive margin."""

    def __init__(self, settings: CosFaceSettings, *, embedding_size: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.classifier = nn.Linear(embedding_size, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=embedding_size**-0.5)

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.classifier.weight))
        own = label_mask(targets.labels, len(self.classifier.weight))
        logits = self.settings.scale * (cosines - self.settings.margin * own)
        return labelled_cross_entropy(logits, targets.labels, label_smoothing=self.settings.label_smoothing)
