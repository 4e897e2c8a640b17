"""Whose photographs weights were made of, and under which licence that puts them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lightface.errors import ConfigError, WeightsError
from lightface.models.checkpoints import read_checkpoint
from lightface.models.registry import find_weights
from lightface.training.checkpoint import CONFIG
from lightface.training.config import DataSettings, load_config
from lightface.training.preflight import Preflight, describe_folders


class Origin(NamedTuple):
    """The weights that a run began from."""

    name: str
    licence: str
    training_data: str


def find_origin(start_from: str | None, *, later: frozenset[Path] = frozenset()) -> Origin | None:
    """Of `start_from` of a recipe; None for a run from nothing. `later`: the runs' states on the way here."""
    if start_from is None:
        return None
    path = Path(start_from)
    try:
        if path.suffix == ".pt":
            return _look_into_run(path, later | {path})
        is_file = path.suffix == ".safetensors"
        record = read_checkpoint(path, name=path.stem)[0] if is_file else find_weights(start_from)
    except (ConfigError, WeightsError):  # gone by now
        return Origin(path.name, "see there", "see there")
    return Origin(record.name, _say_where(record.licence, record.name), record.training_data)


def _look_into_run(state: Path, later: frozenset[Path]) -> Origin:
    """What the recipe beside a run's state says, and the weights that this run began from in turn."""
    config, name = load_config(state.parent / CONFIG), state.parent.name
    start_from = config.network.start_from
    if start_from is not None and Path(start_from) in later:  # a run folder that was used again
        start_from = None
    before = find_origin(start_from, later=later)
    licence = config.card.licence or derive_licence(before)
    training_data = config.card.training_data or _add_origin(f"crops from {_name_folder(config.data)}", before)
    return Origin(name, _say_where(licence, name), training_data)


def _say_where(licence: str, name: str) -> str:
    return licence.replace("in this folder", f"beside {name}")


def derive_licence(origin: Origin | None) -> str:
    """What is certain without being told."""
    own = "as the photographs that it was trained on permit"
    if origin is None:
        return own
    return f"{own}, and that of {origin.name}, which training began from: {origin.licence}"


def describe_data(settings: DataSettings, found: Preflight, origin: Origin | None) -> str:
    """How many crops of how many people, and from where."""
    people = f" of {found.classes:,} people" if found.classes else ""
    crops = f"{found.crops:,} crops{people} from {_name_folder(settings)}"
    return _add_origin(crops + _say_folders(found), origin)


def add_folders(training_data: str, found: Preflight) -> str:
    """What a recipe says of its photographs, with how many are from which folder where there are several."""
    return training_data.rstrip() + _say_folders(found)


def _say_folders(found: Preflight) -> str:
    return f" ({describe_folders(found)})" if len(found.by_folder) > 1 else ""


def _name_folder(settings: DataSettings) -> str:
    return " and ".join(folder.name for folder in settings.folders) or "a folder"


def _add_origin(crops: str, origin: Origin | None) -> str:
    return crops if origin is None else f"{crops}; before them, those of {origin.name}: {origin.training_data}"
