"""What `-` stands for: a list of paths on stdin, or one picture."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lightface.errors import ConfigError, FaceNotFoundError
from lightface.remote import RemotePath, to_path
from lightface.words import NO_PHOTOGRAPHS

if TYPE_CHECKING:
    from lightface.evaluation.lists import NamedPair

STANDARD_STREAM = Path("-")
_LOST_URL = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]", re.IGNORECASE)


def refuse_urls(arguments: Iterable[object]) -> None:
    """ConfigError for a URL where a command takes files of this machine; a Path has lost one of its slashes."""
    for argument in arguments:
        for path in argument if isinstance(argument, list) else [argument]:
            if isinstance(path, Path) and not isinstance(path, RemotePath) and _LOST_URL.match(str(path)):
                url = str(path).replace(":/", "://", 1)
                raise ConfigError(f"{url} is a URL, and here only files of this machine are taken; download it first")


def expand_stdin(paths: Sequence[Path], *, may_be_picture: bool = True) -> list[Path]:
    """Replace `-` by the paths on stdin, a line each, or separated by NUL as from `find -print0`; or by the photograph.

    Which of the two comes by stdin, its first bytes tell. ConfigError for a photograph where none may be.
    """
    if STANDARD_STREAM not in paths:
        return list(paths)
    from lightface.images import GivenPicture, is_picture

    data = sys.stdin.buffer.read()
    if is_picture(data):
        if not may_be_picture:
            raise ConfigError("a photograph came by stdin, and only a list of paths is taken there; save it to a file")
        listed: list[Path] = [GivenPicture(data, name="stdin", keep=True)]  # to be drawn, perhaps
    else:
        lines = [line.rstrip(b"\r") for line in data.split(b"\n") if line.strip()]
        names = data.split(b"\0") if b"\0" in data else lines
        listed = [to_path(os.fsdecode(name)) for name in names if name]
    position = paths.index(STANDARD_STREAM)
    expanded = [*paths[:position], *listed, *paths[position + 1 :]]
    if STANDARD_STREAM in expanded:
        raise ConfigError("stdin can be read only once; give - once")
    return expanded


def read_pairs(path: Path) -> list[NamedPair]:
    """The pairs of a CSV file, see `lists.read_named_pairs`; `-` is stdin, whose paths count from the current folder.

    EvaluationError for a file that cannot be read or a line without two paths, ConfigError where there are no pairs.
    """
    from lightface.evaluation.lists import read_list, read_named_pairs

    is_stdin = path == STANDARD_STREAM
    data = sys.stdin.buffer.read() if is_stdin else read_list(path)
    pairs = read_named_pairs(path, data, [Path()] if is_stdin else [path.parent, Path()], labelled=False)
    if not pairs:
        raise ConfigError(f"there are no pairs in {path}; write a line for each, as in a.jpg,b.jpg")
    return pairs


def find_photos_of(named: Sequence[Path], *, recursive: bool) -> list[Path]:
    """The photographs that were named, folders searched; FaceNotFoundError where there are none."""
    from lightface.sources import find_sources

    photos = find_sources(expand_stdin(named), recursive=recursive)
    if not photos:
        raise FaceNotFoundError(NO_PHOTOGRAPHS)
    return photos


def read_entries(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """`["age=child"]` -> `{"age": "child"}`. ConfigError for a text that is none, and for a key given twice."""
    entries: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals):
            raise ConfigError(f"{option} is {text!r}; give a name and a value, as in age=child")
        if key in entries:
            raise ConfigError(f"{option} names {key} twice; give one of them")
        entries[key] = value
    return entries


@contextmanager
def stdin_as_file(suffix: str = "") -> Iterator[Path]:
    """The bytes of stdin as a file for the time of the block, readable by its owner only."""
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        path = Path(folder, f"stdin{suffix}")
        path.write_bytes(sys.stdin.buffer.read())
        yield path
