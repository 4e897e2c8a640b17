"""The network with its objectives, as one module that turns a batch into losses; its precision and statistics."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lightface.errors import ConfigError, DeviceError, TrainingError
from lightface.models.lightcnn import LightCNN, Structure, build_lightcnn
from lightface.models.registry import find_weights, verify_weights
from lightface.models.weights import load_strictly, read_state
from lightface.records import ByteArray
from lightface.training.augmentation import cut_frame
from lightface.training.config import NetworkSettings
from lightface.training.data import CropSet
from lightface.training.objectives.combination import CombinedObjective
from lightface.training.objectives.objective import Targets
from lightface.training.run_folder import load_checkpoint
from lightface.training.split import TrainingSplit

_AT_ONCE = 32  # images
_NORM_IMAGES = 128  # at most, whose statistics batch normalisation begins with: all are in memory at once


class TrainingModel(nn.Module):
    """(N, C, H, W) images, what is known of them (see `Targets`), their window's corner -> (K,) unweighted losses.

    The network runs in the given precision, the objectives in float32: their cosines and exponentials need it.
    """

    def __init__(self, network: LightCNN, objectives: CombinedObjective, *, precision: str) -> None:
        super().__init__()
        self.network = network
        self.objectives = objectives
        self.precision = precision

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        teacher: Tensor | None,
        known: Tensor | None = None,
        corner_px: tuple[int, int] | None = None,
    ) -> Tensor:
        with autocast(self.precision, images.device):
            embeddings = self.network(images, corner_px)
        losses: Tensor = self.objectives(embeddings.float(), Targets(labels, teacher, known))
        return losses


def build_network(settings: NetworkSettings, *, images: Tensor | None = None) -> LightCNN:
    """The network of a recipe, with fresh weights or those that it starts from.

    Finished weights have no batch normalisation. Where the recipe wants it, it is put in so that the network goes on
    computing what it did; that needs `images`, a batch of its input, (N, C, H, W) in 0..1.
    Raises WeightsError or CheckpointError when weights cannot be read or do not fit, ConfigError without such images.
    """
    structure = Structure(
        pooling=settings.pooling,
        padding=settings.padding,
        inner_dropout=settings.inner_dropout,
        norm=settings.norm,
    )
    network = build_lightcnn(settings.architecture, structure)
    if settings.start_from is None:
        return network
    state, source = _read_start(settings.start_from)
    if settings.norm and not any("norm." in key for key in state):
        if images is None:
            raise ConfigError(f"{settings.start_from!r} holds finished weights; set norm = false to start from them")
        plain = build_lightcnn(settings.architecture, replace(structure, norm=False))
        load_strictly(plain, state, source=source)
        network.load_state_dict(plain.state_dict(), strict=False)
        start_norms(network, images[:: 1 + len(images) // _NORM_IMAGES])
    else:
        load_strictly(network, state, source=source)
    return network


@torch.no_grad()
def embed_images(network: LightCNN, images: Tensor) -> Tensor:
    """(N, C, H, W) images in 0..1 -> (N, 256) embeddings, not of unit length, in evaluation mode."""
    was_training = network.training
    network.eval()
    embeddings = torch.cat([network(part) for part in torch.split(images, _AT_ONCE)])
    network.train(was_training)
    return embeddings


@torch.no_grad()
def start_norms(network: LightCNN, images: Tensor) -> None:
    """Let each batch normalisation give back what it takes away from these images.

    Its statistics are those of what reaches it, and so are its gain and offset. Only the embedding's own, which has
    neither, changes what the network computes: it becomes standardised.
    """

    def adopt(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        assert norm.running_mean is not None and norm.running_var is not None
        variance, mean = torch.var_mean(inputs[0], dim=[0, *range(2, inputs[0].dim())])
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        if norm.affine:
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.copy_(mean)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(adopt) for norm in norms]
    was_training = network.training
    network.eval()(images)
    network.train(was_training)
    for hook in hooks:
        hook.remove()


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


# The number format of the forward pass.


def resolve_precision(name: str, device: torch.device) -> str:
    """fp32, bf16 or fp16 for a recipe's `precision`; DeviceError when the device cannot train in it."""
    if name == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name == "fp16" and device.type != "cuda":
        raise DeviceError("fp16 trains on cuda only; use precision bf16 or fp32")
    return name


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A context in which convolutions and matrix products run in that precision."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


# Statistics of batch normalisation as recognition meets them, measured anew.
#
# Those of training are of augmented crops and windows, and lag behind the weights. Source: Wu and Johnson,
# "Rethinking 'Batch' in BatchNorm", 2021.


_SETTLING_CROPS = 1024  # at most
_SETTLED_AT_ONCE = 64


def settle_on(network: LightCNN, crops: CropSet, split: TrainingSplit, *, precision: str = "fp32") -> None:
    """Settle a network on some of the crops that it is trained on."""
    some = split.rows[:: 1 + len(split.rows) // _SETTLING_CROPS]
    settle_norms(network, crops.decoded.pixels[some], precision=precision)


@torch.no_grad()
def settle_norms(network: LightCNN, pixels: ByteArray, *, precision: str = "fp32") -> None:
    """Settle a network, on whatever device it is, on (N, C, 144, 144) crops; it is in evaluation mode afterwards."""
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    device = next(network.parameters()).device
    for part in torch.from_numpy(np.ascontiguousarray(pixels)).chunk(math.ceil(len(pixels) / _SETTLED_AT_ONCE)):
        images = cut_frame(part.to(device)).contiguous(memory_format=torch.channels_last)
        with autocast(precision, device):
            network(images)
    network.eval()
