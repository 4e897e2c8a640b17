"""The weights of a run and everything that moves them: one optimiser step at a time."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lightface.errors import ConfigError
from lightface.models.lightcnn import LightCNN
from lightface.training.config import TrainingConfig
from lightface.training.distributed import Processes
from lightface.training.fusion import fuse_layers
from lightface.training.model import TrainingModel, build_network, embed_images, resolve_precision
from lightface.training.objectives.combination import build_objectives
from lightface.training.objectives.objective import Targets
from lightface.training.optimiser import build_optimisers, set_learning_rate


class Learner:
    """Network, objectives, optimiser and average, equal in every process of a run.

    `start`: images of the network's input and what is known of them, that weights which are trained on begin with:
    batch normalisation put into finished weights and the layers of the objectives are fitted to them.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        classes: int,
        teacher_size: int | None,
        device: torch.device,
        processes: Processes,
        start: tuple[Tensor, Targets] | None = None,
    ) -> None:
        torch.manual_seed(config.seed)  # of the fresh weights
        self.precision = resolve_precision(config.precision, device)
        if self.precision == "fp16" and config.optimiser.kind == "muon":
            # A gradient too large for fp16 has its optimiser skip the step, but not the other one.
            raise ConfigError("muon trains in bf16 or fp32; set precision to one of them, or choose another optimiser")
        objectives = build_objectives(
            config.objectives, dropout=config.network.dropout, classes=classes, teacher_size=teacher_size
        )
        network = build_network(config.network, images=None if start is None else start[0])
        if start is not None and config.network.start_from is not None and config.objectives.cosine is not None:
            objectives.fit(embed_images(network, start[0]), start[1])
        self.model = TrainingModel(network, objectives, precision=self.precision).to(device)
        network.to(memory_format=torch.channels_last)
        self.average = AveragedNetwork(network, config.ema_decay)
        if config.compile:  # in place, so that the names of the weights stay
            fuse_layers(network) if device.type == "cpu" else network.compile()
        self._forward: nn.Module = self.model
        if processes.count > 1:
            self._forward = DistributedDataParallel(self.model)
        self._accumulate, self._clip_norm = config.accumulate, config.optimiser.clip_norm or math.inf
        self._optimisers = build_optimisers(self.model, config.optimiser)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")

    def learn(
        self,
        images: Tensor,
        targets: Targets,
        *,
        learning_rate: float,
        step: int,
        corner_px: tuple[int, int] | None = None,
    ) -> Tensor:
        """One step on (N, C, H, W) images in 0..1; returns the (K,) unweighted losses, still on the device.

        With `corner_px`, the images are the window of the frame that begins there. A gradient that is not finite makes
        the losses NaN, so that its own step is blamed for what it does to the weights.
        """
        self.model.train()
        losses = self._add_gradients(images.contiguous(memory_format=torch.channels_last), targets, corner_px)
        for optimiser in self._optimisers:
            self._scaler.unscale_(optimiser)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm)
        if not self._scaler.is_enabled():  # it expects such gradients, and leaves their steps out
            losses = losses + 0 * norm
        for optimiser in self._optimisers:
            set_learning_rate(optimiser, learning_rate)
            self._scaler.step(optimiser)
            optimiser.zero_grad(set_to_none=True)
        self._scaler.update()
        self.average.update(step)
        return losses

    def name_losses(self, losses: Tensor) -> dict[str, float]:
        """(K,) losses by the names of their objectives, and their weighted sum as "loss"."""
        objectives = self.model.objectives
        total = float(losses.double() @ objectives.weights.cpu().double())
        return {"loss": total, **dict(zip(objectives.names, losses.tolist(), strict=True))}

    def state(self) -> dict[str, Any]:
        """What `load_state` needs to go on as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "network": self.average.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "scaler": self._scaler.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a state. RuntimeError, KeyError or ValueError when it is of another recipe."""
        self.model.load_state_dict(state["model"])
        self.average.network.load_state_dict(state["network"])
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self._scaler.load_state_dict(state["scaler"])

    def _add_gradients(self, images: Tensor, targets: Targets, corner_px: tuple[int, int] | None) -> Tensor:
        """The batch in equal parts, one after the other; only the last one is summed up with the other processes'."""
        count = self._accumulate
        teachers, known = (
            [None] * count if of_all is None else of_all.chunk(count) for of_all in (targets.teacher, targets.known)
        )
        losses = torch.zeros_like(self.model.objectives.weights)
        parts = zip(images.chunk(count), targets.labels.chunk(count), teachers, known, strict=True)
        for part, inputs in enumerate(parts):
            keeps_apart = part < count - 1 and isinstance(self._forward, DistributedDataParallel)
            with self._forward.no_sync() if keeps_apart else nullcontext():  # type: ignore[operator]
                part_losses = self._forward(*inputs, corner_px) / count
                self._scaler.scale(part_losses @ self.model.objectives.weights).backward()
            losses += part_losses.detach()
        return losses


# The exponential moving average of a network's weights, which is what is validated and exported.


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
        get_ema_multi_avg_fn(decay)(self._averages, self._sources, None)  # type: ignore[no-untyped-call]
        for mine, source in zip(self._copies, self._copied_sources, strict=True):
            mine.copy_(source)


def _split_state(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Numbers to average (batch statistics too), and counters to copy."""
    state = list(network.state_dict().values())
    return [t for t in state if t.is_floating_point()], [t for t in state if not t.is_floating_point()]
