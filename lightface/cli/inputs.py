"""What `-` stands for: a list of paths on stdin, or one picture."""

from __future__ import annotations

import csv
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightface.errors import ConfigError, FaceNotFoundError
from lightface.files import read_regular
from lightface.remote import RemotePath, to_path
from lightface.words import NO_PHOTOGRAPHS

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
    separator = b"\0" if b"\0" in data else b"\n"
    if is_picture(data):
        if not may_be_picture:
            raise ConfigError("a photograph came by stdin, and only a list of paths is taken there; save it to a file")
        listed: list[Path] = [GivenPicture(data, name="stdin", keep=True)]  # to be drawn, perhaps
    else:
        listed = [to_path(os.fsdecode(name.rstrip(b"\r"))) for name in data.split(separator) if name.strip()]
    position = paths.index(STANDARD_STREAM)
    expanded = [*paths[:position], *listed, *paths[position + 1 :]]
    if STANDARD_STREAM in expanded:
        raise ConfigError("stdin can be read only once; give - once")
    return expanded


def read_pairs(path: Path) -> list[tuple[Path, Path]]:
    """The pairs of a CSV file, two paths a line, or the columns path_a and path_b; `-` is stdin.

    ConfigError for a file that cannot be read or a line without two paths.
    """
    try:
        text = sys.stdin.buffer.read() if path == STANDARD_STREAM else read_regular(path)
        rows = list(csv.reader(text.decode("utf-8-sig").splitlines()))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise ConfigError(f"cannot read the pairs in {path} ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is not a list of pairs; give a CSV file with two paths a line") from error
    column_a, column_b, first = 0, 1, 0
    if rows and {"path_a", "path_b"} <= set(rows[0]):
        column_a, column_b, first = rows[0].index("path_a"), rows[0].index("path_b"), 1
    elif rows and len(rows[0]) > 2:
        raise ConfigError(
            f"{path} has {len(rows[0])} columns and no headings path_a and path_b; name the two columns so, "
            "or give two paths a line"
        )
    pairs = []
    for number, row in enumerate(rows[first:], start=first + 1):
        if row:
            if len(row) <= max(column_a, column_b) or not row[column_a] or not row[column_b]:
                raise ConfigError(f"{path}, line {number}: there are no two paths; write them as a.jpg,b.jpg")
            pairs.append((to_path(row[column_a]), to_path(row[column_b])))
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


@contextmanager
def stdin_as_file(suffix: str = "") -> Iterator[Path]:
    """The bytes of stdin as a file for the time of the block, readable by its owner only."""
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        path = Path(folder, f"stdin{suffix}")
        path.write_bytes(sys.stdin.buffer.read())
        yield path
