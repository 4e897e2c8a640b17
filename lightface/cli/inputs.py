"""What `-` stands for: a list of paths on stdin, or one picture."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightface.errors import ConfigError

STANDARD_STREAM = Path("-")


def expand_stdin(paths: Sequence[Path]) -> list[Path]:
    """Replace `-` by the paths on stdin, a line each, or separated by NUL as from `find -print0`."""
    if STANDARD_STREAM not in paths:
        return list(paths)
    data = sys.stdin.buffer.read()
    separator = b"\0" if b"\0" in data else b"\n"
    listed = [Path(os.fsdecode(name.rstrip(b"\r"))) for name in data.split(separator) if name.strip()]
    position = paths.index(STANDARD_STREAM)
    expanded = [*paths[:position], *listed, *paths[position + 1 :]]
    if STANDARD_STREAM in expanded:
        raise ConfigError("stdin can be read only once; give - once")
    return expanded


@contextmanager
def stdin_as_file(suffix: str = "") -> Iterator[Path]:
    """The bytes of stdin as a file for the time of the block, readable by its owner only."""
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        path = Path(folder, f"stdin{suffix}")
        path.write_bytes(sys.stdin.buffer.read())
        yield path
