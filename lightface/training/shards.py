"""Read crops out of zip and tar shards, into memory only."""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

from lightface.errors import ImageError, TrainingError
from lightface.files import check_regular, read_regular

# A crop of 144x144 pixels takes 62 KB at most; a member that claims much more is no crop.
_MAX_MEMBER_BYTES = 4 << 20


class ShardReader:
    """Opens each shard once. `read` may be called from several threads."""

    def __init__(self) -> None:
        self._shards: dict[Path, _ZipShard | _TarShard] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shard in self._shards.values():
            shard.close()

    def read(self, file: Path, member: str | None) -> bytes:
        """The bytes of a member, or of the whole file where there is none.

        ImageError when they cannot be read; TrainingError when the shard itself is missing or is none.
        """
        try:
            if member is None:
                return _read_file(file)
            with self._lock:  # one file position a shard
                return self._open(file).read_crop(member)
        except KeyError as error:
            raise ImageError(f"{file.name} has no member {member!r}") from error
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
            raise ImageError(f"cannot read {member or file} ({error})") from error

    def _open(self, file: Path) -> _ZipShard | _TarShard:
        if file not in self._shards:
            try:
                check_regular(file)
                self._shards[file] = _ZipShard(file) if file.suffix == ".zip" else _TarShard(file)
            except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
                raise TrainingError(
                    f"cannot open the shard {file} ({error}); a shard is a zip, or a tar without compression"
                ) from error
        return self._shards[file]


class _ZipShard(zipfile.ZipFile):
    def read_crop(self, member: str) -> bytes:
        _check_size(member, self.getinfo(member).file_size)
        return self.read(member)


class _TarShard(tarfile.TarFile):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._by_name = {member.name: member for member in self.getmembers()}  # where tarfile looks through them all

    def read_crop(self, member: str) -> bytes:
        found = self._by_name[member]
        _check_size(member, found.size)
        file = self.extractfile(found)  # None for a folder; a link is followed within the shard only
        if file is None:
            raise ImageError(f"{member!r} is no file")
        return file.read(_MAX_MEMBER_BYTES)


def _read_file(file: Path) -> bytes:
    _check_size(str(file), file.stat().st_size)
    return read_regular(file)


def _check_size(name: str, size: int) -> None:
    if size > _MAX_MEMBER_BYTES:
        raise ImageError(f"{name!r} has {size:,} bytes, too many for a crop")
