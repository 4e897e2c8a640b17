"""Write files whole or not at all, for their owner's eyes only: what lightface keeps and reports is of faces.

The errors are the operating system's; callers say in their own words what could not be written.
"""

from __future__ import annotations

import errno
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Final

try:
    import fcntl
except ImportError:  # Windows, where what a killed process was writing stays
    fcntl = None  # type: ignore[assignment]

_PREFIX: Final = ".lightface-"
_SUFFIX: Final = ".partial"


@contextmanager
def write_private(path: Path) -> Iterator[IO[bytes]]:
    """A new file of mode 0600 that takes the place of `path` when the block ends.

    Where the block fails or is interrupted, what lay at `path` is as it was. Of a symbolic link, the target is
    replaced. Raises OSError (also where `path` is no regular file, such as a device) and ValueError (a NUL in it).
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "it is a folder or a device", str(path))
    _sweep(os.path.dirname(target))
    file = _open_partial(os.path.dirname(target))
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut after the rename could leave an empty file
            if fcntl is not None:  # while it is locked, or another process may sweep it away
                os.replace(file.name, target)
        if fcntl is None:  # Windows, which renames no open file
            os.replace(file.name, target)
    finally:
        with suppress(FileNotFoundError):  # it has been renamed
            os.unlink(file.name)


def touch_private(path: Path) -> None:
    """An empty file of mode 0600 at `path`, unless there is a file already. Raises as `write_private`."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def check_place(path: Path) -> None:
    """Raise OSError now where `write_private` would find no place for a file later: a folder, or none to write in."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OSError(errno.EISDIR, "it is a folder; name a file in it", str(path))
    if not target.parent.is_dir():
        raise OSError(errno.ENOENT, f"there is no folder {str(target.parent)!r}; make it", str(path))
    if not os.access(target.parent, os.W_OK):
        raise OSError(errno.EACCES, f"{str(target.parent)!r} is not writable; make it so", str(path))


def _open_partial(folder: str) -> IO[bytes]:
    """A new file of mode 0600, locked; another, where a process that sweeps was faster than the lock."""
    while True:
        # mkstemp gives mode 0600; in the same folder, so that the rename cannot turn into a copy.
        descriptor, partial = tempfile.mkstemp(dir=folder, prefix=_PREFIX, suffix=_SUFFIX)
        os.close(descriptor)
        with suppress(FileNotFoundError):
            file = open(partial, "r+b")  # noqa: SIM115  # by its name, which some writers ask for
            _lock(file, wait=True)
            if os.path.exists(partial):
                return file
            file.close()


@cache
def _sweep(folder: str) -> None:
    """Once a folder, delete what killed processes have left there: it holds faces. Who is at work has theirs locked."""
    for partial in glob.glob(os.path.join(glob.escape(folder), f"{_PREFIX}*{_SUFFIX}")):
        with suppress(OSError), open(partial, "rb") as file:
            if _lock(file):
                os.unlink(partial)


def _lock(file: IO[bytes], *, wait: bool = False) -> bool:
    """Whether `file` is ours alone from now on; the lock goes when it is closed, or its process is killed."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another has it, or the file system knows no locks
        return False
    return True
