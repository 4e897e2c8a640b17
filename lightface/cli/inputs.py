"""What `-` stands for: a list of paths on stdin, or one picture."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from lightface.errors import ConfigError, FaceNotFoundError
from lightface.files import MOST_BYTES, read_list_bytes
from lightface.locations import RemotePath, to_path
from lightface.words import NO_PHOTOGRAPHS

if TYPE_CHECKING:
    from lightface.tables.text_lists import NamedPair

STANDARD_STREAM = Path("-")
_HEAD_BYTES = 1 << 16  # that tell a photograph from a list
_BLOCK_BYTES = 1 << 20
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

    head = sys.stdin.buffer.read(_HEAD_BYTES)
    data = b"".join([head, *_read_blocks()]) if is_picture(head) else _read_list(head)
    if is_picture(data):  # WebP and AVIF show only when they are whole
        if not may_be_picture:
            raise ConfigError("a photograph came by stdin, and only a list of paths is taken there; save it to a file")
        listed: list[Path] = [GivenPicture(data, name="stdin", keep=True)]  # to be drawn, perhaps
    else:
        names = re.findall(rb"[^\0]+" if b"\0" in data else rb"[^\n]*[^\s][^\n]*", data)
        listed = [to_path(os.fsdecode(name if b"\0" in data else name.rstrip(b"\r"))) for name in names]
    position = paths.index(STANDARD_STREAM)
    expanded = [*paths[:position], *listed, *paths[position + 1 :]]
    if STANDARD_STREAM in expanded:
        raise ConfigError("stdin can be read only once; give - once")
    return expanded


def read_pairs(path: Path) -> list[NamedPair]:
    """The pairs of a file, see `text_lists.read_named_pairs`; `-` is stdin, whose paths count from the current folder.

    EvaluationError for a file that cannot be read or a line without two paths, ConfigError where there are no pairs.
    """
    from lightface.tables.text_lists import read_list, read_named_pairs

    is_stdin = path == STANDARD_STREAM
    remedy = "check the path; what a program writes is taken from stdin, as -"
    data = _read_list() if is_stdin else read_list(path, remedy=remedy)
    pairs = read_named_pairs(path, data, [Path()] if is_stdin else [path.parent, Path()], labelled=False)
    if not pairs:
        raise ConfigError(f"there are no pairs in {path}; write a line for each, as in a.jpg,b.jpg")
    return pairs


def find_photos_of(named: Sequence[Path], *, recursive: bool, videos: bool = False) -> list[Path]:
    """The photographs that were named, folders searched; FaceNotFoundError where there are none."""
    from lightface.images.photos import find_sources

    photos = find_sources(expand_stdin(named), recursive=recursive, videos=videos)
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
def stdin_as_file(*, may_be_large: bool = False) -> Iterator[Path]:
    """The bytes of stdin as a file for the time of the block, readable by its owner only.

    ConfigError where there are more than a photograph may have, unless they are JSON, which `may_be_large`.
    """
    head = sys.stdin.buffer.read(_BLOCK_BYTES)
    is_bounded = not (may_be_large and head.lstrip().startswith(b"{"))  # an endless device begins otherwise
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        path = Path(folder, "stdin")
        with path.open("wb") as file:
            file.writelines(chain([head], _read_blocks(is_bounded=is_bounded)))
        yield path


def _read_list(head: bytes = b"") -> bytes:
    """The rest of stdin after `head`, a list of names. ConfigError where it has no end to speak of."""
    try:
        return read_list_bytes(sys.stdin.buffer, head=head)
    except OSError as error:
        raise ConfigError(f"stdin cannot be taken for a list ({error.strerror}); write one name a line") from error


def _read_blocks(*, is_bounded: bool = True) -> Iterator[bytes]:
    """The rest of stdin. ConfigError where there are more bytes than a photograph may have."""
    read = 0
    while block := sys.stdin.buffer.read(_BLOCK_BYTES):
        read += len(block)
        if read > MOST_BYTES and is_bounded:
            raise ConfigError(
                f"stdin has more than {MOST_BYTES / 1e9:.1f} GB, and is neither a photograph nor an export; check it"
            )
        yield block
