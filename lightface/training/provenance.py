"""Whose photographs weights were made of, and under which licence that puts them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lightface.errors import WeightsError
from lightface.models.checkpoints import read_checkpoint
from lightface.models.registry import find_weights
from lightface.training.config import WEIGHTS_FILES, DataSettings
from lightface.training.preflight import Preflight


class Origin(NamedTuple):
    """The weights that a run began from."""

    name: str
    licence: str
    training_data: str


def find_origin(start_from: str | None) -> Origin | None:
    """Of `start_from` of a recipe; None for a run from nothing."""
    if start_from is None:
        return None
    path = Path(start_from)
    try:
        is_file = path.suffix in WEIGHTS_FILES
        record = read_checkpoint(path, name=path.stem)[0] if is_file else find_weights(start_from)
    except WeightsError:  # a run's own state, or a file that is gone by now, says nothing of either
        return Origin(path.name, "see there", "see there")
    licence = record.licence.replace("in this folder", f"beside {record.name}")
    return Origin(record.name, licence, record.training_data)


def derive_licence(origin: Origin | None) -> str:
    """What is certain without being told."""
    own = "as the photographs that it was trained on permit"
    if origin is None:
        return own
    return f"{own}, and that of {origin.name}, which training began from: {origin.licence}"


def describe_data(settings: DataSettings, found: Preflight, origin: Origin | None) -> str:
    """How many crops of how many people, and from where."""
    where = settings.folder.name if settings.folder is not None else "a folder"
    people = f" of {found.classes:,} people" if found.classes else ""
    crops = f"{found.crops:,} crops{people} from {where}"
    return crops if origin is None else f"{crops}; before them, those of {origin.name}: {origin.training_data}"
