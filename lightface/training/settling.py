"""Statistics of batch normalisation as recognition meets them, measured anew.

Those of training are of augmented crops and windows, and lag behind the weights. Source: Wu and Johnson,
"Rethinking 'Batch' in BatchNorm", 2021.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from lightface.faces import ByteArray
from lightface.models.lightcnn import LightCNN
from lightface.training.augmentation import cut_frame
from lightface.training.data import CropSet
from lightface.training.precision import autocast
from lightface.training.split import TrainingSplit

_CROPS = 1024  # at most
_AT_ONCE = 64


def settle_on(network: LightCNN, crops: CropSet, split: TrainingSplit, *, precision: str = "fp32") -> None:
    """Settle a network on some of the crops that it is trained on."""
    some = split.rows[:: 1 + len(split.rows) // _CROPS]
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
    for part in torch.from_numpy(np.ascontiguousarray(pixels)).chunk(math.ceil(len(pixels) / _AT_ONCE)):
        images = cut_frame(part.to(device)).contiguous(memory_format=torch.channels_last)
        with autocast(precision, device):
            network(images)
    network.eval()
