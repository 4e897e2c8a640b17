"""From a recipe to data that is ready to train."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lightface.models.lightcnn import ARCHITECTURES
from lightface.training.config import TrainingConfig
from lightface.training.data import CropSet, load_crops
from lightface.training.distributed import Processes
from lightface.training.preflight import Preflight, inspect_data
from lightface.training.split import TrainingSplit, split_crops
from lightface.training.validation import Pairs, all_pairs, read_pairs


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """All that a run reads."""

    crops: CropSet
    split: TrainingSplit
    pairs: Pairs  # of validation crops, as places in `split.dev_rows`
    preflight: Preflight

    @property
    def fingerprint(self) -> str:
        """Of all that is trained and validated on, in which classes: a run goes on with the same data only."""
        digest = hashlib.sha256()
        split, pairs = self.split, self.pairs
        parts: tuple[npt.NDArray[Any], ...]
        parts = (self.crops.decoded.digests, split.rows, split.labels, split.dev_rows, pairs.a, pairs.b, pairs.same)
        teacher, cells = self.crops.teacher, self.crops.cells
        if teacher is not None:
            parts = (*parts, teacher.rows)
            if not (teacher.complete and teacher.centred.all()):  # else as before there was a choice
                parts = (*parts, teacher.known, teacher.centred)
        if cells is not None:
            digest.update(str(cells.names).encode())
            parts = (*parts, cells.numbers)
        for array in parts:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def prepare_data(config: TrainingConfig, processes: Processes) -> TrainingData:
    """Load, split and inspect the data of a recipe; TrainingError when it cannot train."""
    channels = ARCHITECTURES[config.network.architecture].in_channels
    if processes.local_rank > 0:
        processes.wait()  # until the first process of this machine has filled the cache
    crops = load_crops(config.data, channels=channels)
    if processes.local_rank == 0:
        processes.wait()
    split = split_crops(crops, config)
    preflight = inspect_data(crops, split, config)
    if config.data.pairs is not None:
        folder = crops.entries[0].folder
        first = sum(entry.folder == folder for entry in crops.entries)
        pairs = read_pairs(config.data.folders[0] / config.data.pairs, split, first=first)
    else:
        pairs = all_pairs(split.dev_people)
    return TrainingData(crops, split, pairs, preflight)
