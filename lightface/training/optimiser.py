"""Which optimiser moves which weights, and how fast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lightface.training.config import OptimiserSettings
from lightface.training.muon import Muon


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
