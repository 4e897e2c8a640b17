"""The whole recipe of a training run, as one frozen record read from TOML.

The defaults of network, augmentation, optimiser and schedule are those of LightCNN's authors.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from lightface.errors import ConfigError
from lightface.files import read_regular
from lightface.frame import FRAME_PX
from lightface.models.layers import Padding, Pooling
from lightface.models.lightcnn import ARCHITECTURES
from lightface.training.augmentation import Augmentation
from lightface.training.objectives.combination import CLASSIFYING, ObjectiveSettings
from lightface.words import count_of

_MIN_VALID_PX = 64  # below it nothing of an image would be left
WEIGHTS_FILES = (".pt", ".safetensors")  # to start from
_SIZE_STEP_PX = 16  # the network halves its maps four times, and crops of 144 px divide evenly


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What is trained."""

    architecture: str = "lightcnn9"
    pooling: Pooling | None = None  # None: the architecture's own
    padding: Padding = "same"
    dropout: float = 0.5  # of the embedding, before the layers that the objectives put on it
    inner_dropout: float = 0.0  # of whole channels, after each pooling
    norm: bool = False  # batch normalisation before every maximum; export folds it into the filters
    start_from: str | None = None  # registered weights, or a .pt or .safetensors of this structure; None: fresh weights

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(f"architecture is {self.architecture!r}; choose from {', '.join(ARCHITECTURES)}")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "lie in 0..1, without 1")
        _require(0 <= self.inner_dropout < 1, "inner_dropout", self.inner_dropout, "lie in 0..1, without 1")


FilesOfFolders = Path | tuple[Path, ...]  # one for each data folder, "" where there is none; one alone: the first's


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """A column of the table of groups."""

    name: str
    bounds: tuple[float, ...] = ()  # numbers from one bound to the next are alike; none: each text is itself

    def __post_init__(self) -> None:
        rises = all(map(math.isfinite, self.bounds)) and all(low < high for low, high in pairwise(self.bounds))
        _require(rises, f"bounds of {self.name!r}", list(self.bounds), "be numbers that rise")


@dataclass(frozen=True, slots=True)
class CellShare:
    """How often a cell is seen, beside the others."""

    labels: tuple[str, ...]  # in the order of the columns, a number as "from 30"
    share: float  # times as often as a cell that is not named

    def __post_init__(self) -> None:
        named = f"share of {', '.join(self.labels)!r}"
        _require(0 < self.share < math.inf, named, self.share, "be above 0")


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Which groups of people are seen how often. A cell is a combination of labels, and all are seen alike."""

    table: FilesOfFolders  # CSV with `row` of the index, or `shard` and `name`, and the columns
    columns: tuple[GroupColumn, ...]
    labelled_share: float | None = None  # of all crops seen, those with labels; None: as many as there are
    cells: tuple[CellShare, ...] = ()  # that are not seen as often as the others
    most_repeats: float = 4.0  # a crop is seen at most so often for once without groups
    grouped_batches: float = 0.0  # share of the batches that are of one cell, as far as it goes

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"the columns of groups are {names}; name one or more, each once")
        wrong = next((cell for cell in self.cells if len(cell.labels) != len(names)), None)
        if wrong is not None:
            raise ConfigError(f"the cell {list(wrong.labels)} of groups needs a label for each of {', '.join(names)}")
        share = self.labelled_share
        _require(share is None or 0 < share <= 1, "labelled_share", share, "be above 0, and 1 at most")
        _require(self.most_repeats >= 1, "most_repeats", self.most_repeats, "be 1 or more")
        _require(0 <= self.grouped_batches <= 1, "grouped_batches", self.grouped_batches, "lie in 0..1")


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Where the crops are. Relative paths are relative to the configuration file, those of the others to their folder.

    A crop's row and a person's name count within their own folder.
    """

    folder: FilesOfFolders | None = None  # with index.csv or index.parquet: crops in shards; else a folder a person
    teachers: tuple[FilesOfFolders, ...] = ()  # .npy, a row for each row of the index; several are taken side by side
    teacher_weights: tuple[float, ...] = ()  # of each teacher's cosine in their mean; none: all alike
    centre_teachers: tuple[bool, ...] = ()  # whether a teacher's mean over the training crops is taken off; none: yes
    person_share: float = 0.0  # of a person's mean in the teacher's embedding of a crop, where the person is known
    pairs: Path | None = None  # CSV row_a, row_b, same, in the first folder; None: all pairs of validation crops
    groups: GroupSettings | None = None  # None: every crop once an epoch
    leave_out: tuple[str, ...] = ()  # sources of the index that are not trained on
    min_crops: int = 2  # a person with fewer is no class
    validation_share: float = 0.1  # of the people, where the index has no split
    cache: Path | None = None  # for decoded crops; None: the user's cache folder

    def __post_init__(self) -> None:
        if self.folder is not None:
            self._check_folders()
        if self.centre_teachers and len(self.centre_teachers) != len(self.teachers):
            raise ConfigError(
                f"there are {count_of(len(self.teachers), 'teacher')} and "
                f"{count_of(len(self.centre_teachers), 'value')} in centre_teachers; give one for each"
            )
        _require(0 <= self.person_share <= 1, "person_share", self.person_share, "lie in 0..1")
        _require(all(w > 0 for w in self.teacher_weights), "teacher_weights", list(self.teacher_weights), "be above 0")
        if self.teacher_weights and len(self.teacher_weights) != len(self.teachers):
            raise ConfigError(
                f"there are {count_of(len(self.teachers), 'teacher')} and "
                f"{count_of(len(self.teacher_weights), 'weight')} in teacher_weights; give one for each"
            )
        _require(self.min_crops >= 1, "min_crops", self.min_crops, "be 1 or more")
        _require(0 < self.validation_share < 1, "validation_share", self.validation_share, "lie between 0 and 1")

    @property
    def folders(self) -> tuple[Path, ...]:
        """The data folders, in their order."""
        if self.folder is None:
            return ()
        return (self.folder,) if isinstance(self.folder, Path) else self.folder

    def find_files(self, files: FilesOfFolders) -> tuple[Path | None, ...]:
        """One path for each data folder, None where it has no such file."""
        each = (files, *[Path()] * (len(self.folders) - 1)) if isinstance(files, Path) else files
        return tuple(None if file == Path() else folder / file for folder, file in zip(self.folders, each, strict=True))

    def _check_folders(self) -> None:
        folders = self.folders
        if not folders or len(set(folders)) < len(folders):
            raise ConfigError(f"folder is {list(map(str, folders))}; name one or more data folders, each once")
        tables = () if self.groups is None else (self.groups.table,)
        for name, files in (*(("teachers", teacher) for teacher in self.teachers), *(("table", it) for it in tables)):
            if isinstance(files, tuple) and len(files) != len(folders):
                raise ConfigError(
                    f"{name} has a list of {count_of(len(files), 'file')} for "
                    f'{count_of(len(folders), "data folder")}; give one for each, "" where there is none'
                )
            if files == Path() or (isinstance(files, tuple) and set(files) == {Path()}):
                raise ConfigError(f"{name} names no file; name one, or leave it out")


@dataclass(frozen=True, slots=True)
class OptimiserSettings:
    """How weights follow gradients. Biases and normalisation are never decayed."""

    kind: Literal["sgd", "adamw", "muon"] = "sgd"  # muon: for convolution filters, with adamw for the rest
    learning_rate: float = 0.01
    momentum: float = 0.9  # sgd
    betas: tuple[float, float] = (0.9, 0.999)  # adamw
    filter_step: float = 0.01  # muon: a step at the full learning rate, as a share of a filter's own length
    weight_decay: float = 1e-4
    bias_rate: float = 2.0  # times the learning rate, for biases
    classifier_rate: float = 10.0  # times the learning rate, for classifiers; their biases take both
    clip_norm: float | None = None  # longest gradient of the network and its heads together

    def __post_init__(self) -> None:
        for name in ("learning_rate", "bias_rate", "classifier_rate", "filter_step"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "be above 0")
        for name, decays in (("momentum", (self.momentum,)), ("betas", self.betas)):
            _require(all(0 <= decay < 1 for decay in decays), name, getattr(self, name), "lie in 0..1, without 1")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "be 0 or more")
        _require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "be above 0")


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How long, and how the learning rate falls."""

    epochs: float = 80.0  # samples seen, in training sets
    kind: Literal["step", "cosine"] = "step"
    warmup_steps: int = 0  # from nothing to the full rate, linearly
    step_epochs: float = 10.0  # step: so often the rate is multiplied ...
    step_factor: float = 0.457305051927326  # ... by this
    final_rate: float = 0.0  # cosine: the last share of the rate

    def __post_init__(self) -> None:
        _require(self.epochs > 0, "epochs", self.epochs, "be above 0")
        _require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "be 0 or more")
        _require(self.step_epochs > 0, "step_epochs", self.step_epochs, "be above 0")
        _require(0 <= self.final_rate <= 1, "final_rate", self.final_rate, "lie in 0..1")


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the run at one resolution."""

    share: float = 1.0  # of the run; those of all stages add to 1
    size_px: int = FRAME_PX
    batch_size: int = 128  # of a step, over all processes
    windows_px: tuple[tuple[int, int], ...] = ()  # height, width of the part of the frame seen, step by step in turn

    def __post_init__(self) -> None:
        _require(self.share > 0, "share", self.share, "be above 0")
        fits = 0 < self.size_px <= FRAME_PX and self.size_px % _SIZE_STEP_PX == 0
        _require(fits, "size_px", self.size_px, f"be a multiple of {_SIZE_STEP_PX} up to {FRAME_PX}")
        for side_px in (side for window in self.windows_px for side in window):
            fits = 0 < side_px <= FRAME_PX and side_px % _SIZE_STEP_PX == 0 and self.size_px == FRAME_PX
            _require(fits, "windows_px", side_px, f"be a multiple of {_SIZE_STEP_PX} up to a size_px of {FRAME_PX}")
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "be 2 or more")


@dataclass(frozen=True, slots=True)
class CardSettings:
    """What the model card says and no program can know."""

    training_data: str = ""  # whose photographs; "": the number of crops and the folder's name
    licence: str = ""  # "": what follows from the photographs, and from the weights that training began with
    # Known weak groups. Nothing that an evaluation of finished weights, which writes into the card, would make wrong.
    limits: str = "How errors differ by age, sex and skin colour is found by `lightface evaluate --groups`."


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A training run."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    data: DataSettings = field(default_factory=DataSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    objectives: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    stages: tuple[Stage, ...] = field(default_factory=lambda: (Stage(),))
    card: CardSettings = field(default_factory=CardSettings)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 or fp16 on cuda, fp32 elsewhere
    compile: bool = False  # CPU: layers of our own, which need g++; GPU: torch.compile, which takes minutes
    accumulate: int = 1  # a step's batch goes through in so many parts
    ema_decay: float | None = None  # of the averaged weights that are validated and exported; None: no average
    validate_epochs: int = 1  # validation comes after so many epochs, and at the end
    log_steps: int = 20  # so often losses are read and looked at, which waits for the device
    save_minutes: float = 10.0  # between checkpoints; one is written after each epoch, too
    seed: int = 0

    def __post_init__(self) -> None:
        if not math.isclose(sum(stage.share for stage in self.stages), 1, abs_tol=1e-6):
            raise ConfigError(f"the shares of the {len(self.stages)} stages do not add to 1; change them")
        _require(self.accumulate >= 1, "accumulate", self.accumulate, "be 1 or more")
        if self.network.padding != "same" and any(stage.windows_px for stage in self.stages):
            raise ConfigError(f"windows_px needs padding same, not {self.network.padding}; leave one of them out")
        if self.network.padding == "valid":  # whose maps shrink with each filter
            small = next((stage.size_px for stage in self.stages if stage.size_px < _MIN_VALID_PX), None)
            _require(small is None, "size_px", small, f"be {_MIN_VALID_PX} or more with padding valid")
        decay = self.ema_decay
        _require(decay is None or 0 < decay < 1, "ema_decay", decay, "lie between 0 and 1")
        _require(self.validate_epochs >= 1, "validate_epochs", self.validate_epochs, "be 1 or more")
        _require(self.log_steps >= 1, "log_steps", self.log_steps, "be 1 or more")
        _require(self.seed >= 0, "seed", self.seed, "be 0 or more")


def load_config(path: Path, *, folder: Path | None = None, cache: Path | None = None) -> TrainingConfig:
    """Read a recipe; `folder` and `cache` replace those of its data. ConfigError names what is wrong.

    The paths of the result are absolute.
    """
    config = read_config(path, TrainingConfig)
    data = replace(
        config.data,
        folder=_all_below(path.parent, config.data.folder) if folder is None else Path(os.path.realpath(folder)),
        cache=_below(path.parent, config.data.cache) if cache is None else Path(os.path.realpath(cache)),
    )
    start = config.network.start_from
    if start is not None and start.endswith(WEIGHTS_FILES):
        config = replace(config, network=replace(config.network, start_from=str(_below(path.parent, Path(start)))))
    return replace(config, data=data)


def dump_config(config: TrainingConfig, *, with_card: bool = True) -> str:
    """The recipe as TOML, from which `load_config` reads an equal one; what it says for the card may be left out."""
    return dump_record(config, without=() if with_card else ("card",))


def replace_objective(config: TrainingConfig, name: str) -> TrainingConfig:
    """The recipe with one way of classifying people, softmax, cosface or arcface, in the place of the others.

    The settings of the recipe are kept where it has that objective. Distillation stays.
    """
    if name not in CLASSIFYING:
        raise ConfigError(f"objective is {name!r}; choose from {', '.join(CLASSIFYING)}")
    changes: dict[str, Any] = dict.fromkeys(CLASSIFYING)
    changes[name] = getattr(config.objectives, name) or CLASSIFYING[name]()
    return replace(config, objectives=replace(config.objectives, **changes))


def _all_below(base: Path, paths: FilesOfFolders | None) -> FilesOfFolders | None:
    if isinstance(paths, tuple):
        return tuple(_place(base, path) for path in paths)
    return _below(base, paths)


def _below(base: Path, path: Path | None) -> Path | None:
    return None if path is None else _place(base, path)


def _place(base: Path, path: Path) -> Path:
    return Path(os.path.realpath(base / os.path.expanduser(path)))


def _require(holds: bool, name: str, value: object, demand: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value}; it must {demand}")


# TOML tables -> nested frozen dataclasses, and back. Unknown keys and wrong types are refused.


Record = TypeVar("Record")


def read_config(path: Path, record_type: type[Record]) -> Record:
    """The record that a TOML file describes; what the file leaves out keeps its default.

    Raises ConfigError, naming the table and the key, for a file that cannot be read, an unknown key, a value of the
    wrong type and whatever the record itself refuses.
    """
    try:
        table = tomllib.loads(read_regular(path).decode())
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {str(path)!r}; check the path") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {str(path)!r}: {' '.join(str(error).split())}") from error
    return build_record(table, record_type, where=path.name)


def build_record(table: Mapping[str, Any], record_type: type[Record], *, where: str) -> Record:
    """The record of a parsed table; `where` begins the message of a ConfigError."""
    types_by_key = typing.get_type_hints(record_type)
    for key in table:
        if key not in types_by_key:
            close = difflib.get_close_matches(key, types_by_key, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(types_by_key)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    values = {key: _convert(value, types_by_key[key], f"{where}: {key}") for key, value in table.items()}
    try:
        return record_type(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except TypeError as error:  # a key without default is missing
        raise ConfigError(f"{where}: {error}") from error


def dump_record(record: Any, *, without: Collection[str] = ()) -> str:
    """The TOML text from which `read_config` makes an equal record, but for carriage returns in its texts.

    The keys `without` are left out.
    """
    table = {key: value for key, value in _to_table(record).items() if key not in without}
    return tomli_w.dumps(table, multiline_strings=True)


def _convert(value: Any, wanted: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):  # TOML has no null; beside one value there may be a list of such
        choices = [argument for argument in arguments if argument is not types.NoneType]
        lists = [choice for choice in choices if typing.get_origin(choice) is tuple]
        return _convert(value, lists[0] if lists and isinstance(value, list) else choices[0], where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {value!r}; choose from {', '.join(map(str, arguments))}")
        return value
    if origin is tuple and isinstance(value, list):
        return _convert_list(value, arguments, where)
    if is_dataclass(wanted) and isinstance(value, dict):
        return build_record(value, typing.cast(type[Any], wanted), where=where)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if wanted is float and type(value) is int:
        return float(value)
    if isinstance(wanted, type) and type(value) is wanted:
        return value
    raise ConfigError(f"{where} is {value!r}; expected {_describe(wanted)}")


def _convert_list(value: list[Any], wanted: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if wanted[-1] is Ellipsis:
        wanted = (wanted[0],) * len(value)
    if len(value) != len(wanted):
        raise ConfigError(f"{where} is {value!r}; expected {count_of(len(wanted), 'value')}")
    kinds = enumerate(zip(value, wanted, strict=True))
    return tuple(_convert(item, kind, f"{where}[{i}]") for i, (item, kind) in kinds)


def _describe(wanted: Any) -> str:
    if is_dataclass(wanted):
        return "a table"
    if typing.get_origin(wanted) is tuple:
        return "a list"
    return {float: "a number", int: "a whole number", str: "a text", bool: "true or false", Path: "a path"}[wanted]


def _to_table(value: Any) -> Any:
    if is_dataclass(value):
        items = {field.name: getattr(value, field.name) for field in fields(value)}
        return {key: _to_table(item) for key, item in items.items() if item is not None}
    if isinstance(value, tuple):
        return [_to_table(item) for item in value]
    return str(value) if isinstance(value, Path) else value
