from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lightface.training.objectives.distillation import (
    CosineDistillation,
    CosineSettings,
    RelationalDistillation,
    RelationalSettings,
)
from lightface.training.objectives.objective import Targets

LABELS = torch.zeros(0, dtype=torch.int64)


def test_the_cosine_is_of_a_linear_image() -> None:
    objective = CosineDistillation(CosineSettings(), embedding_size=3, teacher_size=2)
    with torch.no_grad():
        objective.head.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
        objective.head.bias.zero_()
    embeddings = torch.tensor([[2.0, 9.0, 0.0], [3.0, 9.0, 4.0]])
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(objective(embeddings, Targets(LABELS, teacher))) == pytest.approx(1 - (1 + 0.8) / 2)


def test_a_student_as_good_as_its_teacher_has_no_relational_loss() -> None:
    objective = RelationalDistillation(RelationalSettings())
    teacher = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    turned = torch.linalg.qr(torch.randn(8, 4, generator=torch.Generator().manual_seed(1))).Q
    student = 7 * teacher @ turned.T  # turned and lengthened: the similarities are the same
    assert float(objective(student, Targets(LABELS, teacher))) == pytest.approx(0, abs=1e-10)


def test_the_relational_loss_is_the_mean_square_off_the_diagonal() -> None:
    objective = RelationalDistillation(RelationalSettings())
    student = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])  # cosines 0, 1, 0
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])  # cosines 1, 1, 1
    assert float(objective(student, Targets(LABELS, teacher))) == pytest.approx(2 / 3)
