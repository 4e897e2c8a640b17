"""The file that keeps a gallery's codes for the next search: a cache, never the truth.

    bytes 0..4095      MAGIC, then a JSON object: what the codes were made of, their shape, a checksum for each array
    then               person ids (K,) int64; steps (K,) float32; errors (K,) float32; values (K, D) int8

All little-endian. The header is written last, so that a file which was never finished has none.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from lightface.files import check_owned, open_regular, write_private
from lightface.gallery.index import Codes

_MAGIC: Final = b"lightface index 1\n"
_HEADER_BYTES: Final = 4096
_ARRAYS: Final = (("person_ids", "<i8"), ("steps", "<f4"), ("errors", "<f4"), ("values", "i1"))


@dataclass(frozen=True, slots=True)
class IndexSource:
    """The contents of a gallery that an index was made of."""

    gallery: str  # date of the gallery's making, its model, and a token of the last change that was no addition
    newest_id: int  # the highest id among its samples
    newest: str  # more of that sample, for ids alone come again in a gallery that was restored


def write_index(path: Path, source: IndexSource, shape: tuple[int, int], parts: Iterable[Codes]) -> None:
    """Write the codes of K people, D numbers each, `shape` (K, D), which come in `parts` by rising id.

    Owner-only and whole or not at all. Raises OSError and ValueError as `write_private`.
    """
    sections = _lay_out(shape)
    with write_private(path) as file:
        row, checksums = 0, dict.fromkeys(sections, 0)
        for codes in parts:
            for name, (offset, dtype, row_bytes) in sections.items():
                data = np.ascontiguousarray(getattr(codes, name), dtype).tobytes()
                file.seek(offset + row * row_bytes)
                file.write(data)
                checksums[name] = zlib.crc32(data, checksums[name])
            row += len(codes)
        file.seek(0)
        file.write(_MAGIC + json.dumps({"source": asdict(source), "shape": shape, "checksums": checksums}).encode())


def read_index(path: Path) -> tuple[IndexSource, Codes] | None:
    """What `write_index` has left, mapped into memory; None where there is nothing, or nothing whole."""
    try:
        check_owned(path)
        with open_regular(path) as file:
            return _read(file)
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError):  # of any bytes
        return None


def _read(file: IO[bytes]) -> tuple[IndexSource, Codes] | None:
    head = file.read(_HEADER_BYTES)
    if not head.startswith(_MAGIC):
        return None
    header = json.loads(head.removeprefix(_MAGIC).rstrip(b"\0"))
    rows, size = header["shape"]
    # Copy-on-write, for torch wants arrays that it might write to; nobody does.
    mapped = np.memmap(file, np.uint8, mode="c")
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, (offset, dtype, row_bytes) in _lay_out((rows, size)).items():
        array = np.asarray(mapped[offset : offset + rows * row_bytes])
        if len(array) != rows * row_bytes or zlib.crc32(array) != header["checksums"][name]:  # type: ignore[arg-type]
            return None
        arrays[name] = array.view(dtype)
    arrays["values"] = arrays["values"].reshape(rows, size)
    return IndexSource(**header["source"]), Codes(**arrays)


def _lay_out(shape: tuple[int, int]) -> dict[str, tuple[int, np.dtype[Any], int]]:
    """Where each array begins, its numbers, and the bytes of a row."""
    rows, size = shape
    offset, sections = _HEADER_BYTES, {}
    for name, kind in _ARRAYS:
        dtype = np.dtype(kind)
        row_bytes = dtype.itemsize * (size if name == "values" else 1)
        offset += -offset % 64  # as processors like to load
        sections[name] = (offset, dtype, row_bytes)
        offset += rows * row_bytes
    return sections
