"""Which optimiser moves which weights, and how fast."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn

from lightface.training.config import OptimiserSettings


def build_optimiser(model: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """SGD or AdamW over parameter groups, each with its share of the learning rate as `rate`.

    As LightCNN's authors train: biases move faster and are not decayed, classifiers faster again. Vectors of
    normalisation are not decayed either.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        is_bias = name.endswith("bias")
        rate = (settings.bias_rate if is_bias else 1.0) * (settings.classifier_rate if ".classifier." in name else 1.0)
        decay = settings.weight_decay if parameter.dim() > 1 else 0.0
        groups[rate, decay].append(parameter)
    tables = [
        {"params": parameters, "weight_decay": decay, "rate": rate} for (rate, decay), parameters in groups.items()
    ]
    if settings.kind == "sgd":
        return torch.optim.SGD(tables, lr=settings.learning_rate, momentum=settings.momentum)
    on_cuda = next(model.parameters()).is_cuda
    # One kernel for all weights; the CPU has none such that is exact over a resume.
    return torch.optim.AdamW(tables, lr=settings.learning_rate, betas=settings.betas, fused=on_cuda)


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group its share of `learning_rate`."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group["rate"]
