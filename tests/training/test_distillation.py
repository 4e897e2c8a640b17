from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lightface.errors import TrainingError
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
    assert float(objective(embeddings, Targets(LABELS, teacher)).detach()) == pytest.approx(1 - (1 + 0.8) / 2)


def test_an_isometry_wants_the_teachers_embedding_itself() -> None:
    objective = CosineDistillation(CosineSettings(head="isometry"), embedding_size=8, teacher_size=4)
    assert not list(objective.parameters())  # it is given, not learnt
    teacher = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    student = 3 * teacher @ objective.axes
    assert float(objective(student, Targets(LABELS, teacher))) == pytest.approx(0, abs=1e-6)
    elsewhere = torch.linalg.svd(objective.axes).Vh[4]  # a direction that the teacher's embeddings have not
    off = F.normalize(student, dim=1) + elsewhere
    assert float(objective(off, Targets(LABELS, teacher))) == pytest.approx(1 - 0.5**0.5, abs=1e-6)


def test_an_isometry_is_fitted_to_a_student_that_is_turned() -> None:
    objective = CosineDistillation(CosineSettings(head="isometry"), embedding_size=8, teacher_size=4)
    teacher = F.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    turned = torch.linalg.qr(torch.randn(8, 4, generator=torch.Generator().manual_seed(1))).Q.T
    targets = Targets(LABELS, teacher)
    assert float(objective(5 * teacher @ turned, targets)) > 0.3
    objective.fit(5 * teacher @ turned, targets)
    assert float(objective(5 * teacher @ turned, targets)) == pytest.approx(0, abs=1e-6)


def test_a_linear_head_is_fitted_by_least_squares() -> None:
    objective = CosineDistillation(CosineSettings(), embedding_size=8, teacher_size=4)
    random = torch.Generator().manual_seed(0)
    student = 3 + 10 * torch.randn(100, 8, generator=random)
    teacher = F.normalize((student - student.mean(dim=0)) @ torch.randn(8, 4, generator=random))
    targets = Targets(LABELS, teacher)
    objective.fit(student, targets)
    assert float(objective(student, targets).detach()) < 0.05  # the lengths of the rows are not linear


def test_an_isometry_needs_room_for_the_teacher() -> None:
    with pytest.raises(TrainingError, match="the teacher's 9 numbers do not fit into an embedding of 8"):
        CosineDistillation(CosineSettings(head="isometry"), embedding_size=8, teacher_size=9)


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
