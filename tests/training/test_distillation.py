from __future__ import annotations

from typing import Literal

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


def gaps() -> tuple[torch.Tensor, Targets]:
    """Eight embeddings of 8, and two teachers of 2 numbers each: the first knows rows 0 to 3, the second 2 to 5."""
    known = torch.zeros(8, 4, dtype=torch.bool)
    known[0:4, :2] = known[2:6, 2:] = True
    teacher = F.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)) * known)
    embeddings = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    return embeddings, Targets(LABELS, teacher, known)


@pytest.mark.parametrize("head", ["linear", "isometry"])
def test_a_teacher_that_does_not_know_a_crop_has_no_say_in_it(head: Literal["linear", "isometry"]) -> None:
    embeddings, targets = gaps()
    assert targets.teacher is not None and targets.known is not None
    objective = CosineDistillation(CosineSettings(head=head), embedding_size=8, teacher_size=4)
    loss = objective(embeddings, targets)
    losses = []
    for row in range(6):
        columns = targets.known[row]
        if head == "linear":
            student = objective.head(embeddings[row])[columns]
            losses.append(1 - F.cosine_similarity(student, targets.teacher[row][columns], dim=0))
            continue
        student = embeddings[row] - embeddings[row] @ objective.axes[~columns].T @ objective.axes[~columns]
        losses.append(1 - F.cosine_similarity(student, targets.teacher[row] @ objective.axes, dim=0))
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    # Where every teacher knows every crop, it is what it was without gaps.
    complete = Targets(LABELS, targets.teacher[2:4], targets.known[2:4])
    torch.testing.assert_close(
        objective(embeddings[2:4], complete), objective(embeddings[2:4], Targets(LABELS, complete.teacher))
    )


def test_only_what_all_teachers_know_is_related() -> None:
    embeddings, targets = gaps()
    assert targets.teacher is not None
    objective = RelationalDistillation(RelationalSettings())
    known = Targets(LABELS, targets.teacher[2:4])
    torch.testing.assert_close(objective(embeddings, targets), objective(embeddings[2:4], known))


@pytest.mark.parametrize("head", ["linear", "isometry"])
@pytest.mark.parametrize("rows", [slice(0, 2), slice(6, 8)], ids=["half known", "unknown"])
def test_a_batch_of_which_little_is_known_has_finite_gradients(
    head: Literal["linear", "isometry"], rows: slice
) -> None:
    embeddings, targets = gaps()
    assert targets.teacher is not None and targets.known is not None
    some = embeddings[rows].requires_grad_()
    part = Targets(LABELS, targets.teacher[rows], targets.known[rows])
    cosine = CosineDistillation(CosineSettings(head=head), embedding_size=8, teacher_size=4)
    losses = torch.stack([cosine(some, part), RelationalDistillation(RelationalSettings())(some, part)])
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert some.grad is not None and torch.isfinite(some.grad).all()
    assert losses.tolist() == [pytest.approx(0.0) if rows.start == 6 else pytest.approx(float(losses[0].detach())), 0.0]
    assert bool(some.grad.any()) == (rows.start == 0)


def test_heads_are_fitted_to_what_is_known() -> None:
    random = torch.Generator().manual_seed(0)
    student = torch.randn(100, 8, generator=random)
    known = torch.ones(100, 4, dtype=torch.bool)
    known[:40, 2:] = False
    turned = torch.linalg.qr(torch.randn(8, 4, generator=random)).Q
    targets = Targets(LABELS, F.normalize(student @ turned * known), known)
    for head in ("linear", "isometry"):
        objective = CosineDistillation(CosineSettings(head=head), embedding_size=8, teacher_size=4)
        before = float(objective(student @ turned @ turned.T, targets).detach())
        objective.fit(student @ turned @ turned.T, targets)
        assert float(objective(student @ turned @ turned.T, targets).detach()) < 0.05 < 0.5 < before
    unfitted = CosineDistillation(CosineSettings(), embedding_size=8, teacher_size=4)
    weight = unfitted.head.weight.clone()
    unfitted.fit(student[:40], Targets(LABELS, known=known[:40], teacher=targets.teacher[:40]))  # type: ignore[index]
    assert torch.equal(unfitted.head.weight, weight)
