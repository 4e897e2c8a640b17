from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from lightface.training.objectives.objective import UNKNOWN, label_mask, labelled_cross_entropy


def test_crops_of_unknown_people_do_not_count() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([2, UNKNOWN, 0, UNKNOWN])
    expected = F.cross_entropy(logits[[0, 2]], labels[[0, 2]])
    torch.testing.assert_close(labelled_cross_entropy(logits, labels, label_smoothing=0), expected)
    smoothed = F.cross_entropy(logits[[0, 2]], labels[[0, 2]], label_smoothing=0.2)
    torch.testing.assert_close(labelled_cross_entropy(logits, labels, label_smoothing=0.2), smoothed)


def test_a_batch_of_unknown_people_is_no_loss_and_has_a_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = labelled_cross_entropy(logits, torch.tensor([UNKNOWN, UNKNOWN]), label_smoothing=0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert logits.grad is not None and not logits.grad.any()


def test_the_mask_of_the_own_class() -> None:
    assert label_mask(torch.tensor([1, UNKNOWN]), 3).tolist() == [[False, True, False], [False, False, False]]


def test_smoothing_keeps_an_even_guess() -> None:
    loss = labelled_cross_entropy(torch.zeros(5, 7), torch.arange(5), label_smoothing=0.3)
    assert float(loss) == pytest.approx(math.log(7))
