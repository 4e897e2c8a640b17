"""Distillation from a teacher's embeddings, which needs no identities.

Sources: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015 (the idea); Tung and Mori,
"Similarity-Preserving Knowledge Distillation", 2019 (similarity matrices of a batch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightface.errors import TrainingError
from lightface.training.objectives.objective import Objective, Targets

_RIDGE = 0.1  # times the number of crops that a linear head is fitted to


@dataclass(frozen=True, slots=True)
class CosineSettings:
    """The teacher's embedding, through a layer on top of the student's.

    An isometry is not learnt: the student's embedding itself must become the teacher's, turned into its own space, and
    so its own cosines become the teacher's. A linear layer leaves them free.
    """

    weight: float = 1.0
    head: Literal["linear", "isometry"] = "linear"


@dataclass(frozen=True, slots=True)
class RelationalSettings:
    """The teacher's similarities between the crops of a batch."""

    weight: float = 1.0


class CosineDistillation(Objective):
    """1 - cosine between the teacher's embedding and the student's, one of them taken to the other's space."""

    axes: Tensor  # (teacher_size, embedding_size), orthonormal rows; of an isometry

    def __init__(self, settings: CosineSettings, *, embedding_size: int, teacher_size: int) -> None:
        super().__init__()
        self.settings = settings
        if settings.head == "linear":
            self.head = nn.Linear(embedding_size, teacher_size)
            return
        if teacher_size > embedding_size:
            raise TrainingError(
                f"the teacher's {teacher_size} numbers do not fit into an embedding of {embedding_size}; set head = "
                '"linear" in [objectives.cosine]'
            )
        self.register_buffer("axes", nn.init.orthogonal_(torch.empty(teacher_size, embedding_size)))

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        assert targets.teacher is not None
        if targets.known is not None:
            return self._compare_known(embeddings, targets.teacher, targets.known)
        if self.settings.head == "linear":
            return 1 - F.cosine_similarity(self.head(embeddings), targets.teacher).mean()
        return 1 - F.cosine_similarity(embeddings, targets.teacher @ self.axes).mean()

    def _compare_known(self, embeddings: Tensor, teacher: Tensor, known: Tensor) -> Tensor:
        """The mean over the crops that some teacher knows, 0 without any, of 1 - cosine.

        What of the student answers to a teacher that does not know the crop is left out of its cosine.
        """
        if self.settings.head == "linear":
            cosines = F.cosine_similarity(self.head(embeddings) * known, teacher)
        else:
            unknown = (embeddings @ self.axes.T) * ~known
            cosines = F.cosine_similarity(embeddings - unknown @ self.axes, teacher @ self.axes)
        counts = known.any(dim=1)
        return ((1 - cosines) * counts).sum() / counts.sum().clamp_min(1)

    @torch.no_grad()
    def fit(self, embeddings: Tensor, targets: Targets) -> None:
        """Least squares: ridge regression for a linear head, orthogonal Procrustes for an isometry.

        The one takes the crops that every teacher knows. For the other, a part that is not known is zeros and says
        nothing.
        """
        assert targets.teacher is not None
        if self.settings.head == "isometry":
            left, _, right = torch.linalg.svd(targets.teacher.T @ F.normalize(embeddings), full_matrices=False)
            self.axes.copy_(left @ right)
            return
        complete = slice(None) if targets.known is None else targets.known.all(dim=1)
        embeddings, teacher = embeddings[complete], targets.teacher[complete]
        if not len(embeddings):  # what is not known cannot be fitted to
            return
        mean = embeddings.mean(dim=0)
        centred = embeddings - mean
        ridge = _RIDGE * len(embeddings) * torch.eye(embeddings.shape[1])
        weight = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ teacher).T
        self.head.weight.copy_(weight)
        self.head.bias.copy_(-weight @ mean)


class RelationalDistillation(Objective):
    """The mean squared difference between the cosine matrices of the batch, student's and teacher's.

    It acts on the cosines that recognition compares, with no layer in between, and so without dropout. They are to be
    the mean of all teachers', and a single teacher's cosines spread otherwise: only pairs count of which every teacher
    knows both crops.
    """

    drops_out = False

    def __init__(self, settings: RelationalSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        assert targets.teacher is not None
        student = F.normalize(embeddings)
        squares = (student @ student.T - targets.teacher @ targets.teacher.T).square()
        if targets.known is not None:
            complete = targets.known.all(dim=1)
            counts = (complete[:, None] & complete[None, :]).fill_diagonal_(False)
            return (squares * counts).sum() / counts.sum().clamp_min(1)
        n = len(embeddings)
        return (squares.sum() - squares.diagonal().sum()) / (n * (n - 1))  # the diagonals are all 1
