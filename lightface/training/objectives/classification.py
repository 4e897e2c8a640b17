"""The objectives that classify: softmax, and the margins of CosFace and ArcFace."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
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
class SoftmaxSettings:
    """Softmax cross-entropy."""

    weight: float = 1.0
    label_smoothing: float = 0.0  # share of the target that is spread over all classes

    def __post_init__(self) -> None:
        _check_label_smoothing(self.label_smoothing)

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


# CosFace: the cosine to the own class must exceed the others by a margin.
#
# Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, equation 4.


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
        _check_label_smoothing(self.label_smoothing)

    def expected_first_loss(self, classes: int) -> float:
        """Of a network that knows nothing."""
        return expected_margin_loss(classes, scale=self.scale, setback=self.scale * self.margin)


class MarginObjective(Objective):
    """Cosines to one direction a class, of which the own class's must exceed the others by a margin."""

    def __init__(self, settings: CosFaceSettings | ArcFaceSettings, *, embedding_size: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.classifier = nn.Linear(embedding_size, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=embedding_size**-0.5)

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.classifier.weight))
        own = label_mask(targets.labels, len(self.classifier.weight))
        logits = self.settings.scale * self.set_back(cosines, own)
        return labelled_cross_entropy(logits, targets.labels, label_smoothing=self.settings.label_smoothing)

    @abstractmethod
    def set_back(self, cosines: Tensor, own: Tensor) -> Tensor:
        """The cosines (B, C), less the margin where `own` (B, C) says that it is the crop's own class."""


class CosFace(MarginObjective):
    """The margin is taken from the cosine."""

    def set_back(self, cosines: Tensor, own: Tensor) -> Tensor:
        return cosines - self.settings.margin * own


# ArcFace: the angle to the own class is enlarged by a margin.
#
# Source: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, equation 3.


@dataclass(frozen=True, slots=True)
class ArcFaceSettings:
    """ArcFace; the scale and the margin are the paper's."""

    weight: float = 1.0
    scale: float = 64.0  # times the cosines
    margin: float = 0.5  # radians, added to the angle to the own class
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.pi / 2:
            raise ConfigError(f"margin is {self.margin}; an ArcFace margin must lie in 0..1.57 radians")
        _check_label_smoothing(self.label_smoothing)

    def expected_first_loss(self, classes: int) -> float:
        """Of a network that knows nothing: about a right angle the margin takes sin(margin) from the cosine."""
        return expected_margin_loss(classes, scale=self.scale, setback=self.scale * math.sin(self.margin))


class ArcFace(MarginObjective):
    """The margin is added to the angle."""

    def set_back(self, cosines: Tensor, own: Tensor) -> Tensor:
        return torch.where(own, self._enlarge_angle(cosines), cosines)

    def _enlarge_angle(self, cosines: Tensor) -> Tensor:
        """cos(angle + margin) where that falls with the angle; beyond, a line that goes on falling."""
        margin = self.settings.margin
        # The root has no gradient at 0, so the sine is kept off it.
        sines = (1 - cosines.square()).clamp_min(1e-6).sqrt()
        enlarged = cosines * math.cos(margin) - sines * math.sin(margin)
        line = cosines - math.sin(math.pi - margin) * margin
        return torch.where(cosines > math.cos(math.pi - margin), enlarged, line)


def _check_label_smoothing(value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"label_smoothing is {value}; it must lie in 0..1, without 1")
