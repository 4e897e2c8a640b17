"""The network with its objectives, as one module that turns a batch into losses."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lightface.errors import ConfigError, TrainingError
from lightface.models.lightcnn import LightCNN, Structure, build_lightcnn
from lightface.models.registry import find_weights, verify_weights
from lightface.models.weights import load_strictly, read_state
from lightface.training.checkpoint import load_checkpoint
from lightface.training.config import NetworkSettings
from lightface.training.objectives.combination import CombinedObjective
from lightface.training.objectives.objective import Targets
from lightface.training.precision import autocast


class TrainingModel(nn.Module):
    """(N, C, H, W) images, their labels and the teacher's rows -> (K,) unweighted losses.

    The network runs in the given precision, the objectives in float32: their cosines and exponentials need it.
    """

    def __init__(self, network: LightCNN, objectives: CombinedObjective, *, precision: str) -> None:
        super().__init__()
        self.network = network
        self.objectives = objectives
        self.precision = precision

    def forward(self, images: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        with autocast(self.precision, images.device):
            embeddings = self.network(images)
        losses: Tensor = self.objectives(embeddings.float(), Targets(labels, teacher))
        return losses


def build_network(settings: NetworkSettings) -> LightCNN:
    """The network of a recipe, with fresh weights or those that it starts from.

    Raises WeightsError or CheckpointError when those cannot be read or do not fit.
    """
    structure = Structure(
        pooling=settings.pooling,
        padding=settings.padding,
        inner_dropout=settings.inner_dropout,
        norm=settings.norm,
    )
    network = build_lightcnn(settings.architecture, structure)
    if settings.start_from is not None:
        state, source = _read_start(settings.start_from)
        if settings.norm and not any(".norm." in key for key in state):
            raise ConfigError(
                f"{settings.start_from!r} holds finished weights, without batch normalisation; set norm = false to "
                "start from them"
            )
        load_strictly(network, state, source=source)
    return network


def _read_start(start_from: str) -> tuple[dict[str, Tensor], Path]:
    path = Path(start_from)
    if path.suffix == ".safetensors":
        return read_state(path), path
    if path.suffix == ".pt":
        return read_network(path), path
    record = find_weights(start_from)
    verify_weights(record)
    return read_state(record.file), record.file


def read_network(path: Path) -> dict[str, Tensor]:
    """The network in `best.pt`, or the averaged one in `last.pt`, of a run folder; TrainingError."""
    state: dict[str, Tensor] | None = load_checkpoint(path, device=torch.device("cpu")).get("network")
    if state is None:
        raise TrainingError(f"{path} holds no network; name the best.pt or last.pt of a run")
    return state
