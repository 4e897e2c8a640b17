"""The list of training crops: which file holds each, and who is on it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lightface.errors import TrainingError
from lightface.files import CsvRows, open_text
from lightface.reports.readers import read_parquet_rows

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
