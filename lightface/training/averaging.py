"""The exponential moving average of a network's weights, which is what is validated and exported."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lightface.models.lightcnn import LightCNN


class AveragedNetwork:
    """Follows `network`; without a decay it is the network's present weights.

    The average begins short and lengthens to `decay`, so that the first weights are soon forgotten.
    """

    def __init__(self, network: LightCNN, decay: float | None) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._averages, self._copies = _split_state(self.network)
        self._sources, self._copied_sources = _split_state(network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = 0.0 if self.decay is None else min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._sources, 1 - decay)
        for mine, source in zip(self._copies, self._copied_sources, strict=True):
            mine.copy_(source)


def _split_state(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Numbers to average (batch statistics too), and counters to copy."""
    state = list(network.state_dict().values())
    return [t for t in state if t.is_floating_point()], [t for t in state if not t.is_floating_point()]
