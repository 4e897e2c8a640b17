"""Files of aligned crops, for training and for evaluation: the index that says who is on each, the list of pairs of
its rows, and the shards that hold the pictures.
"""

from __future__ import annotations

import csv
import re
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import numpy as np

from lightface.errors import ImageError, TrainingError
from lightface.files import CsvRows, check_regular, open_text, read_regular
from lightface.measurement.pairs import Pairs
from lightface.tables.readers import read_parquet_rows

INDEX_NAMES = ("index.csv", "index.parquet")
PAIRS_NAME = "dev-pairs.csv"
_REQUIRED_COLUMNS = ("shard", "name")
_COLUMNS = (*_REQUIRED_COLUMNS, "identity", "split", "source")
_PAIR_COLUMNS = ("row_a", "row_b", "same")
_PAIRS_EXPECTED = "expected columns row_a, row_b and same, which is 1 or 0"
_ROW_NUMBER = re.compile("[0-9]{1,18}")  # fits into 64 bits


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


def read_pairs(path: Path) -> Pairs:
    """The pairs of a CSV file with the columns row_a and row_b, rows of the index from 0, and same, which is 1 or 0.

    TrainingError for anything else, with the row.
    """
    a, b, same = [], [], []
    try:
        with open_text(path, newline="", encoding="utf-8-sig") as file:
            rows = CsvRows(file, strict=True)
            missing = [column for column in _PAIR_COLUMNS if column not in rows.names]
            if missing:
                raise TrainingError(f"{path.name} has no column {missing[0]!r}; {_PAIRS_EXPECTED}")
            for number, row in enumerate(rows):
                cells = [(row[column] or "").strip() for column in _PAIR_COLUMNS]
                if not (all(map(_ROW_NUMBER.fullmatch, cells[:2])) and cells[2] in ("0", "1")):
                    wrong = ",".join(cells)
                    raise TrainingError(f"{path.name}: row {number}, {wrong!r}, is no pair; {_PAIRS_EXPECTED}")
                a.append(int(cells[0]))
                b.append(int(cells[1]))
                same.append(cells[2] == "1")
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingError(f"cannot read the pairs {path} ({error}); {_PAIRS_EXPECTED}") from error
    return Pairs(np.array(a, np.int64), np.array(b, np.int64), np.array(same, np.bool_))


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
    """Opens each shard once. `read` may be called from several threads.

    `largest_bytes` is how many bytes a member may unpack to: a crop takes some kilobytes, a photograph some megabytes.
    """

    def __init__(self, *, largest_bytes: int = _MAX_MEMBER_BYTES) -> None:
        self._largest_bytes = largest_bytes
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
                _check_size(str(file), file.stat().st_size, self._largest_bytes)
                return read_regular(file)
            with self._lock:  # one file position a shard
                return self._open(file).read_member(member, self._largest_bytes)
        except KeyError as error:
            raise ImageError(f"{file.name} has no member {member!r}") from error
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
            raise ImageError(f"cannot read {member or file} ({error})") from error

    def open(self, file: Path) -> None:
        """Open a shard now, which `read` would do later. TrainingError when it is missing or is none."""
        with self._lock:
            self._open(file)

    def list_members(self, file: Path) -> list[str]:
        """The names in a shard, sorted; folders end in a slash. TrainingError when it is missing or is none."""
        with self._lock:
            return sorted(self._open(file).list_names())

    def _open(self, file: Path) -> _ZipShard | _TarShard:
        if file not in self._shards:
            try:
                check_regular(file)
                is_zip = file.suffix != ".tar" and zipfile.is_zipfile(file)
                self._shards[file] = _ZipShard(file) if is_zip else _TarShard(file)
            except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
                raise TrainingError(
                    f"cannot open the shard {file} ({error}); a shard is a zip, or a tar without compression"
                ) from error
        return self._shards[file]


class _ZipShard(zipfile.ZipFile):
    def list_names(self) -> list[str]:
        return self.namelist()

    def read_member(self, member: str, largest_bytes: int) -> bytes:
        _check_size(member, self.getinfo(member).file_size, largest_bytes)
        return self.read(member)


class _TarShard(tarfile.TarFile):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._by_name = {member.name: member for member in self.getmembers()}  # where tarfile looks through them all

    def list_names(self) -> list[str]:
        return list(self._by_name)

    def read_member(self, member: str, largest_bytes: int) -> bytes:
        found = self._by_name[member]
        _check_size(member, found.size, largest_bytes)
        file = self.extractfile(found)  # None for a folder; a link is followed within the shard only
        if file is None:
            raise ImageError(f"{member!r} is no file")
        return file.read(largest_bytes)


def _check_size(name: str, size: int, largest_bytes: int) -> None:
    if size > largest_bytes:
        raise ImageError(f"{name!r} has {size:,} bytes, too many for a picture here; look at what it is")
