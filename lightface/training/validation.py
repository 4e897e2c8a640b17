"""How well the network tells apart people whom it was not trained on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lightface.errors import TrainingError
from lightface.files import CsvRows, open_text
from lightface.measurement.metrics import BoolArray, IntArray, equal_error_rate, impostors_needed, tar_at_far
from lightface.records import ByteArray, FloatArray
from lightface.training.augmentation import FRAME_PX, Augmentation, augment, cut_frame
from lightface.training.model import autocast
from lightface.training.split import TrainingSplit

_SAME = {"1": True, "0": False}
_BATCH_SIZE = 32  # of 256, the first layers alone would take gigabytes
_PAIRS_AT_ONCE = 1 << 16
_PLAIN = Augmentation.none()
_MAX_CROPS = 4000  # their pairs, 8 million, still fit into memory
_MAX_PAIRS = 2_000_000  # more say no more after an epoch, and would take longer than some epochs do


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of rows of an embedding table."""

    a: IntArray  # (P,)
    b: IntArray  # (P,)
    same: BoolArray  # (P,)


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
    scores = score_pairs(embeddings, pairs)
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


def score_pairs(embeddings: FloatArray, pairs: Pairs) -> FloatArray:
    """(P,) cosines of unit rows."""
    scores = np.empty(len(pairs.a), np.float32)
    for start in range(0, len(scores), _PAIRS_AT_ONCE):  # the gathered rows of all pairs would take gigabytes
        part = slice(start, start + _PAIRS_AT_ONCE)
        scores[part] = np.einsum("pd,pd->p", embeddings[pairs.a[part]], embeddings[pairs.b[part]])
    return scores


def all_pairs(people: IntArray, *, limit: int | None = _MAX_PAIRS, seed: int = 0) -> Pairs:
    """Every pair of N rows, given who is on each (N,); with a limit, that many of the impostor pairs at random.

    Of more than 4,000 rows, that many at random are paired.
    """
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(len(people), min(len(people), _MAX_CROPS), replace=False))
    a, b = (rows[side] for side in np.triu_indices(len(rows), k=1))
    same = people[a] == people[b]
    impostors = np.flatnonzero(~same)
    if limit is not None and len(impostors) > limit:
        impostors = generator.choice(impostors, limit, replace=False)
    chosen = np.concatenate([np.flatnonzero(same), impostors])
    return Pairs(a[chosen], b[chosen], same[chosen])


def read_pairs(path: Path, split: TrainingSplit, *, first: int | None = None) -> Pairs:
    """The pairs of a CSV file with columns row_a, row_b (of the index) and same (1 or 0).

    Those of the result count within `split.dev_rows`. The file may name the `first` rows alone: those of its own data
    folder. TrainingError for a row that is no validation crop, and for pairs of which
    none is of one person, or none of two.
    """
    places = {int(row): place for place, row in enumerate(split.dev_rows) if first is None or row < first}
    try:
        with open_text(path, newline="", encoding="utf-8-sig") as file:
            named = [(int(row["row_a"]), int(row["row_b"]), _SAME[row["same"]]) for row in CsvRows(file)]
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise TrainingError(
            f"cannot read the pairs {path} ({error}); expected columns row_a, row_b and same, which is 1 or 0"
        ) from error
    unknown = next((row for pair in named for row in pair[:2] if row not in places), None)
    if unknown is not None:
        raise TrainingError(f"{path.name} names row {unknown}, which is no readable validation crop")
    if {pair[2] for pair in named} != {True, False}:
        raise TrainingError(f"{path.name} needs pairs of one person (same = 1) and pairs of two (same = 0)")
    a, b = (np.array([places[pair[i]] for pair in named], np.int64) for i in (0, 1))
    return Pairs(a, b, np.array([pair[2] for pair in named], np.bool_))
