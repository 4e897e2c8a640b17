"""The model card of finished weights: their figures, whose photographs they were made of, and their licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, overload

from lightface import __version__
from lightface.errors import ConfigError, WeightsError
from lightface.measurement.intervals import Figure
from lightface.measurement.metrics import MIN_PEOPLE
from lightface.models.registry import WeightsRecord, find_weights
from lightface.models.weights import read_checkpoint
from lightface.training.config import DataSettings, FilesOfFolders, TrainingConfig, dump_config, load_config
from lightface.training.preparation import Preflight, describe_folders
from lightface.training.run_folder import CONFIG
from lightface.words import count_of


@dataclass(frozen=True, slots=True)
class Measured:
    """What the card reports."""

    pairs: int  # that the figures are of
    figures: Mapping[str, Figure]
    teacher: Mapping[str, Figure] | None  # the same of the teacher
    thresholds: Mapping[str, Figure]  # by FAR
    impostors: int  # pairs that the thresholds are of
    data: Preflight
    at: Mapping[str, Any]  # the fields of a `RunPosition`
    max_minutes: float | None
    device: str


def describe_run(record: WeightsRecord, config: TrainingConfig, measured: Measured) -> str:
    """The card's text. It names no path of the machine that trained.

    What the recipe says for the card stands in its sections alone, which later evaluations may change.
    """
    contract, data = record.contract, measured.data
    hours = measured.at["elapsed_s"] / 3600
    recipe = _without_places(config)
    start = recipe.network.start_from
    minutes = "" if measured.max_minutes is None else f" --max-minutes {measured.max_minutes:g}"
    people = f" {data.classes:,} people are classes." if data.classes else ""
    return f"""# {record.name}

{record.architecture}, {record.pooling} pooling, {record.padding} padding; 256-d embedding, fp16.
Input: {contract.channels}x{contract.frame.size_px}x{contract.frame.size_px} {contract.order} / 255, eyes level on row \
{contract.frame.eye_row_px:g}, mouth on row {contract.frame.mouth_row_px:g}.

## Data

{record.training_data}

{data.crops:,} crops were trained on, {data.unlabelled:,} of them without a class.{people}\
{_origins_text(data)} Validation: \
{count_of(data.validation_crops, "crop")} of {count_of(data.validation_people, "person")} who were \
not trained on.

**Licence:** {record.licence}

## Measured

{_measured_text(measured)}

## Limits

{config.card.limits}

{_recognisability_text(record)}

## Recipe

{measured.at["samples"]:,} crops seen in {measured.at["step"]:,} steps, {hours:.1f} hours on {measured.device}\
{"" if start is None else f", on from {start}"}:
`lightface train --config recipe.toml{minutes}` with this as recipe.toml, by lightface {__version__}.

```toml
{dump_config(recipe, with_card=False).rstrip()}
```
"""


def _origins_text(data: Preflight) -> str:
    """Which folders the crops are from, where there are several, and which teachers do not know them all."""
    folders = f" They are {describe_folders(data)}." if len(data.by_folder) > 1 else ""
    gaps = "".join(f" {name} has no rows for {count:,} of them." for name, count in data.gaps.items())
    return folders + gaps


def _recognisability_text(record: WeightsRecord) -> str:
    if record.recognisability is None:
        return "Which faces are too poor to tell is not known of these weights: such faces may match one another."
    return "Faces that are too poor to tell are known by their embedding, and refused."


def _measured_text(measured: Measured) -> str:
    if not measured.figures:
        people = count_of(measured.data.validation_people, "validation person is", "validation people are")
        return f"Nothing: {people} too few for a figure or a threshold, which take {MIN_PEOPLE} or more."
    return f"""On {measured.pairs:,} pairs of the validation people (fp32, flip averaging; 95 % intervals by bootstrap \
over people):

| figure | these weights |{" teacher |" if measured.teacher else ""}
|---|---|{"---|" if measured.teacher else ""}
{_figure_rows(measured)}

Thresholds, from {_impostors_text(measured)} of the validation crops. A FAR that fewer than ten
false accepts would stand behind is left out.

| FAR | cosine |
|---|---|
{_threshold_rows(measured)}"""


def _impostors_text(measured: Measured) -> str:
    used, there = measured.impostors, measured.data.impostor_pairs
    return f"all {used:,} impostor pairs" if used == there else f"{used:,} of the {there:,} impostor pairs, at random,"


def _figure_rows(measured: Measured) -> str:
    lines = []
    for name, figure in measured.figures.items():
        teacher = f" {_percent(measured.teacher[name])} |" if measured.teacher else ""
        lines.append(f"| {name} | {_percent(figure)} |{teacher}")
    return "\n".join(lines)


def _threshold_rows(measured: Measured) -> str:
    return "\n".join(
        f"| {far} | {threshold.estimate:.3f} ({threshold.low:.3f} to {threshold.high:.3f}) |"
        for far, threshold in measured.thresholds.items()
    )


def _percent(figure: Figure) -> str:
    return f"{100 * figure.estimate:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _without_places(config: TrainingConfig) -> TrainingConfig:
    """The recipe with names of files and folders for their paths."""
    data, start = config.data, config.network.start_from
    groups = data.groups
    named = replace(
        data,
        folder=_name_all(data.folder),
        teachers=tuple(_name_all(files) for files in data.teachers),
        pairs=_name_of(data.pairs),
        groups=None if groups is None else replace(groups, table=_name_all(groups.table)),
        cache=None,
    )
    return replace(
        config, data=named, network=replace(config.network, start_from=None if start is None else Path(start).name)
    )


@overload
def _name_all(paths: FilesOfFolders) -> FilesOfFolders: ...
@overload
def _name_all(paths: None) -> None: ...
def _name_all(paths: FilesOfFolders | None) -> FilesOfFolders | None:
    return tuple(Path(path.name) for path in paths) if isinstance(paths, tuple) else _name_of(paths)


def _name_of(path: Path | None) -> Path | None:
    return None if path is None else Path(path.name)


# Whose photographs weights were made of, and under which licence that puts them.


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
