"""What every objective promises, and the cross-entropy that the classifying ones share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightface.frame import EMBEDDING_SIZE

_DRAWS = 256
_DRAWN_COSINES = 4_000_000  # at most

UNKNOWN = -1  # the label of a crop of an unknown person


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What is known of a batch."""

    labels: Tensor  # (N,) int64 classes, UNKNOWN where the person is not known
    teacher: Tensor | None  # (N, D) float32 rows of unit length, of mean 0 over the training crops
    known: Tensor | None = None  # (N, D) bool, false in the columns of teachers that do not know a crop; None: all true


class Objective(nn.Module):
    """A loss over embeddings, with the layers that it needs on top of them.

    `forward(embeddings, targets)` takes (N, 256) float32 embeddings, not of unit length, and returns the mean loss of
    the batch, a scalar.
    """

    drops_out = True  # dropout stands between the embedding and the layers on top of it

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        raise NotImplementedError

    def fit(self, embeddings: Tensor, targets: Targets) -> None:
        """Suit the layers to the embeddings of a network that is trained on, where that is known in closed form."""


def labelled_cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float) -> Tensor:
    """The mean cross-entropy of the crops whose person is known; 0 for a batch without any.

    `logits` is (N, classes). Nothing here depends on how many are known, so that a GPU need not be waited for.
    """
    losses = F.cross_entropy(logits, labels, ignore_index=UNKNOWN, label_smoothing=label_smoothing, reduction="none")
    return losses.sum() / (labels != UNKNOWN).sum().clamp_min(1)


def expected_margin_loss(classes: int, *, scale: float, setback: float) -> float:
    """The cross-entropy of directions that know nothing of each other, the own logit set back by `setback`.

    Cosines between such directions of D dimensions have mean 0 and a deviation of 1 / sqrt(D), which the scale makes so
    much of that the largest of many decides: the mean is taken over draws.
    """
    generator = np.random.default_rng(0)
    draws = max(1, min(_DRAWS, _DRAWN_COSINES // classes))
    logits = generator.normal(scale=scale * EMBEDDING_SIZE**-0.5, size=(draws, classes))
    logits[:, 0] -= setback
    return float(np.mean(np.logaddexp.reduce(logits, axis=1) - logits[:, 0]))


def label_mask(labels: Tensor, classes: int) -> Tensor:
    """(N, classes) bool, true at each crop's own class; a row of an unknown person is all false."""
    return labels[:, None] == torch.arange(classes, device=labels.device)
