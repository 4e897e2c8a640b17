"""The optimisers: which of them moves which weights, how fast, and Muon itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightface.training.config import OptimiserSettings


def build_optimisers(model: nn.Module, settings: OptimiserSettings) -> list[torch.optim.Optimizer]:
    """SGD, AdamW, or Muon for filters with AdamW for the rest; parameter groups have a share of the rate as `rate`.

    As LightCNN's authors train: biases move faster and are not decayed, classifiers faster again. Vectors of
    normalisation are not decayed either.
    """
    parameters = dict(model.named_parameters())
    if settings.kind == "sgd":
        return [torch.optim.SGD(_group(parameters, settings), lr=settings.learning_rate, momentum=settings.momentum)]
    filters = {name: p for name, p in parameters.items() if settings.kind == "muon" and p.dim() == 4}
    others = {name: p for name, p in parameters.items() if name not in filters}
    on_cuda = next(model.parameters()).is_cuda
    # One kernel for all weights; the CPU has none such that is exact over a resume.
    adamw = torch.optim.AdamW(_group(others, settings), lr=settings.learning_rate, betas=settings.betas, fused=on_cuda)
    if not filters:
        return [adamw]
    groups = _group(filters, settings)
    for group in groups:
        group["rate"] *= settings.filter_step / settings.learning_rate
    return [Muon(groups, lr=settings.filter_step), adamw]


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group its share of `learning_rate`."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group["rate"]


def _group(parameters: Mapping[str, nn.Parameter], settings: OptimiserSettings) -> list[dict[str, Any]]:
    """Named parameters by rate and decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in parameters.items():
        is_bias = name.endswith("bias")
        rate = (settings.bias_rate if is_bias else 1.0) * (settings.classifier_rate if ".classifier." in name else 1.0)
        decay = settings.weight_decay if parameter.dim() > 1 else 0.0
        groups[rate, decay].append(parameter)
    return [{"params": members, "weight_decay": decay, "rate": rate} for (rate, decay), members in groups.items()]


# Muon for convolution filters: momentum whose directions are made equally strong before the step.
#
# Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024 (the idea, and the
# polynomial that orthogonalises); the step's length is relative, as in You et al., "Large Batch Training of
# Convolutional Networks", 2017: filters before batch normalisation have no length of their own that matters.


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
