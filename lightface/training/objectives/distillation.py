"""Distillation from a teacher's embeddings, which needs no identities.

Sources: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015 (the idea); Tung and Mori,
"Similarity-Preserving Knowledge Distillation", 2019 (similarity matrices of a batch).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from lightface.training.objectives.objective import Objective, Targets


@dataclass(frozen=True, slots=True)
class CosineSettings:
    """The teacher's embedding, through a linear layer."""

    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RelationalSettings:
    """The teacher's similarities between the crops of a batch."""

    weight: float = 1.0


class CosineDistillation(Objective):
    """1 - cosine between the teacher's embedding and a linear image of the student's."""

    def __init__(self, settings: CosineSettings, *, embedding_size: int, teacher_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.head = nn.Linear(embedding_size, teacher_size)

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        assert targets.teacher is not None
        return 1 - F.cosine_similarity(self.head(embeddings), targets.teacher).mean()


class RelationalDistillation(Objective):
    """The mean squared difference between the cosine matrices of the batch, student's and teacher's.

    It acts on the cosines that recognition compares, with no layer in between, and so without dropout.
    """

    drops_out = False

    def __init__(self, settings: RelationalSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        assert targets.teacher is not None
        student = F.normalize(embeddings)
        squares = (student @ student.T - targets.teacher @ targets.teacher.T).square()
        n = len(embeddings)
        return (squares.sum() - squares.diagonal().sum()) / (n * (n - 1))  # the diagonals are all 1
