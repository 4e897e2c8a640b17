from __future__ import annotations

import pytest
import torch

from lightface.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_directions_become_about_equally_strong(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-4
    result = orthogonalise(matrix)
    values = torch.linalg.svdvals(result)
    assert result.dtype == torch.float32 and result.shape == matrix.shape
    assert values.min() > 0.5 and values.max() < 1.4
    # The singular vectors stay: what is left of the gradient points the same way.
    assert (result * matrix).sum() > 0


def test_a_step_is_a_share_of_the_filters_length() -> None:
    torch.manual_seed(0)
    filters = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    before, length = filters.detach().clone(), float(filters.detach().norm())
    optimiser = Muon([{"params": [filters]}], lr=0.02)
    for scale in (1.0, 1e6):  # of the gradient, which does not matter
        filters.grad = torch.randn(6, 4, 3, 3) * scale
        optimiser.step()
        assert float((filters.detach() - before).norm()) == pytest.approx(0.02 * length, rel=0.02)
        before, length = filters.detach().clone(), float(filters.detach().norm())


def test_it_finds_a_target() -> None:
    torch.manual_seed(0)
    target = torch.randn(6, 4, 3, 3)
    filters = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    first = float((filters.detach() - target).square().mean())
    optimiser = Muon([{"params": [filters]}], lr=0.05)
    for step in range(100):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 100)
        optimiser.zero_grad()
        (filters - target).square().mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float((filters.detach() - target).square().mean()) < 0.05 * first


def test_decay_shortens_filters_that_stand_still() -> None:
    filters = torch.nn.Parameter(torch.ones(2, 2, 1, 1))
    optimiser = Muon([{"params": [filters]}], lr=0.1, weight_decay=0.5)
    filters.grad = torch.zeros_like(filters)
    optimiser.step()
    torch.testing.assert_close(filters.detach(), torch.full((2, 2, 1, 1), 0.95))
