"""TOML tables -> nested frozen dataclasses, and back. Unknown keys and wrong types are refused."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from lightface.errors import ConfigError
from lightface.files import read_regular
from lightface.words import count_of

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
