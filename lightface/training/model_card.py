"""The model card of finished weights, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from lightface import __version__
from lightface.metrics import MIN_PEOPLE, Interval
from lightface.models.registry import WeightsRecord
from lightface.training.config import FilesOfFolders, TrainingConfig, dump_config
from lightface.training.preflight import Preflight, describe_folders
from lightface.words import count_of


@dataclass(frozen=True, slots=True)
class Measured:
    """What the card reports."""

    pairs: int  # that the figures are of
    figures: Mapping[str, Interval]
    teacher: Mapping[str, Interval] | None  # the same of the teacher
    thresholds: Mapping[str, Interval]  # by FAR
    impostors: int  # pairs that the thresholds are of
    data: Preflight
    at: Mapping[str, Any]  # the fields of a `RunPosition`
    max_minutes: float | None
    device: str


def write_card(record: WeightsRecord, config: TrainingConfig, measured: Measured) -> str:
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


def _percent(figure: Interval) -> str:
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
