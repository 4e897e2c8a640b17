"""Files on other machines: URLs of whatever kind fsspec has a driver for, such as s3://bucket/photos.

Only here does lightface use a network for photographs and tables, and only where a URL was named.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from lightface.errors import ConfigError, LightfaceError, RemoteError
from lightface.files import read_stream

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_PAUSES_S: Final = (1.0, 4.0)  # before a read is tried again

# What drivers call the checksum or the time of change of a file.
_MARKS: Final = (
    *("ETag", "etag", "md5Hash", "md5", "content_md5", "Content-MD5"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "modified", "created"),
)

if TYPE_CHECKING:
    _LocalPath = Path
else:
    _LocalPath = type(Path())  # Path itself can be inherited from since Python 3.12


class RemotePath(_LocalPath):
    """A file by its URL, for whoever takes a path, names it, and reads it whole.

    A Path would lose one slash of `s3://bucket/a.jpg` and of the key `a//b.jpg`. What was found in a file, and was not
    named by the user, is never fetched: see `named_in`.
    """

    url: str = ""
    stamp: str = ""  # SIZE:MARK, a checksum or time of change, where it comes from `list_files`
    is_fetched: bool = True  # when it is read; else that is refused

    def __init__(self, url: str, *, stamp: str = "", is_fetched: bool = True) -> None:
        if sys.version_info >= (3, 12):
            super().__init__(url)
        self.url, self.stamp, self.is_fetched = url, stamp, is_fetched

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(RemotePath, self.url, stamp=self.stamp, is_fetched=self.is_fetched), ()

    @property
    def size_bytes(self) -> int:
        """0 where it is not known."""
        size = self.stamp.partition(":")[0]
        return int(size) if size.isdecimal() else 0

    def __str__(self) -> str:
        return self.url or super().__str__()  # of what is derived, such as its parent

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def is_dir(self, **_: Any) -> bool:
        return False

    def is_file(self, **_: Any) -> bool:
        return True

    def exists(self, **_: Any) -> bool:
        return True

    def absolute(self) -> Path:  # type: ignore[override]
        return self

    def stat(self, **_: Any) -> os.stat_result:
        return os.stat_result((0, 0, 0, 0, 0, 0, self.size_bytes, 0, 0, 0))

    def read_bytes(self) -> bytes:
        """The whole file; it is asked for three times.

        OSError where something is wrong with this file, it has more than a gibibyte or may not be fetched, RemoteError
        where its place does not answer.
        """
        if not self.is_fetched:
            raise PermissionError(errno.EACCES, "a table names this URL, not you: it is not fetched")
        system, path = _open(self.url)
        for pause_s in (*_PAUSES_S, None):
            try:
                return _fetch(system, path)
            except (FileNotFoundError, PermissionError, IsADirectoryError):
                raise
            except Exception as error:  # of the driver, or of a library under it: they have no ancestor in common
                if isinstance(error, OSError) and error.errno == errno.EFBIG:
                    raise
                if pause_s is None:
                    with _translated_errors("read", self):
                        system.invalidate_cache()
                        system.info(path)
                    raise OSError(errno.EIO, _reason(error)) from error
                time.sleep(pause_s)
        raise AssertionError("the last try returns or raises")


def to_path(text: str, *, stamp: str = "") -> Path:
    """What a text names: a RemotePath, with its stamp, where it is a URL. ConfigError for an empty one."""
    if not text:
        raise ConfigError("an empty path names nothing, nor the current folder; give a path")
    return RemotePath(text, stamp=stamp) if _URL.match(text) else Path(text)


def named_in(table: Path, text: str) -> Path:
    """What a text in a table names. A URL is fetched only from the host or bucket at which the table was named."""
    path = to_path(text)
    if not isinstance(path, RemotePath):
        return path
    may = isinstance(table, RemotePath) and urlsplit(table.url)[:2] == urlsplit(path.url)[:2]
    return RemotePath(text, is_fetched=may)


def as_path(place: Path | str) -> Path:
    """The same, of a place that may be a path already."""
    return to_path(place) if isinstance(place, str) else place


def to_local_path(place: Path | str) -> Path:
    """The same, of a place on this machine. ConfigError for an empty one, and for a URL."""
    path = as_path(place)
    if isinstance(path, RemotePath):
        raise ConfigError(f"{path} is a URL, and here only files of this machine are taken; download it first")
    return path


def list_files(place: RemotePath, *, recursive: bool = True, may_be_missing: bool = False) -> list[RemotePath]:
    """The files below a URL, sorted, or the one that it names; hidden files and folders are skipped.

    Raises RemoteError where it cannot be listed whole, or does not exist, unless it may be missing.
    """
    system, root = _open(place.url)
    base, root = place.url.rstrip("/"), root.rstrip("/")
    found: list[RemotePath] = []
    with _translated_errors("read", place):
        system.invalidate_cache()
        if may_be_missing and not system.exists(root):
            return []
        # Not find(), which passes over the folders that it cannot list.
        for folder, folders, files in system.walk(
            root, maxdepth=None if recursive else 1, detail=True, on_error="raise"
        ):
            for name in [name for name in folders if name.startswith(".")]:
                del folders[name]
            # An entry without a name is the file that was named, or an object that stands for a folder.
            for name, info in files.items():
                if not name.startswith(".") and (name or folder == root):
                    url = base + info["name"].rstrip("/").removeprefix(root)
                    found.append(RemotePath(url, stamp=_stamp(system, info)))
    return sorted([file for file in found if file.url != base] or found, key=str)


def stamp_of(file: RemotePath) -> str:
    """Size and checksum or time of change of a file; "" where there is none. RemoteError where its place is silent."""
    system, path = _open(file.url)
    with _translated_errors("read", file):
        system.invalidate_cache()
        try:
            return _stamp(system, system.info(path))
        except FileNotFoundError:
            return ""


def upload(file: Path, target: RemotePath) -> None:
    """Copy a file to a URL; an object store takes it whole or not at all. RemoteError where it does not."""
    system, path = _open(target.url)
    with _translated_errors("write", target):
        system.put_file(str(file), path)


def remove(file: RemotePath) -> None:
    """Delete a file, where there is one. RemoteError where that cannot be."""
    system, path = _open(file.url)
    with _translated_errors("delete", file):
        try:
            system.rm_file(path)
        except FileNotFoundError:
            return


def _open(url: str) -> tuple[Any, str]:
    """The driver for a URL, and the name it has for the file."""
    import fsspec.core  # half a second for those who name a URL

    if urlsplit(url).password is not None:
        raise ConfigError("a URL with a password is seen in tables and logs; keep it in the driver's own settings")
    scheme = url.partition("://")[0]
    try:
        system, _ = fsspec.core.url_to_fs(url.partition("::")[0])  # to which "::" chains URLs: here it is a name
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{scheme}:// needs a driver of fsspec: {error}") from error
    except Exception as error:  # some connect at once
        raise _describe("open", url, error) from error
    return system, str(system._strip_protocol(url))


def _fetch(system: Any, path: str) -> bytes:
    """The whole file, in parts: what a place says of its size is not believed."""
    # To whom gives a size, the driver for HTTP does not ask for it first; in no blocks, it reads one answer to its end.
    options = {"block_size": 0, "size": 1} if "https" in system.protocol else {}
    with system.open(path, "rb", **options) as file:
        return read_stream(file)


def _stamp(system: Any, info: Mapping[str, Any]) -> str:
    """Where a place tells nothing but the size, another one each time: rather embedded again than out of date."""
    mark = _find_mark(info) or _find_mark(system.info(info["name"])) or time.time_ns()
    return f"{info.get('size')}:{mark}"


def _find_mark(info: Mapping[str, Any]) -> Any:
    return next((info[key] for key in _MARKS if info.get(key)), None)


@contextmanager
def _translated_errors(doing: str, file: RemotePath) -> Iterator[None]:
    try:
        yield
    except LightfaceError:
        raise
    except Exception as error:  # as in `read_bytes`
        raise _describe(doing, file.url, error) from error


def _describe(doing: str, url: str, error: Exception) -> RemoteError:
    remedy = "check the name, your rights and the connection, and run it again: what was finished is kept"
    return RemoteError(f"cannot {doing} {url!r} ({_reason(error)}); {remedy}")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
