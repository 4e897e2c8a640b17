"""Open the files of users, and write files whole or not at all, for their owner's eyes only: they are of faces.

The errors are the operating system's, or OSError in words; callers say what could not be read or written.
"""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import io
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Final

try:
    import fcntl
except ImportError:  # Windows, where what a killed process was writing stays
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)

_PREFIX: Final = ".lightface-"
_SUFFIX: Final = ".partial"
_SQLITE_SUFFIXES: Final = ("-journal", "-wal", "-shm")  # of files whose contents SQLite takes for the database's
MOST_BYTES: Final = 1 << 30  # of a file that is read whole; a sparse file or one of /proc may have no end to speak of
_BYTES_AT_ONCE: Final = 1 << 20
_MOST_LIST_BYTES: Final = 1 << 28  # of a list that is read whole: some millions of names
_LONGEST_LINE: Final = 1 << 20  # of a text: a row of a face table has some 5,000 bytes
_LINE_END: Final = re.compile(rb"[\n\r\0]")  # NUL: of a list as from `find -print0`
_MOST_LINKS: Final = 40  # in a row, as in Linux
# Of file systems that cannot flush a folder, which is no fault.
_CANNOT_FLUSH: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file to read its bytes; every file that a user names or a folder yields is opened by this.

    Pipes, devices and sockets are refused without being opened: they might be waited on for ever, never end, or do
    something when they are opened. A path of another kind, such as a URL's, opens itself. Raises OSError, also for what
    is no regular file, and ValueError (a NUL in the path).
    """
    if type(path).read_bytes is not Path.read_bytes:
        return io.BufferedReader(io.BytesIO(path.read_bytes()))
    return open(path, "rb", opener=_open_descriptor)


def open_text(path: Path, *, encoding: str = "utf-8", newline: str | None = None) -> IO[str]:
    """The same for text. Raises UnicodeDecodeError, a ValueError, while it is read, as `open` does."""
    return io.TextIOWrapper(open_regular(path), encoding=encoding, newline=newline)


def read_regular(path: Path) -> bytes:
    """All bytes of a file, opened by `open_regular`. Raises OSError, also for one of more than a gibibyte."""
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _too_large(path)
    return data


def read_stream(file: IO[bytes]) -> bytes:
    """All bytes of an open file that may have no end to speak of. OSError where it has more than a gibibyte, which is
    noticed before more of it is in memory, and ValueError where it is open for text.
    """
    if isinstance(file.read(0), str):  # told before anything is taken from it, for it is asked for again
        raise ValueError("it is open for text; open it for reading bytes")
    whole = io.BytesIO()  # and no list: what trickles in has a part for each byte
    while part := file.read(_BYTES_AT_ONCE):
        whole.write(part)
        if whole.tell() > MOST_BYTES:
            raise _too_large()
    return whole.getvalue()


def read_list_bytes(file: IO[bytes], *, head: bytes = b"") -> bytes:
    """All bytes of a list of names, of which `head` is read. OSError where it has more than 268 MB, or a line of it
    more than two mebibytes: so what never ends, or is no text, is noticed before it fills the memory.
    """
    parts = [head]
    while part := file.read(_LONGEST_LINE):
        parts.append(part)
        if len(part) == _LONGEST_LINE and not _LINE_END.search(part):
            raise OSError(errno.EFBIG, f"a line of it has more than {_LONGEST_LINE:,} bytes, so it is no list")
        if len(parts) * _LONGEST_LINE > _MOST_LIST_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {_MOST_LIST_BYTES / 1e6:.0f} MB")
    return b"".join(parts)


def text_lines(file: IO[str]) -> Iterator[str]:
    """The lines of an open text with their ends. ValueError for one of more than 1,048,576 characters."""
    while line := file.readline(_LONGEST_LINE + 1):
        _check_row(len(line))
        yield line


class CsvRows:
    """The rows of an open CSV by heading, as of `csv.DictReader`, whose errors it raises while it is read; ValueError
    for a row of more than 1,048,576 characters, in however many lines.
    """

    def __init__(self, file: IO[str], *, strict: bool = False) -> None:
        self._length = 0
        self._reader = csv.DictReader(self._count(file), strict=strict)

    @property
    def names(self) -> Sequence[str]:
        """The headings."""
        return self._reader.fieldnames or ()

    def __iter__(self) -> Iterator[dict[str, str]]:
        for row in self._reader:
            self._length = 0
            yield row

    def _count(self, file: IO[str]) -> Iterator[str]:
        for line in text_lines(file):
            self._length += len(line)
            _check_row(self._length)
            yield line


def _check_row(length: int) -> None:
    if length > _LONGEST_LINE:
        raise ValueError(f"a row of it has more than {_LONGEST_LINE:,} characters")


def hash_regular(path: Path, *, may_be_large: bool = False) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits. Raises as `read_regular`, unless it `may_be_large`."""
    digest = hashlib.sha256()
    left = path.stat().st_size if may_be_large else MOST_BYTES
    with open_regular(path) as file:
        while part := file.read(_BYTES_AT_ONCE):
            left -= len(part)
            if left < 0:
                raise _too_large(path)
            digest.update(part)
    return digest.hexdigest()


def _too_large(path: Path | None = None) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {MOST_BYTES / 1e9:.1f} GB", None if path is None else str(path))


def check_regular(path: Path) -> None:
    """Raise OSError for what `open_regular` would not open; for libraries that open files by their names."""
    _check_regular(os.stat(path), str(path))


@contextmanager
def write_private(path: Path) -> Iterator[IO[bytes]]:
    """A new file of mode 0600 that takes the place of `path` when the block ends.

    Where the block fails or is interrupted, what lay at `path` is as it was. Of a symbolic link, the target is
    replaced, unless another user made the link. Raises OSError (also where `path` is no regular file, such as a
    device) and ValueError (a NUL in it).
    """
    for place, status in _follow(path):
        if stat.S_ISLNK(status.st_mode):
            _check_owner(place, status)
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
        flush_entry(target)
    finally:
        with suppress(FileNotFoundError):  # it has been renamed
            os.unlink(file.name)


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, and those above it that are missing; one that is there stays as it is.

    Raises OSError where there is something else, or it cannot be made.
    """
    if not folder.is_dir():
        make_folder(folder.parent)  # mkdir(parents=True) would make those above for everybody
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", str(folder))


def touch_private(path: Path) -> None:
    """An empty file of mode 0600 at `path`, unless there is a file already. Raises as `write_private`."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        flush_entry(path)


def check_owned(path: Path) -> None:
    """Raise OSError where another user put `path` there, a link on the way to it, or what SQLite keeps beside it.

    In a shared folder, anybody can plant a file under a name that somebody else is about to use. To be called before
    a file is opened that lightface believes: a gallery, a journal, a cache, a key. What is missing is fine. So are the
    files of root, and those of the folder's owner where nobody else may write in it: whoever names such a folder means
    it, as in a container that runs as root.
    """
    for name in (path, *(path.with_name(path.name + suffix) for suffix in _SQLITE_SUFFIXES)):
        for place, status in _follow(name):
            _check_owner(place, status)


def check_own_folder(folder: Path) -> None:
    """Raise OSError unless a folder is one's own, and nobody else may write in it; that right is taken back.

    For what is run, or what another user must not be able to exchange.
    """
    if not hasattr(os, "geteuid"):
        return
    status = os.stat(folder)
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "the folder is another user's; delete it, or name another", str(folder))
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.chmod(folder, status.st_mode & 0o700)


def flush_entry(path: Path | str) -> None:
    """See to it that a name that is new, or has new contents, outlives a power cut; a disk that fails is logged."""
    try:
        flush_folder(os.path.dirname(os.path.abspath(path)))
    except OSError as error:  # it is in its place all the same
        _log.warning("%s is written, but the disk may lose it in a power cut (%s); check the disk", path, error)


def flush_folder(folder: Path | str) -> None:
    """See to it that names new in a folder outlive a power cut, where the file system lets folders be flushed.

    Raises OSError where the disk fails.
    """
    if fcntl is None:  # Windows, which opens no folders
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:  # EACCES: a folder in which one may write and not list
            raise


def check_place(path: Path) -> None:
    """Raise OSError now where `write_private` would find no place for a file later: a folder, or none to write in."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OSError(errno.EISDIR, "it is a folder; name a file in it", str(path))
    if not target.parent.is_dir():
        raise OSError(errno.ENOENT, f"there is no folder {str(target.parent)!r}; make it", str(path))
    if not os.access(target.parent, os.W_OK):
        raise OSError(errno.EACCES, f"{str(target.parent)!r} is not writable; make it so", str(path))


def _open_descriptor(path: str, flags: int) -> int:
    _check_regular(os.stat(path), path)
    # It may be another by now. O_NONBLOCK: a pipe would be waited on.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", path)


def _follow(path: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    """What lies at a path, and where that is a link, what it leads to, and so on, each with its own status."""
    place = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        try:
            status = os.lstat(place)
        except OSError:  # nothing is there, or whoever opens it will be told
            return
        yield place, status
        if not stat.S_ISLNK(status.st_mode):
            return
        place = os.path.join(os.path.dirname(place), os.readlink(place))


def _check_owner(place: str, status: os.stat_result) -> None:
    if not hasattr(os, "geteuid") or status.st_uid in (os.geteuid(), 0):
        return
    folder = os.stat(os.path.dirname(place))
    if folder.st_uid != status.st_uid or folder.st_mode & stat.S_IWOTH:
        raise PermissionError(errno.EPERM, "another user put it there; delete it, or use a folder of your own", place)


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
    """Once a folder, delete what killed processes have left there: it holds faces. Who is at work has theirs locked.

    What is not of that kind stays: anybody may have put it into a shared folder.
    """
    for partial in glob.glob(os.path.join(glob.escape(folder), f"{_PREFIX}*{_SUFFIX}")):
        with suppress(OSError):
            if stat.S_ISREG(os.lstat(partial).st_mode):
                with open_regular(Path(partial)) as file:
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
