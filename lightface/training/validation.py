"""How well the network tells apart people whom it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lightface.crops import read_pairs
from lightface.errors import TrainingError
from lightface.frame import FRAME_PX
from lightface.measurement.metrics import equal_error_rate, impostors_needed, tar_at_far
from lightface.measurement.pairs import Pairs, cosines_of_pairs
from lightface.records import ByteArray, FloatArray
from lightface.training.augmentation import Augmentation, augment, cut_frame
from lightface.training.model import autocast
from lightface.training.split import TrainingSplit

_BATCH_SIZE = 32  # of 256, the first layers alone would take gigabytes
_PLAIN = Augmentation.none()


@dataclass(frozen=True, slots=True)
class Figures:
    """What a network reaches on pairs."""

    tar_at_1e2: float | None  # TAR at FAR 1e-2, 0..1; None where impostor pairs are too few
    tar_at_1e3: float | None
    equal_error_rate: float  # 0..1

    def is_better_than(self, other: Figures | None) -> bool:
        """By TAR at FAR 1e-2, and by equal error rate where that is the same, or not known."""
        if other is None:
            return True
        return (self.tar_at_1e2 or 0, -self.equal_error_rate) > (other.tar_at_1e2 or 0, -other.equal_error_rate)


def measure(
    network: nn.Module,
    pixels: ByteArray,
    pairs: Pairs,
    *,
    device: torch.device,
    precision: str,
    size_px: int = FRAME_PX,
) -> Figures:
    """The figures of a network (in evaluation mode) on pairs of (N, C, 144, 144) crops."""
    embeddings = embed_crops(network, pixels, device=device, precision=precision, size_px=size_px)
    scores = cosines_of_pairs(embeddings, pairs.a, pairs.b)
    return Figures(
        tar_at_1e2=_tar(scores, pairs, 1e-2),
        tar_at_1e3=_tar(scores, pairs, 1e-3),
        equal_error_rate=equal_error_rate(scores, pairs.same),
    )


def _tar(scores: FloatArray, pairs: Pairs, far: float) -> float | None:
    enough = int((~pairs.same).sum()) >= impostors_needed(far)
    return tar_at_far(scores, pairs.same, far) if enough else None


@torch.inference_mode()
def embed_crops(
    network: nn.Module, pixels: ByteArray, *, device: torch.device, precision: str, size_px: int = FRAME_PX
) -> FloatArray:
    """(N, C, 144, 144) uint8 crops -> (N, 256) rows of unit length, flip-averaged as exported weights are used.

    At 128 px the network is given each crop as recognition would, below that as a stage of training would.
    """
    parts = []
    for start in range(0, len(pixels), _BATCH_SIZE):
        crops = torch.from_numpy(np.ascontiguousarray(pixels[start : start + _BATCH_SIZE])).to(device)
        images = cut_frame(crops) if size_px == FRAME_PX else augment(crops, size_px=size_px, augmentation=_PLAIN)
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(precision, device):
            embeddings = network(images).float() + network(images.flip(-1)).float()
        parts.append(F.normalize(embeddings))
    rows: FloatArray = torch.cat(parts).cpu().numpy()
    return rows


def read_validation_pairs(path: Path, split: TrainingSplit, *, first: int | None = None) -> Pairs:
    """The pairs of a file, see `crops.read_pairs`, as places in `split.dev_rows`.

    The file may name the `first` rows of the index alone: those of its own data folder. TrainingError for a row that is
    no validation crop, and for pairs of which none is of one person, or none of two.
    """
    places = {int(row): place for place, row in enumerate(split.dev_rows) if first is None or row < first}
    named = read_pairs(path)
    unknown = next((row for row in np.stack([named.a, named.b], axis=1).ravel().tolist() if row not in places), None)
    if unknown is not None:
        raise TrainingError(f"{path.name} names row {unknown}, which is no readable validation crop")
    if not (named.same.any() and not named.same.all()):
        raise TrainingError(f"{path.name} needs pairs of one person (same = 1) and pairs of two (same = 0)")
    a, b = (np.array([places[row] for row in side.tolist()], np.int64) for side in (named.a, named.b))
    return Pairs(a, b, named.same)
