from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from lightface.errors import ConfigError
from lightface.training.config_file import build_record, dump_record, read_config


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    pair: tuple[int, int] = (1, 2)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ConfigError(f"rate is {self.rate}; it must be 0 or more")


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    kind: Literal["x", "y"] = "x"
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    items: tuple[Inner, ...] = ()
    folder: Path | None = None
    on: bool = False


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, ""), Outer) == Outer()


def test_every_kind_of_value(tmp_path: Path) -> None:
    text = """
        name = "b"
        kind = "y"
        folder = "some/where"
        on = true
        items = [{ rate = 1 }, { pair = [3, 4] }]
        [inner]
        rate = 2
        [maybe]
    """
    expected = Outer(
        "b", "y", Inner(rate=2.0), Inner(), (Inner(rate=1.0), Inner(pair=(3, 4))), Path("some/where"), on=True
    )
    read = read_config(write(tmp_path, text), Outer)
    assert read == expected
    assert isinstance(read.inner.rate, float)


def test_a_dumped_record_reads_back(tmp_path: Path) -> None:
    record = Outer(items=(Inner(0.25),), maybe=Inner(), folder=Path("a b"))
    assert read_config(write(tmp_path, dump_record(record)), Outer) == record


def test_a_text_of_several_lines_is_written_as_such(tmp_path: Path) -> None:
    record = Outer(name='\nOne "quoted" line,\n\tanother \\ with """ and a last one.\n')
    dumped = dump_record(record)
    assert " line,\n" in dumped
    assert read_config(write(tmp_path, dumped), Outer) == record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'b'", "recipe.toml: unknown key 'nmae'; did you mean 'name'?"),
        ("[inner]\nzzz = 1", "recipe.toml: inner: unknown key 'zzz'; known are: rate, pair"),
        ("[maybe]\nrate = -1", "recipe.toml: maybe: rate is -1.0; it must be 0 or more"),
        ("kind = 'z'", "recipe.toml: kind is 'z'; choose from x, y"),
        ("name = 3", "recipe.toml: name is 3; expected a text"),
        ("on = 1", "recipe.toml: on is 1; expected true or false"),
        ("[inner]\nrate = true", "recipe.toml: inner: rate is True; expected a number"),
        ("inner = 3", "recipe.toml: inner is 3; expected a table"),
        ("items = 3", "recipe.toml: items is 3; expected a list"),
        ("items = [{}, 4]", "recipe.toml: items[1] is 4; expected a table"),
        ("[inner]\npair = [1]", "recipe.toml: inner: pair is [1]; expected 2 values"),
        ("[inner", "cannot read the configuration"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text), Outer)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        read_config(tmp_path / "nowhere.toml", Outer)


def test_a_key_without_default_must_be_there() -> None:
    @dataclass(frozen=True)
    class Needs:
        size: int

    with pytest.raises(ConfigError, match="size"):
        build_record({}, Needs, where="table")
