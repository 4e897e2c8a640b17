"""From a recipe to data that is ready to train, which is looked at before hours are spent on it."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lightface.errors import TrainingError
from lightface.measurement.pairs import Pairs, pair_for_training
from lightface.models.lightcnn import ARCHITECTURES
from lightface.records import IntArray
from lightface.training.config import TrainingConfig
from lightface.training.data import CropSet, load_crops
from lightface.training.distributed import Processes
from lightface.training.objectives.objective import UNKNOWN
from lightface.training.split import TrainingSplit, split_crops
from lightface.training.validation import read_validation_pairs
from lightface.words import count_of


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
        pairs = read_validation_pairs(config.data.folders[0] / config.data.pairs, split, first=first)
    else:
        pairs = pair_for_training(split.dev_people)
    return TrainingData(crops, split, pairs, preflight)


# Look at the data before hours are spent on it, and refuse what cannot train.


logger = logging.getLogger(__name__)

_NAMED = 3  # so many examples of a trouble are named


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a run is about to train on."""

    crops: int  # trained on
    unlabelled: int  # of them, without a class: distilled only
    classes: int
    class_sizes: tuple[int, int, int]  # smallest, median, largest; zeros without classes
    validation_crops: int
    validation_people: int
    genuine_pairs: int  # among the validation crops
    impostor_pairs: int
    unreadable: tuple[str, ...]  # crops and photographs, each with the reason
    duplicates: int  # training crops whose pixels another training crop has, too
    conflicts: int  # of their pictures, those that carry two names
    validation_conflicts: int  # pictures of validation that carry two names: pairs of two people with a cosine of 1
    leaked: int  # training crops left out because a validation crop has the same pixels
    expected_first_losses: Mapping[str, float]  # by objective
    by_folder: Mapping[str, int]  # crops trained on of each data folder, by its name; "" for a single one
    gaps: Mapping[str, int]  # of them, those that a teacher has no row for, by its file; without those that know all


def inspect_data(crops: CropSet, split: TrainingSplit, config: TrainingConfig) -> Preflight:
    """Count, and raise one TrainingError that names everything that keeps the run from training."""
    sizes = np.bincount(split.labels[split.labels != UNKNOWN], minlength=len(split.classes))
    people = np.bincount(split.dev_people) if len(split.dev_people) else np.zeros(0, np.int64)
    all_pairs, genuine = _pairs(len(split.dev_rows)), int(sum(_pairs(int(count)) for count in people))
    preflight = Preflight(
        crops=len(split.rows),
        unlabelled=int((split.labels == UNKNOWN).sum()),
        classes=len(split.classes),
        class_sizes=(int(sizes.min()), int(np.median(sizes)), int(sizes.max())) if len(sizes) else (0, 0, 0),
        validation_crops=len(split.dev_rows),
        validation_people=len(people),
        genuine_pairs=genuine,
        impostor_pairs=all_pairs - genuine,
        unreadable=(*crops.refused, *crops.decoded.unreadable.values()),
        duplicates=len(split.rows) - len(np.unique(crops.decoded.digests[split.rows])),
        conflicts=_count_conflicts(crops, split.rows),
        validation_conflicts=_count_conflicts(crops, split.dev_rows),
        leaked=split.leaked,
        expected_first_losses=config.objectives.expected_first_losses(max(1, len(split.classes))),
        by_folder=Counter(crops.entries[row].folder for row in split.rows),
        gaps=_count_gaps(crops, split.rows),
    )
    problems = _find_problems(preflight, config)
    if problems:
        raise TrainingError(f"this data cannot train: {'; '.join(problems)}")
    if len(preflight.by_folder) > 1:
        logger.info("trained on: %s", describe_folders(preflight))
    for name, count in preflight.gaps.items():
        logger.info("%s has no rows for %s", name, count_of(count, "crop"))
    return preflight


def describe_folders(found: Preflight) -> str:
    """How many crops are trained on from which folder."""
    return ", ".join(f"{count_of(count, 'crop')} from {folder}" for folder, count in found.by_folder.items())


def _find_problems(found: Preflight, config: TrainingConfig) -> list[str]:
    problems = []
    if config.objectives.needs_identities and found.classes < 2:
        problems.append(
            f"{count_of(found.classes, 'person has', 'people have')} "
            f"{count_of(config.data.min_crops, 'crop')} or more, and two are needed to tell apart; "
            f"{count_of(found.validation_people, 'more is', 'more are')} kept for validation"
        )
    if found.crops < 2:
        problems.append(f"{count_of(found.crops, 'crop is', 'crops are')} no batch (add photographs)")
    if not (found.genuine_pairs and found.impostor_pairs):
        problems.append(
            f"validation needs two people, one of them with two crops, who are not trained on, and has "
            f"{found.validation_people} with {count_of(found.validation_crops, 'crop')} "
            "(add people, or raise validation_share)"
        )
    if problems and found.unreadable:
        some = ", ".join(found.unreadable[:_NAMED])
        problems.append(f"{count_of(len(found.unreadable), 'picture was', 'pictures were')} left out, such as: {some}")
    return problems


def _count_gaps(crops: CropSet, rows: IntArray) -> dict[str, int]:
    if crops.teacher is None:
        return {}
    counts = (~crops.teacher.known[rows]).sum(axis=0).tolist()
    return {name: count for name, count in zip(crops.teacher.names, counts, strict=True) if count}


def _count_conflicts(crops: CropSet, rows: IntArray) -> int:
    """Pictures that are there under several names."""
    names: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        if crops.entries[row].identity:
            names[int(crops.decoded.digests[row])].add(crops.entries[row].person)
    return sum(len(people) > 1 for people in names.values())


def _pairs(n: int) -> int:
    return n * (n - 1) // 2
