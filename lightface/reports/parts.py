"""A face table as a folder of Parquet parts, on this machine or by URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from lightface.errors import TableError
from lightface.remote import RemotePath, list_files

COMPLETE: Final = "_SUCCESS"  # the last file to be written, as by Hadoop and Spark
_PART: Final = re.compile(r"faces-\d{5,}\.parquet")


def part_name(number: int) -> str:
    """Of part 0 and those that follow."""
    return f"faces-{number:05}.parquet"


def list_parts(folder: Path) -> dict[str, Path]:
    """The parts, and the mark of a complete table, by name, as they are now; none where there is no such folder by URL.

    Raises OSError where a folder on this machine cannot be read, RemoteError where a place does not answer.
    """
    if isinstance(folder, RemotePath):
        files: list[Path] = [*list_files(folder, recursive=False, may_be_missing=True)]
    else:
        files = list(folder.iterdir())
    return {file.name: file for file in files if file.name == COMPLETE or _PART.fullmatch(file.name)}


def holds_parts(folder: Path) -> bool:
    """Whether there is a part of a table in a folder; False for one that cannot be read."""
    try:
        return any(name != COMPLETE for name in list_parts(folder))
    except OSError:
        return False


def find_parts(folder: Path) -> list[Path]:
    """The parts of a complete table, in their order.

    Raises TableError where there are none or not all of them, and as `list_parts`.
    """
    parts = list_parts(folder)
    is_complete = parts.pop(COMPLETE, None) is not None
    if not parts:
        raise TableError(f"there is no face table in {str(folder)!r}; name one that 'lightface embed' wrote")
    if not is_complete:
        raise TableError(
            f"the face table in {str(folder)!r} is not complete; wait for 'lightface embed', or run it again"
        )
    return [parts[name] for name in sorted(parts, key=lambda name: (len(name), name))]
