"""What a user can set once for all commands, and where it is set.

An option wins over an environment variable, a variable over the configuration file, the file over the default. All
three are derived from the fields of `Settings`: `min_face_size` is `--min-face-size`, `LIGHTFACE_MIN_FACE_SIZE` and
`min-face-size = 40` in the file. The file is TOML: `config.toml` in the user's configuration folder, or the one that
`LIGHTFACE_CONFIG` names.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from lightface.errors import ConfigError
from lightface.files import read_regular
from lightface.folders import config_folder

_PREFIX = "LIGHTFACE_"
CONFIG_VARIABLE = "LIGHTFACE_CONFIG"
_TURNS = ("auto", "off")
PASSPHRASE_VARIABLE = "LIGHTFACE_PASSPHRASE"  # no setting: a secret has no place in options and files
NEW_PASSPHRASE_VARIABLE = "LIGHTFACE_NEW_PASSPHRASE"


def _about(
    help: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    is_place: bool = False,
    is_size: bool = False,  # a text that may be given as a number in the file
) -> dict[str, Any]:
    return {"help": help, "low": low, "high": high, "is_place": is_place, "is_size": is_size}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one command. None: not set, which leaves the choice to the library.

    Raises ConfigError for a number out of its range.
    """

    gallery: str | None = field(
        default=None,
        metadata=_about(
            "The gallery: a file, or postgresql://USER@HOST/DATABASE (default: gallery.sqlite in your data folder).",
            is_place=True,
        ),
    )
    key_file: str | None = field(default=None, metadata=_about("The key file of an encrypted gallery.", is_place=True))
    model: str | None = field(default=None, metadata=_about("Weights by name, see 'lightface models list'."))
    device: str | None = field(
        default=None, metadata=_about("auto, cpu, cuda, cuda:1 or mps (default: auto, the fastest there is).")
    )
    precision: str | None = field(
        default=None,
        metadata=_about(
            "auto, fp32, bf16 or fp16 (default: auto, bf16 where the CPU has it, fp16 on cuda, else fp32)."
        ),
    )
    flip: bool | None = field(
        default=None,
        metadata=_about("Average embeddings with those of the mirror image (default: as the weights were measured)."),
    )
    threshold: float | None = field(
        default=None,
        metadata=_about(
            "Cosine from which two faces are one person (default: the gallery's, else that of the weights; verify asks "
            "only a gallery that is named).",
            low=-1,
            high=1,
        ),
    )
    review_threshold: float | None = field(
        default=None,
        metadata=_about("Cosine from which a match below the threshold is shown for review.", low=-1, high=1),
    )
    det_threshold: float | None = field(
        default=None, metadata=_about("Detection score that a face must exceed.", low=0, high=1)
    )
    min_face_size: str | None = field(
        default=None,
        metadata=_about(
            "Width below which faces are passed over: pixels, or a share of the photograph's shorter side such as 5% "
            "(default: 30, which is the least that a share stands for).",
            is_size=True,
        ),
    )
    max_side: int | None = field(
        default=None, metadata=_about("Long side in pixels at which larger photographs are searched for faces.", low=12)
    )
    turns: str | None = field(
        default=None,
        metadata=_about(
            "auto or off: whether photographs on their side or head are searched in other turns (default: auto, which "
            "takes time only where no upright face is sure)."
        ),
    )
    min_quality: float | None = field(
        default=None, metadata=_about("Quality, 0 to 1, below which a face is refused (default: 0.1).", low=0, high=1)
    )
    max_pixels: int | None = field(
        default=None, metadata=_about("Pixels above which a picture is refused before it is decoded.", low=1)
    )
    allow_truncated: bool | None = field(
        default=None, metadata=_about("Read a JPEG of which a part is missing; that part is grey (default: refuse it).")
    )
    batch_size: int | None = field(default=None, metadata=_about("Photographs that go through together.", low=1))
    workers: int | None = field(
        default=None, metadata=_about("Processes that share the work (on a GPU: threads that decode).", low=1)
    )

    def __post_init__(self) -> None:
        for known in fields(self):
            value, low, high = getattr(self, known.name), known.metadata["low"], known.metadata["high"]
            if isinstance(value, int | float) and not low <= value <= high:
                bounds = f"{low:g} or more" if high == math.inf else f"between {low:g} and {high:g}"
                raise ConfigError(f"{option_name(known.name)} is {value:g}; it must be {bounds}")
        self.smallest_face()  # which refuses what it cannot read
        if self.turns not in (None, *_TURNS):
            raise ConfigError(f"--turns is {self.turns!r}; it must be {' or '.join(_TURNS)}")

    def smallest_face(self) -> dict[str, float]:
        """`min_face_size` under the names of `FaceGates` and `MtcnnSettings`; nothing where it is not set."""
        if self.min_face_size is None:
            return {}
        number, percent, rest = self.min_face_size.partition("%")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if rest.strip() or not (0 < value <= 100 if percent else 1 <= value < math.inf):
            raise ConfigError(
                f"--min-face-size is {self.min_face_size!r}; it must be 1 pixel or more, or a share of the "
                "photograph's shorter side up to 100%, such as 5%"
            )
        return {"min_face_share": value / 100} if percent else {"min_face_size_px": value}

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the named settings that are set, as keyword arguments."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def load_settings(options: Mapping[str, object], environment: Mapping[str, str] = os.environ) -> Settings:
    """Lay `options` (None: not given; the environment's values are among them) over the configuration file.

    ConfigError for a file that cannot be read, and for a key or variable that means nothing.
    """
    _check_variables(environment)
    given = {name: value for name, value in options.items() if value is not None}
    in_file = _read_file(environment)
    try:
        Settings(**in_file)
    except ConfigError as error:
        raise ConfigError(f"{config_path(environment)}: {str(error).removeprefix('--')}") from error
    return Settings(**{**in_file, **given})


def option_name(setting: str) -> str:
    """`min_face_size` -> `--min-face-size`."""
    return f"--{setting.replace('_', '-')}"


def variable_name(setting: str) -> str:
    """`min_face_size` -> `LIGHTFACE_MIN_FACE_SIZE`."""
    return f"{_PREFIX}{setting.upper()}"


def setting_types() -> dict[str, type]:
    """The type of each setting, without its None."""
    hints = get_type_hints(Settings)
    return {known.name: _without_none(hints[known.name]) for known in fields(Settings)}


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the configuration file is looked for."""
    named = environment.get(CONFIG_VARIABLE)
    if named is not None:
        return Path(named)
    return config_folder() / "config.toml"


def _check_variables(environment: Mapping[str, str]) -> None:
    others = (CONFIG_VARIABLE, PASSPHRASE_VARIABLE, NEW_PASSPHRASE_VARIABLE)
    known = {*others, *(variable_name(setting.name) for setting in fields(Settings))}
    for variable in environment:
        if variable.startswith(_PREFIX) and variable not in known:
            raise ConfigError(f"unknown environment variable {variable}; {_suggest(variable, known)}")
        if variable in known and environment[variable] == "":
            raise ConfigError(f"the environment variable {variable} is empty; give it a value, or unset it")


def _read_file(environment: Mapping[str, str]) -> dict[str, Any]:
    path = config_path(environment)
    try:
        table = tomllib.loads(read_regular(path).decode())
    except FileNotFoundError as error:
        if CONFIG_VARIABLE in environment:
            raise ConfigError(f"there is no {path}, which {CONFIG_VARIABLE} names; make it or unset that") from error
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    types = setting_types()
    known = {name.replace("_", "-"): name for name in types}
    unknown = table.keys() - known.keys()
    if unknown:
        key = min(unknown)
        raise ConfigError(f"{path}: unknown key {key!r}; {_suggest(key, known)}")
    places, sizes = (
        {known.name for known in fields(Settings) if known.metadata[kind]} for kind in ("is_place", "is_size")
    )
    values = {
        known[key]: f"{value:g}"
        if known[key] in sizes and type(value) in (int, float)
        else _convert(value, types[known[key]], key=key, path=path)
        for key, value in table.items()
    }
    return {name: _resolve(str(value), path) if name in places else value for name, value in values.items()}


def _resolve(place: str, path: Path) -> str:
    """A path in the configuration file at `path`, which counts from there; a URL stays what it is."""
    return place if "://" in place else str(path.parent / os.path.expanduser(place))


def _convert(value: object, kind: type, *, key: str, path: Path) -> object:
    if kind is float and type(value) is int:  # not a bool, which is an int to Python
        return float(value)
    if value == "":
        raise ConfigError(f"{path}: {key} is empty; give it a value, or leave it out")
    if type(value) is not kind:
        wanted = {str: "a text", float: "a number", int: "a whole number", bool: "true or false"}[kind]
        raise ConfigError(f"{path}: {key} is {value!r}; it must be {wanted}")
    return value


def _without_none(hint: Any) -> type:
    (kind,) = [part for part in get_args(hint) if part is not NoneType]
    assert isinstance(kind, type)
    return kind


def _suggest(word: str, known: Iterable[str]) -> str:
    closest = difflib.get_close_matches(word, known := sorted(known), 1)
    return f"did you mean {closest[0]!r}?" if closest else f"known are: {', '.join(known)}"
