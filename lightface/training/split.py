"""Who is trained on and who is kept for validation: never the same people."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightface.crops import CropEntry
from lightface.errors import TrainingError
from lightface.records import IntArray
from lightface.training.config import TrainingConfig
from lightface.training.data import CropSet
from lightface.training.objectives.objective import UNKNOWN
from lightface.words import count_of


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSplit:
    """Rows of a `CropSet`, and the numbers of the people on them."""

    rows: IntArray  # (T,) trained on
    labels: IntArray  # (T,) index into `classes`, UNKNOWN where the person is no class
    classes: tuple[str, ...]
    dev_rows: IntArray  # (V,) validated on
    dev_people: IntArray  # (V,) equal for the same person
    leaked: int  # training crops left out because a validation crop has the same pixels


def split_crops(crops: CropSet, config: TrainingConfig) -> TrainingSplit:
    """Follow the split of each folder's index, or draw people of it for validation where it has none.

    Unreadable crops are in neither part, sources that the recipe leaves out are not trained on, and crops of unknown
    people only when the recipe distils. TrainingError when a person would be in both parts.
    """
    entries = crops.entries
    readable = [row for row in range(len(entries)) if row not in crops.decoded.unreadable]
    in_dev = {row for folder in crops.list_folders() for row in _find_dev(folder, readable, entries, config)}
    left_out = set(config.data.leave_out)
    train = [row for row in readable if row not in in_dev and entries[row].source not in left_out]
    dev = sorted(row for row in in_dev if entries[row].identity)
    _refuse_overlap({entries[row].person for row in train}, {entries[row].person for row in dev})

    digests = crops.decoded.digests
    dev_digests = set(digests[dev].tolist())
    kept = [row for row in train if int(digests[row]) not in dev_digests]
    labels, classes = _number_classes([entries[row].person for row in kept], config)
    trained = labels != UNKNOWN
    if config.objectives.needs_teacher:
        trained |= True if crops.teacher is None else crops.teacher.known[kept].any(axis=1)
    _, dev_people = np.unique([entries[row].person for row in dev], return_inverse=True)
    return TrainingSplit(
        rows=np.array(kept, np.int64)[trained],
        labels=labels[trained],
        classes=classes,
        dev_rows=np.array(dev, np.int64),
        dev_people=dev_people.astype(np.int64),
        leaked=len(train) - len(kept),
    )


def _find_dev(folder: str, readable: list[int], entries: Sequence[CropEntry], config: TrainingConfig) -> list[int]:
    """The rows of one folder that are validated on."""
    rows = [row for row in readable if entries[row].folder == folder]
    if any(entry.split for entry in entries if entry.folder == folder):
        return [row for row in rows if entries[row].split == "dev"]
    chosen = _draw_people(Counter(entries[row].identity for row in rows), config)
    return [row for row in rows if entries[row].identity in chosen]


def _draw_people(crops_of_person: Counter[str], config: TrainingConfig) -> set[str]:
    """At least two, of those with two crops or more.

    The order they are drawn in follows from each name and the seed alone: when people are added and the run's weights
    are trained on, those of validation stay among the first, and nearly all of them in validation.
    """
    eligible = [person for person, count in crops_of_person.items() if person and count >= 2]
    count = max(2, round(len(eligible) * config.data.validation_share))
    return set(sorted(eligible, key=lambda person: _draw(person, config.seed))[:count])


def _draw(person: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {person}".encode(errors="surrogateescape")).digest()


def _number_classes(identities: list[str], config: TrainingConfig) -> tuple[IntArray, tuple[str, ...]]:
    if not config.objectives.needs_identities:
        return np.full(len(identities), UNKNOWN, np.int64), ()
    counts = Counter(identity for identity in identities if identity)
    classes = tuple(sorted(person for person, count in counts.items() if count >= config.data.min_crops))
    numbers = {person: number for number, person in enumerate(classes)}
    return np.array([numbers.get(identity, UNKNOWN) for identity in identities], np.int64), classes


def _refuse_overlap(train: set[str], dev: set[str]) -> None:
    shared = sorted((train & dev) - {""})
    if shared:
        raise TrainingError(
            f"{count_of(len(shared), 'person is', 'people are')} both in the training and the validation split, "
            f"such as {shared[0]!r}; what is measured on them would mean nothing"
        )
