"""Muon for convolution filters: momentum whose directions are made equally strong before the step.

Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024 (the idea, and the polynomial
that orthogonalises); the step's length is relative, as in You et al., "Large Batch Training of Convolutional
Networks", 2017: filters before batch normalisation have no length of their own that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_ROUNDS = 5
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # drives singular values to about 1 in five rounds


class Muon(torch.optim.Optimizer):
    """For (out, in, height, width) filters: a step moves each by the share `lr` of its own length."""

    def __init__(
        self, params: Iterable[dict[str, Any]], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every filter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            momentum = group["momentum"]
            for filters in group["params"]:
                if filters.grad is None:
                    continue
                average = self.state[filters].setdefault("average", torch.zeros_like(filters))
                average.lerp_(filters.grad, 1 - momentum)
                direction = orthogonalise(filters.grad.lerp(average, momentum).flatten(1)).reshape(filters.shape)
                length = filters.norm() / direction.norm().clamp_min(1e-7)
                filters.mul_(1 - group["lr"] * group["weight_decay"])
                filters.sub_(direction * length * group["lr"])


def orthogonalise(matrix: Tensor) -> Tensor:
    """(M, N) -> (M, N) float32 with the same singular vectors and singular values of about 1 (0.7 to 1.2)."""
    a, b, c = _POLYNOMIAL
    x = matrix.bfloat16() if matrix.shape[0] <= matrix.shape[1] else matrix.bfloat16().T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x if matrix.shape[0] <= matrix.shape[1] else x.T
    return result.float()
