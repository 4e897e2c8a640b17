"""Read a face table back, in each of the forms that `write_faces` writes.

A table may have been made or changed by other programs: columns that lightface does not know are passed over, and all
but `image_path`, `embedding` and `model_id` may be missing. What stands in a known column must be what belongs there.
"""

from __future__ import annotations

import csv
import json
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lightface.errors import TableError
from lightface.faces import Status
from lightface.remote import RemotePath, named_in
from lightface.reports.parts import find_parts
from lightface.reports.rows import FACE_COLUMNS, Column, FaceRow, unprotect_cell
from lightface.words import decode_text

_REQUIRED: Final = ("image_path", "embedding", "model_id")
_UNIT_TOLERANCE: Final = 1e-3  # of an embedding's length; rows made in half precision are this far off
_ROWS_AT_ONCE: Final = 4096

# What the parsers raise on damaged files.
_UNREADABLE: Final = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, SyntaxError),
    *(csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)

Cells = Mapping[str, Any]  # of one row, by column; None where it is null


def read_faces(path: Path) -> list[FaceRow]:
    """The rows of a face table: .parquet, .csv, .jsonl or .npz, or a folder of Parquet parts; some 3 KB a face.

    By URL too, see `lightface.remote.to_path`.

    TableError for one that is missing, unreadable or no face table; the message names the row. RemoteError for a URL
    that does not answer.
    """
    is_folder = path.suffix.lower() not in _READERS if isinstance(path, RemotePath) else path.is_dir()
    with _translated_errors(path):
        files = find_parts(path) if is_folder else [path]
    return [row for file in files for row in _read_file(file)]


def _read_file(path: Path) -> list[FaceRow]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise TableError(f"{str(path)!r} is no face table; it would end in one of {', '.join(_READERS)}")
    with _translated_errors(path), _on_this_machine(path) as file:
        return [_to_row(cells, f"{path}, face {number}", path) for number, cells in enumerate(reader(file), start=1)]


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise TableError(f"cannot read {str(path)!r} ({reason}); give a table that 'lightface embed' wrote") from error


@contextmanager
def _on_this_machine(path: Path) -> Iterator[Path]:
    """The file itself, or a copy of it for as long as it is read."""
    if not isinstance(path, RemotePath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(path.read_bytes())
        yield copy


def _read_parquet(path: Path) -> Iterator[Cells]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # pyarrow opens no path that is no UTF-8.
        with path.open("rb") as opened, pq.ParquetFile(opened) as file:
            names = _check_columns(file.schema_arrow.names)
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _read_csv(path: Path) -> Iterator[Cells]:
    arrays = {column.name for column in FACE_COLUMNS if column.shape}
    texts = {column.name for column in FACE_COLUMNS if column.kind == "text"}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        names = _check_columns(reader.fieldnames or ())
        for row in reader:
            cells = {name: row[name] or None for name in names}
            yield {
                name: cell and (json.loads(cell) if name in arrays else unprotect_cell(cell) if name in texts else cell)
                for name, cell in cells.items()
            }


def _read_jsonl(path: Path) -> Iterator[Cells]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                cells = json.loads(line)
                if not isinstance(cells, dict):
                    raise ValueError(f"line {number} is no object")
                _check_columns(cells)
                yield cells


def _read_npz(path: Path) -> Iterator[Cells]:
    with np.load(path, allow_pickle=False) as file:
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        arrays = {name: file[name] for name in _check_columns(file.files)}
    lengths = {len(array) if array.ndim else -1 for array in arrays.values()}
    if len(lengths) != 1:
        raise ValueError("its columns are of different lengths")
    columns = [column for column in FACE_COLUMNS if column.name in arrays]
    for place in range(lengths.pop()):
        yield {column.name: _from_npz(arrays[column.name][place], column) for column in columns}


def _from_npz(value: Any, column: Column) -> Any:
    """Null is NaN in numbers, -1 in integers, "" in texts."""
    if column.shape:
        return None if np.isnan(value).all() else value
    plain = value.item()
    return None if plain == "" or plain != plain or (column.kind == "integer" and plain == -1) else plain


def _check_columns(names: Any) -> list[str]:
    """The columns that lightface knows, of those that are there."""
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r}")
    return [column.name for column in FACE_COLUMNS if column.name in names]


def _to_row(cells: Cells, place: str, table: Path) -> FaceRow:
    try:
        values = {column.name: _convert(cells.get(column.name), column) for column in FACE_COLUMNS}
    except (TypeError, ValueError, OverflowError) as error:
        raise TableError(f"{place}: {error}; write the table again with 'lightface embed'") from error
    if values["image_path"] is None:
        raise TableError(f"{place}: there is no image_path; write the table again with 'lightface embed'")
    has_face = values["embedding"] is not None
    if has_face and values["model_id"] is None:
        raise TableError(f"{place}: an embedding without model_id cannot be compared; write the table again")
    status = Status(values["status"] or (Status.EMBEDDED if has_face else Status.ERROR))
    bbox = None if values["bbox"] is None else tuple(values["bbox"].tolist())
    return FaceRow(**{**values, "image_path": named_in(table, values["image_path"]), "bbox": bbox, "status": status})


def _convert(cell: Any, column: Column) -> Any:
    if cell is None:
        return None
    if column.shape:
        return _to_array(cell, column)
    if column.kind == "text":
        if not isinstance(cell, str):
            raise ValueError(f"{column.name} is {cell!r}, no text")
        if column.name == "status":
            return Status(cell)
        return decode_text(cell)
    number = float(cell)
    if not np.isfinite(number):
        raise ValueError(f"{column.name} is {cell!r}, no number")
    return int(number) if column.kind == "integer" else number


def _to_array(cell: Any, column: Column) -> npt.NDArray[np.float32]:
    array = np.asarray(cell, np.float32)
    if array.shape != column.shape or not np.isfinite(array).all():
        raise ValueError(f"{column.name} is not {' x '.join(map(str, column.shape))} numbers")
    if column.name == "embedding" and abs(float(np.linalg.norm(array.astype(np.float64))) - 1) > _UNIT_TOLERANCE:
        raise ValueError("the embedding has not length 1")
    return array


_READERS: Final[dict[str, Callable[[Path], Iterator[Cells]]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".npz": _read_npz,
}
