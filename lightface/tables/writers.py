"""Write a table whole or not at all, for its owner's eyes only: Parquet, CSV, JSON Lines or NPZ, by suffix.

Faces are biometric data, so files have mode 0600. What is null where:

    .parquet   null
    .csv       an empty cell; arrays are JSON within their cell
    .jsonl     null; one object a line
    .npz       NaN in numbers, -1 in integers, "" in texts; one array a column, read without pickle

Texts are UTF-8. File names need not be: see `words.encode_text` for how they are written, and `words.decode_text` to
read them. In CSV, a text that a spreadsheet would run has an apostrophe before it: see `rows.protect_cell`.

Parquet, CSV and JSON Lines are written as the rows come; NPZ is put together in memory, some 2 KB a face.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from lightface.errors import OutputError
from lightface.files import check_place, flush_entry, write_private
from lightface.locations import RemotePath
from lightface.tables.rows import (
    CLUSTER_COLUMNS,
    FACE_COLUMNS,
    PAIR_COLUMNS,
    ClusterRow,
    Column,
    FaceRow,
    PairRow,
    protect_cell,
)
from lightface.words import encode_text

_ROWS_AT_ONCE: Final = 4096  # some 5 MB of embeddings: a row group of Parquet

Values = list[Any]  # of one row: None, text, number, or an array of float32


def check_output(path: Path) -> None:
    """Raise OutputError now for an output that could not be written later: suffix, folder, permissions."""
    if path.suffix.lower() not in _WRITERS:
        raise OutputError(f"cannot write a table as {path.name!r}; end its name in one of {', '.join(TABLE_SUFFIXES)}")
    try:
        check_place(path)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror}, or choose another place") from error


def write_faces(path: Path | str, rows: Iterable[FaceRow]) -> None:
    """Write a face table; its columns are the fields of `FaceRow`. OutputError where that fails."""
    _write(Path(path), rows, FACE_COLUMNS)


def write_pairs(path: Path, rows: Iterable[PairRow]) -> None:
    """Write a table of pairs; its columns are the fields of `PairRow`. OutputError where that fails."""
    _write(path, rows, PAIR_COLUMNS)


def write_clusters(path: Path, rows: Iterable[ClusterRow]) -> None:
    """Write a table of grouped faces; its columns are the fields of `ClusterRow`. OutputError where that fails."""
    _write(path, rows, CLUSTER_COLUMNS)


def _write(path: Path, rows: Iterable[FaceRow | PairRow | ClusterRow], columns: Sequence[Column]) -> None:
    check_output(path)
    plain = ([_plain(getattr(row, column.name)) for column in columns] for row in rows)
    try:
        with write_private(path) as file:
            _WRITERS[path.suffix.lower()](file, plain, columns)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {str(path)!r} ({reason}); what lay there before is as it was") from error


def _plain(value: object) -> Any:
    """Paths and texts as UTF-8 has them, arrays as (nested lists of) float32; the rest is what it was."""
    if isinstance(value, str | Path):
        return encode_text(str(value))
    if isinstance(value, tuple | np.ndarray):
        return np.asarray(value, np.float32)
    return value


def _write_parquet(file: IO[bytes], rows: Iterator[Values], columns: Sequence[Column]) -> None:
    import pyarrow as pa  # a third of a second that only those wait for who write Parquet
    import pyarrow.parquet as pq

    single = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}

    def to_type(column: Column) -> Any:
        kind = pa.float32() if column.shape else single[column.kind]
        for length in reversed(column.shape):
            kind = pa.list_(kind, length)
        return kind

    schema = pa.schema([(column.name, to_type(column)) for column in columns])
    texts = [column.name for column in columns if column.kind == "text"]
    with pq.ParquetWriter(file, schema, use_dictionary=texts) as writer:
        while group := list(islice(rows, _ROWS_AT_ONCE)):
            values = [
                pa.array([value.tolist() if np.ndim(value) > 1 else value for value in column], kind)
                for column, kind in zip(zip(*group, strict=True), schema.types, strict=True)
            ]
            writer.write_table(pa.table(values, schema))


def _write_csv(file: IO[bytes], rows: Iterator[Values], columns: Sequence[Column]) -> None:
    writer = csv.writer(codecs.getwriter("utf-8")(file), lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_to_cell(value) for value in row])


def _to_cell(value: Any) -> Any:
    if isinstance(value, str):
        return protect_cell(value)
    return json.dumps(_shorten(value)) if np.ndim(value) else value


def _write_jsonl(file: IO[bytes], rows: Iterator[Values], columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    for row in rows:
        values = [_shorten(value) if np.ndim(value) else value for value in row]
        line = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False, allow_nan=False)
        file.write(f"{line}\n".encode())


def _write_npz(file: IO[bytes], rows: Iterator[Values], columns: Sequence[Column]) -> None:
    types = {"text": np.str_, "integer": np.int64, "number": np.float64}
    nothing = {"text": "", "integer": -1, "number": np.nan}
    gathered = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = {}
    for column, values in zip(columns, gathered, strict=True):
        null: Any = np.full(column.shape, np.nan, np.float32) if column.shape else nothing[column.kind]
        kind = np.float32 if column.shape else types[column.kind]
        filled: npt.NDArray[Any] = np.array([null if value is None else value for value in values], kind)
        arrays[column.name] = filled.reshape(len(values), *column.shape)
    np.savez(file, allow_pickle=False, **arrays)


def _shorten(array: npt.NDArray[np.float32]) -> Any:
    """Nested lists with no more digits than float32 needs to come back exactly."""
    if array.ndim > 1:
        return [_shorten(part) for part in array]
    return [float(f"{value:.9g}") for value in array.tolist()]


_WRITERS: Final[dict[str, Callable[[IO[bytes], Iterator[Values], Sequence[Column]], None]]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".npz": _write_npz,
}
TABLE_SUFFIXES: Final = tuple(_WRITERS)


# A folder of photographs: with a folder of links for each group, or with those that were found.


_STEM_LENGTH: Final = 40  # of a name that gets a number, or it could be too long for the file system


def check_folder(folder: Path) -> None:
    """Raise OutputError now for a folder that `link_groups` or `gather_photos` could not make later."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{str(folder)!r} is there already and not an empty folder; name a new one")
    if not folder.parent.is_dir() or not os.access(folder.parent, os.W_OK):
        raise OutputError(f"cannot write into {str(folder.parent)!r}; make the folder, or choose another place")


def link_groups(folder: Path, groups: Mapping[str, Sequence[Path]]) -> int:
    """Make `folder`, whole or not at all, with a link to each photograph of each group; how many photographs are gone.

    Symbolic links, and copies where the file system has none. Only the owner may look into it. OutputError where it
    is not empty or cannot be made. Photographs by URL have no link.
    """
    gone = 0
    with _whole_folder(folder) as partial:
        for name, photos in groups.items():
            (partial / name).mkdir()
            for photo in dict.fromkeys(photo for photo in photos if not isinstance(photo, RemotePath)):
                gone += not _place(photo.absolute(), partial / name / photo.name, copy=False)
    return gone


def gather_photos(folder: Path, names: Mapping[Path, Path], *, copy: bool) -> int:
    """Make `folder`, whole or not at all, with a link to each photograph, or a copy; how many photographs are gone.

    `names` says what each is called below the folder. Otherwise as `link_groups`; copies keep their time stamps.
    """
    gone = 0
    with _whole_folder(folder) as partial:
        for photo, name in names.items():
            if not isinstance(photo, RemotePath):
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                gone += not _place(photo.absolute(), partial / name, copy=copy)
    return gone


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that takes the place of `folder` when the block ends, and is gone where it fails."""
    check_folder(folder)
    try:
        # mkdtemp gives mode 0700; beside the folder, so that the rename cannot turn into a copy.
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".lightface-"))
        try:
            yield partial
            os.replace(partial, folder)
            flush_entry(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # unless it has been renamed
    except OSError as error:
        raise OutputError(f"cannot make {str(folder)!r} ({error.strerror}); choose another place") from error


def _place(photo: Path, place: Path, *, copy: bool) -> bool:
    """Put a link or a copy at a place, with a number where its name is taken; False where the photograph is gone."""
    if not photo.is_file():
        return False
    free, number = place, 1
    while os.path.lexists(free):  # photographs of one name from different folders
        number += 1
        free = place.with_name(f"{place.stem[:_STEM_LENGTH]} ({number}){place.suffix}")
    try:
        if not copy:
            free.symlink_to(photo)
    except OSError:
        copy = True
    if copy:
        shutil.copy2(photo, free)
    return True
