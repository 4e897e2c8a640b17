"""Files of training crops: the index that says who is on each, and the shards that hold them."""

from __future__ import annotations

import csv
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from lightface.errors import ImageError, TrainingError
from lightface.files import CsvRows, check_regular, open_text, read_regular
from lightface.tables.readers import read_parquet_rows

INDEX_NAMES = ("index.csv", "index.parquet")
_REQUIRED_COLUMNS = ("shard", "name")
_COLUMNS = (*_REQUIRED_COLUMNS, "identity", "split", "source")


@dataclass(frozen=True, slots=True)
class CropEntry:
    """One training crop."""

    file: Path  # the shard, or the picture itself
    member: str | None  # within the shard
    identity: str = ""  # "" where the person is unknown
    split: str = ""  # train, dev or "": not decided
    source: str = ""  # the set that it comes from
    folder: str = ""  # the data folder, where there are several

    @property
    def person(self) -> str:
        """Who it is among all folders, "" where that is unknown: 0001 of one folder is somebody else in another."""
        return f"{self.folder}/{self.identity}" if self.folder and self.identity else self.identity

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.file.name}/{self.member}" if self.member else str(self.file)


def find_index(folder: Path) -> Path | None:
    """The index file of a data folder; None where it has none."""
    return next((folder / name for name in INDEX_NAMES if (folder / name).is_file()), None)


def read_index(path: Path) -> list[CropEntry]:
    """The rows of an index, in their order.

    Columns `shard` (zip or tar beside the index) and `name` (of the member) are needed; `identity`, `split`
    (train or dev) and `source` are taken where they are. TrainingError for anything else, with the row.
    """
    rows = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    entries = []
    for number, row in enumerate(rows):
        missing = [column for column in _REQUIRED_COLUMNS if not row.get(column)]
        if missing:
            raise TrainingError(f"{path.name}: row {number} has no {missing[0]!r}; every crop needs shard and name")
        split = row.get("split") or ""
        if split not in ("", "train", "dev"):
            raise TrainingError(f"{path.name}: row {number} has the split {split!r}; use train, dev or nothing")
        entries.append(
            CropEntry(
                file=path.parent / _stay_inside(row["shard"], path, number),
                member=str(_stay_inside(row["name"], path, number)),
                identity=row.get("identity") or "",
                split=split,
                source=row.get("source") or "",
            )
        )
    if not entries:
        raise TrainingError(f"{path} lists no crops")
    return entries


def _read_csv(path: Path) -> Iterable[Mapping[str, str]]:
    try:
        with open_text(path, newline="", encoding="utf-8-sig") as file:
            yield from CsvRows(file)
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingError(f"cannot read the index {path}: {error}") from error


def _read_parquet(path: Path) -> Iterable[Mapping[str, str]]:
    def choose(names: Sequence[str]) -> list[str]:
        return [name for name in _COLUMNS if name in names]

    try:
        for row in read_parquet_rows(path, choose):
            yield {key: "" if value is None else str(value) for key, value in row.items()}
    except (OSError, ValueError, MemoryError) as error:
        raise TrainingError(f"cannot read the index {path}: {error}") from error


def _stay_inside(name: str, index: Path, row: int) -> PurePosixPath:
    """A name that stays below the folder of the index: an index from elsewhere must not reach other files."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise TrainingError(f"{index.name}: row {row} names {name!r}, which leaves its folder; use plain names")
    return path


# Read crops out of zip and tar shards, into memory only.


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
