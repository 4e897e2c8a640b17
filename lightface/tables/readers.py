"""Read a face table back, in each of the forms that `write_faces` writes.

A table may have been made or changed by other programs: columns that lightface does not know are passed over, and all
but `image_path`, `embedding` and `model_id` may be missing. What stands in a known column must be what belongs there.

A small file may hold much: a column of one value takes some bytes, however many rows there are. So tables are read in
batches, and what they would take is held against their size.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lightface.errors import TableError
from lightface.files import CsvRows, check_regular, open_regular, open_text, text_lines
from lightface.locations import RemotePath, as_path, list_files, named_in
from lightface.records import Status, are_unit_rows
from lightface.tables.rows import FACE_COLUMNS, Column, FaceRow, unprotect_cell
from lightface.words import decode_text

_REQUIRED: Final = ("image_path", "embedding", "model_id")
_ROWS_AT_ONCE: Final = 4096

# The memory that the rows of a table may take: so many bytes, and beyond them so many times the size of its file. Rows
# without a face grow the most, from some ten bytes in Parquet to 500 here.
_FREE_BYTES: Final = 128_000_000
_MOST_GROWTH: Final = 50
_ROW_BYTES: Final = 500
_LONGEST_TEXT: Final = 1 << 16  # bytes; no path or name comes near it

# What the parsers raise on damaged files.
_UNREADABLE: Final = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, SyntaxError, MemoryError),
    *(csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)

Cells = Mapping[str, Any]  # of one row, by column; None where it is null


def read_faces(path: Path | str) -> list[FaceRow]:
    """The rows of a face table: .parquet, .csv, .jsonl or .npz, or a folder of Parquet parts; some 3 KB a face.

    By URL too, see `lightface.locations.to_path`.

    TableError for one that is missing, unreadable or no face table; the message names the row. RemoteError for a URL
    that does not answer.
    """
    path = as_path(path)
    is_folder = path.suffix.lower() not in _READERS if isinstance(path, RemotePath) else path.is_dir()
    with _translated_errors(path):
        files = find_parts(path) if is_folder else [path]
    return [row for file in files for row in _read_file(file)]


def _read_file(path: Path) -> list[FaceRow]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None and not path.exists():
        raise TableError(f"{str(path)!r} does not exist; check the path")
    if reader is None:
        raise TableError(f"{str(path)!r} is no face table; it would end in one of {', '.join(_READERS)}")
    rows: list[FaceRow] = []
    with _translated_errors(path), _on_this_machine(path) as file:
        check_regular(file)
        size = file.stat().st_size
        for number, cells in enumerate(reader(file), start=1):
            _check_growth(size, number * _ROW_BYTES)
            rows.append(_to_row(cells, f"{path}, face {number}", path))
    return rows


def read_parquet_rows(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]], *, row_bytes: int = 0
) -> Iterator[Cells]:
    """The rows of a Parquet file, of the columns that are chosen among those that there are, a batch in memory.

    `row_bytes` is what the caller keeps of each.

    Raises OSError, and ValueError for one that is damaged, or would take far more memory than its size lets expect.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with open_regular(path) as opened:  # pyarrow opens no path that is no UTF-8
            metadata = pq.read_metadata(opened)
            names = list(choose(metadata.schema.to_arrow_schema().names))
            _check_growth(path.stat().st_size, _unpacked_bytes(metadata, names) + row_bytes * metadata.num_rows)
            columns = map(metadata.schema.column, range(metadata.num_columns))
            texts = [one.path for one in columns if one.physical_type == "BYTE_ARRAY" and one.path in names]
            # A text that comes again and again stays one until it is looked at.
            with pq.ParquetFile(opened, metadata=metadata, read_dictionary=texts) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
                    for column in batch.columns:
                        if pa.types.is_dictionary(column.type):
                            _check_text(pc.max(pc.binary_length(column.dictionary)).as_py())
                    yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _unpacked_bytes(metadata: Any, names: Sequence[str]) -> int:
    """The bytes that the columns of these names take when they are decoded, as the file says."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    wanted = (column for column in columns if column.path_in_schema.split(".")[0] in names)
    return sum(max(int(column.total_uncompressed_size), 8 * int(column.num_values)) for column in wanted)


def _check_growth(size: int, unpacked: int) -> None:
    allowed = _FREE_BYTES + _MOST_GROWTH * size
    if unpacked > allowed:
        raise ValueError(
            f"it would take more than {unpacked / 1e6:,.0f} MB of memory, and a table of {size:,} bytes may take "
            f"{allowed / 1e6:,.0f} MB"
        )


def _check_text(longest: int | None) -> None:
    if longest is not None and longest > _LONGEST_TEXT:
        raise ValueError(f"a text has {longest:,} bytes, and may have {_LONGEST_TEXT:,}")


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
    return read_parquet_rows(path, _check_columns, row_bytes=_ROW_BYTES)


def _read_csv(path: Path) -> Iterator[Cells]:
    arrays = {column.name for column in FACE_COLUMNS if column.shape}
    texts = {column.name for column in FACE_COLUMNS if column.kind == "text"}
    with open_text(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark
        reader = CsvRows(file, strict=True)
        names = _check_columns(reader.names)
        for row in reader:
            cells = {name: row[name] or None for name in names}
            yield {
                name: cell and (json.loads(cell) if name in arrays else unprotect_cell(cell) if name in texts else cell)
                for name, cell in cells.items()
            }


def _read_jsonl(path: Path) -> Iterator[Cells]:
    with open_text(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(text_lines(file), start=1):
            if line.strip():
                cells = json.loads(line)
                if not isinstance(cells, dict):
                    raise ValueError(f"line {number} is no object")
                _check_columns(cells)
                yield cells


def _read_npz(path: Path) -> Iterator[Cells]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no NPZ file")
    with np.load(path, allow_pickle=False) as file:
        names = _check_columns(file.files)
        sizes: list[int] = [file.zip.getinfo(f"{name}.npy").file_size for name in names]
        _check_growth(path.stat().st_size, sum(sizes))
        columns = [column for column in FACE_COLUMNS if column.name in names]
        arrays = {column.name: _load_array(file, column) for column in columns}
    lengths = {len(array) if array.ndim else -1 for array in arrays.values()}
    if len(lengths) != 1:
        raise ValueError("its columns are of different lengths")
    for place in range(lengths.pop()):
        yield {column.name: _from_npz(arrays[column.name][place], column) for column in columns}


def _load_array(file: Any, column: Column) -> npt.NDArray[Any]:
    """ValueError for one that is damaged, of objects or of another type than the column."""
    try:
        array: npt.NDArray[Any] = file[column.name]
    except _UNREADABLE as error:  # numpy's own words advise to unpickle what is in it
        raise ValueError(f"its column {column.name} is damaged, or of objects") from error
    if array.dtype.kind not in ("U" if column.kind == "text" and not column.shape else "fiu"):
        raise ValueError(f"its column {column.name} is of the type {array.dtype}")
    return array


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
        _check_text(len(cell))
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
    if column.name == "embedding" and not are_unit_rows(array[np.newaxis]):
        raise ValueError("the embedding has not length 1")
    return array


_READERS: Final[dict[str, Callable[[Path], Iterator[Cells]]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".npz": _read_npz,
}


# A face table as a folder of Parquet parts, on this machine or by URL.


COMPLETE: Final = "_SUCCESS"  # the last file to be written, as by Hadoop and Spark
_PART: Final = re.compile(r"faces-\d{5,}\.parquet")


def part_name(number: int) -> str:
    """The file name of a part; the first is number 0."""
    return f"faces-{number:05}.parquet"


def list_parts(folder: Path) -> dict[str, Path]:
    """The parts, and the mark of a complete table, by name, as they are now; none where there is no such folder by URL.

    Raises OSError where a folder on this machine cannot be read, RemoteError where a place does not answer.
    """
    if isinstance(folder, RemotePath):
        files: list[Path] = [*list_files(folder, recursive=False, may_be_missing=True)]
    else:
        files = list(folder.iterdir())
    return {file.name: file for file in files if file.name == COMPLETE or _PART.fullmatch(file.name)}


def holds_parts(folder: Path) -> bool:
    """Whether there is a part of a table in a folder; False for one that cannot be read."""
    try:
        return any(name != COMPLETE for name in list_parts(folder))
    except OSError:
        return False


def find_parts(folder: Path) -> list[Path]:
    """The parts of a complete table, in their order.

    Raises TableError where there are none or not all of them, and as `list_parts`.
    """
    parts = list_parts(folder)
    is_complete = parts.pop(COMPLETE, None) is not None
    if not parts:
        raise TableError(f"there is no face table in {str(folder)!r}; name one that 'lightface embed' wrote")
    if not is_complete:
        raise TableError(
            f"the face table in {str(folder)!r} is not complete; wait for 'lightface embed', or run it again"
        )
    return [parts[name] for name in sorted(parts, key=lambda name: (len(name), name))]
