"""Where a table goes: one file, or a folder of Parquet parts; on this machine, or by URL."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lightface.errors import OutputError
from lightface.files import make_folder, touch_private
from lightface.folders import data_folder
from lightface.locations import RemotePath, as_path, remove, stamp_of, upload
from lightface.tables import TABLE_SUFFIXES, FaceRow, check_output, write_faces
from lightface.tables.readers import COMPLETE, list_parts, part_name

NO_STAMP: Final = ""  # of a file that cannot be looked at

_ROWS_A_PART: Final = 100_000  # some 120 MB


@dataclass(frozen=True, slots=True)
class Output:
    """A table that is to be written. Made by `open_output`."""

    path: Path  # of the file or folder
    in_parts: bool

    @property
    def journal(self) -> Path:
        """Where the journal lies: beside a table on this machine, else in the user's data folder."""
        if not isinstance(self.path, RemotePath):
            return self.path.with_name(f"{self.path.name}.journal")
        # The end of the URL is for whoever looks for it; the checksum tells apart what would be too long for a name.
        name = f"{quote(self.path.url, safe='')[-100:]}-{hashlib.sha256(self.path.url.encode()).hexdigest()[:16]}"
        return data_folder() / "journals" / f"{name}.journal"

    def prepare(self) -> None:
        """Make the folders that are missing. OutputError or RemoteError where the table could not be written later."""
        if isinstance(self.path, RemotePath):
            if not self.in_parts and self.path.suffix.lower() not in TABLE_SUFFIXES:
                wanted = f"one of {', '.join(TABLE_SUFFIXES)}, or in / for a folder of Parquet parts"
                raise OutputError(f"cannot write a table as {str(self.path)!r}; end its name in {wanted}")
            stamp_of(self.path)  # tells whether the place answers
            with _translated_errors(self.journal.parent):
                make_folder(self.journal.parent)
        elif self.in_parts:
            with _translated_errors(self.path):
                self.path.mkdir(mode=0o700, exist_ok=True)
            check_output(self._part(0))
        else:
            check_output(self.path)

    def stamp(self) -> str:
        """Tells whether the table has been changed; NO_STAMP where there is no table."""
        if not self.in_parts:
            return stamp(self.path)
        stamps = {name: stamp(path) for name, path in self._list().items()}
        return hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest() if stamps else NO_STAMP

    def write(self, rows: Iterable[FaceRow]) -> None:
        """Put a table of these rows in place of what is there. OutputError or RemoteError where that fails.

        Parts are overwritten one by one. Whoever reads them waits for the file _SUCCESS, which is taken away before the
        first and written after the last.
        """
        if not self.in_parts:
            _write(self.path, rows)
            return
        earlier = self._list()
        if COMPLETE in earlier:
            _remove(earlier.pop(COMPLETE))
        rows, numbers = iter(rows), count()
        for row in rows:  # the first of a part, which takes more of them
            part = self._part(next(numbers))
            _write(part, chain([row], islice(rows, _ROWS_A_PART - 1)))
            earlier.pop(part.name, None)
        for path in earlier.values():
            _remove(path)
        _touch(self._within(COMPLETE))

    def _list(self) -> dict[str, Path]:
        """The parts, and the mark of a complete table, as they are now."""
        with _translated_errors(self.path):
            return list_parts(self.path)

    def _part(self, number: int) -> Path:
        return self._within(part_name(number))

    def _within(self, name: str) -> Path:
        return RemotePath(f"{self.path.url}{name}") if isinstance(self.path, RemotePath) else self.path / name


def open_output(place: Path | str) -> Output:
    """The table that a path or URL names; in parts where that is a text that ends in a slash."""
    path = as_path(place)
    return Output(path, in_parts=str(place).endswith("/"))


def stamp(path: Path) -> str:
    """Size and time of change (or checksum) of a file; NO_STAMP where it cannot be looked at."""
    if isinstance(path, RemotePath):
        return path.stamp or stamp_of(path)
    try:
        status = os.stat(path)
    except OSError:
        return NO_STAMP
    return f"{status.st_size}:{status.st_mtime_ns}"


def _write(path: Path, rows: Iterable[FaceRow]) -> None:
    if not isinstance(path, RemotePath):
        write_faces(path, rows)
        return
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        whole = Path(folder, f"faces{path.suffix}")
        write_faces(whole, rows)
        upload(whole, path)


def _touch(path: Path) -> None:
    if not isinstance(path, RemotePath):
        with _translated_errors(path):
            touch_private(path)
        return
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        empty = Path(folder, path.name)
        empty.touch()
        upload(empty, path)


def _remove(path: Path) -> None:
    if isinstance(path, RemotePath):
        remove(path)
    else:
        with _translated_errors(path):
            path.unlink(missing_ok=True)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.strerror or error}); choose another place") from error
