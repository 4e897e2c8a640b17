"""What `-` stands for: a list of paths on stdin, or one picture."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lightface.errors import ConfigError, FaceNotFoundError
from lightface.remote import to_path
from lightface.words import NO_PHOTOGRAPHS

if TYPE_CHECKING:
    from lightface.evaluation.lists import NamedPair

STANDARD_STREAM = Path("-")


def expand_stdin(paths: Sequence[Path]) -> list[Path]:
    """Replace `-` by the paths on stdin, a line each, or separated by NUL as from `find -print0`."""
    if STANDARD_STREAM not in paths:
        return list(paths)
    data = sys.stdin.buffer.read()
    names = data.split(b"\0") if b"\0" in data else [line.rstrip(b"\r") for line in data.split(b"\n") if line.strip()]
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
    from lightface.images import find_photos

    photos = find_photos(expand_stdin(named), recursive=recursive)
    if not photos:
        raise FaceNotFoundError(NO_PHOTOGRAPHS)
    return photos


@contextmanager
def stdin_as_file(suffix: str = "") -> Iterator[Path]:
    """The bytes of stdin as a file for the time of the block, readable by its owner only."""
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        path = Path(folder, f"stdin{suffix}")
        path.write_bytes(sys.stdin.buffer.read())
        yield path
