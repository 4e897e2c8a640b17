"""The search index of one gallery: codes of 8 bits, the file that keeps them, and how they keep step with the store."""

from __future__ import annotations

import functools
import json
import logging
import zlib
from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from lightface.files import check_owned, open_regular, write_private
from lightface.matching import mean_templates
from lightface.records import FloatArray, IntArray

_log = logging.getLogger(__name__)

# From so many people on a search by codes is no slower than one among all templates in memory (`scripts/bench search`
# compares the two). Below, reading all samples takes a fraction of a second, so that no codes need be kept in a file.
PAYS_FROM: Final = 20_000

_PEOPLE_AT_ONCE: Final = 20_000  # while an index is made: some 20 MB for each sample that they have
_NO_ROWS: Final = np.empty(0, np.int64)


class IndexedStore(Protocol):
    """What an index asks of its store; methods as in `GalleryStore` where they have the same name."""

    def version(self) -> Hashable: ...
    def created_at(self) -> datetime: ...
    def setting(self, name: str) -> str | None: ...
    def embedding_size(self) -> int | None: ...
    def vectors(self, person_ids: Collection[int] | None = None) -> tuple[FloatArray, IntArray]: ...

    def rewritten(self) -> str:
        """A token that is another one after each change of samples but their addition."""

    def newest_sample(self, *, up_to: int | None = None) -> tuple[int, str] | None:
        """The sample with the highest id, of those with no higher one than `up_to`: its id, and what else tells it."""

    def people_since(self, sample_id: int) -> list[int]:
        """The ids, ascending, of the people with samples of a higher id."""


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot:
    """The index of what a store held at one moment: its greater part as a cache has it, and what has come since."""

    source: IndexSource | None  # of the greater part; None: nobody is enrolled
    cached: Codes
    replaced: IntArray  # rows of `cached` whose people have new samples
    fresh: Codes


class PeopleIndex:
    """Finds the people nearest to a face. Reads no more of the store than has changed since it last looked.

    The file at `path` is never anything but a cache: one that is missing, stale or damaged is made anew, and where
    none can be written the search goes on without. None: no file is wanted.
    """

    def __init__(self, store: IndexedStore, path: Path | None) -> None:
        self._store = store
        self._path = path
        self._snapshot: _Snapshot | None = None
        self._version: Hashable = None
        self.is_new = False  # the file was written by this very object, and waits for `settle`

    def people_near(self, probes: FloatArray, k: int) -> list[int]:
        """Ids, ascending, of people who include the `k` nearest of each unit row of `probes` (P, D).

        To be called inside the store's `reading()`; raises what the store does.
        """
        version = self._store.version()
        if self._snapshot is None or self._version != version:
            self._snapshot, self._version = self._look(), version
        parts = ((self._snapshot.cached, self._snapshot.replaced), (self._snapshot.fresh, _NO_ROWS))
        found = [codes.person_ids[find_near(codes, probes, k, leave_out=rows)] for codes, rows in parts if len(codes)]
        return sorted(np.concatenate([_NO_ROWS, *found]).tolist())

    def settle(self) -> None:
        """Delete the file where it was written while somebody took samples away.

        To be called inside `reading()`, but not the one in which it was written.
        """
        self.is_new = False
        source = self._snapshot.source if self._snapshot else None
        if self._path is not None and (source is None or source.gallery != self._describe_gallery()):
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _look(self) -> _Snapshot:
        if self._snapshot is not None and (renewed := self._renew(self._snapshot.source, self._snapshot.cached)):
            return renewed
        if self._path is not None and (read := read_index(self._path)) and (renewed := self._renew(*read)):
            return renewed
        return self._make()

    def _renew(self, source: IndexSource | None, cached: Codes) -> _Snapshot | None:
        """What was known, with what has come since; None where more has happened than additions."""
        if source is None or source.gallery != self._describe_gallery():
            return None
        if self._store.newest_sample(up_to=source.newest_id) != (source.newest_id, source.newest):
            return None  # of another branch of the gallery's history: a copy was restored
        changed = np.array(self._store.people_since(source.newest_id), np.int64)
        if len(changed) > max(1000, len(cached) // 50):
            return None
        return _Snapshot(source, cached, cached.rows_of(changed), self._encode(changed))

    def _make(self) -> _Snapshot:
        newest = self._store.newest_sample()
        if newest is None:
            return _Snapshot(None, Codes.none(), _NO_ROWS, Codes.none())
        source = IndexSource(self._describe_gallery(), *newest)
        person_ids = np.array(self._store.people_since(0), np.int64)
        codes = self._file(self._path, source, person_ids) if self._path and len(person_ids) >= PAYS_FROM else None
        return _Snapshot(source, self._encode(person_ids) if codes is None else codes, _NO_ROWS, Codes.none())

    def _file(self, path: Path, source: IndexSource, person_ids: IntArray) -> Codes | None:
        """The codes by way of the file; None where none can be kept."""
        _log.info("making the search index %s, %d people", path, len(person_ids))
        size = self._store.embedding_size() or 0
        try:
            write_index(path, source, (len(person_ids), size), self._encode_parts(person_ids))
        except (OSError, ValueError) as error:  # a full disk, a folder that is not ours
            _log.info("no search index is kept: %s", error)
            return None
        self.is_new = True
        read = read_index(path)
        return read[1] if read is not None and read[0] == source else None

    def _encode(self, person_ids: IntArray) -> Codes:
        parts = list(self._encode_parts(person_ids))
        if not parts:
            return Codes.none()
        names = ("person_ids", "values", "steps", "errors")
        return Codes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _encode_parts(self, person_ids: IntArray) -> Iterator[Codes]:
        for start in range(0, len(person_ids), _PEOPLE_AT_ONCE):
            vectors, person_of_vector = self._store.vectors(person_ids[start : start + _PEOPLE_AT_ONCE].tolist())
            present, first_vectors = np.unique(person_of_vector, return_index=True)
            yield encode(present, mean_templates(vectors, first_vectors))

    def _describe_gallery(self) -> str:
        store = self._store
        return json.dumps([store.created_at().isoformat(), store.setting("model_id"), store.rewritten()])


# Who can be among the people nearest to a face, told from codes of 8 bits: a quarter of what the rows take to read.
#
# A person is scored by the cosine between a probe and their template, the normalised mean of their samples. A code's
# score comes with a bound on its error, so that nobody who belongs to the nearest is missed: what is found here is a
# superset of them, some tens of people, whose samples are then compared exactly. The codes decide about time only,
# never about the result.
#
# With a row x = s c + e (c its code, s its step) and a probe q = t d + f, the score s t (c . d) differs from q . x by
# f . (s c) + q . e, hence by no more than |f| |s c| + |q| |e| (Cauchy and Schwarz).


CodeArray = npt.NDArray[np.int8]

_TOP_CODE: Final = 127
_SCORES_AT_ONCE: Final = 16_000_000  # 64 MB
_PROBES_AT_ONCE: Final = 16
_RUN: Final = 64  # rows of which only the best is asked for when the k-th highest is looked for

# More than float32 can add to an error: in scaling a product, and in a template that was normalised.
_ROUNDING: Final = np.float32(1e-5)


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """People's templates in 8 bits, each with a step of its own."""

    person_ids: IntArray  # (K,) int64, ascending
    values: CodeArray  # (K, D), -127..127
    steps: FloatArray  # (K,) float32: a row is about its step times its values
    errors: FloatArray  # (K,) float32: the length of what is missing from that, or a little more

    def __len__(self) -> int:
        return len(self.person_ids)

    @classmethod
    def none(cls) -> Self:
        """Of nobody."""
        numbers = np.empty(0, np.float32)
        return cls(np.empty(0, np.int64), np.empty((0, 0), np.int8), numbers, numbers)

    def rows_of(self, person_ids: IntArray) -> IntArray:
        """The rows (N,) of those people who are among these."""
        return np.flatnonzero(np.isin(self.person_ids, person_ids))


def encode(person_ids: IntArray, templates: FloatArray) -> Codes:
    """Codes of (K, D) float32 rows of length 1, or 0."""
    steps = (np.abs(templates).max(axis=1) / np.float32(_TOP_CODE)).astype(np.float32)
    values = np.rint(templates / np.where(steps > 0, steps, np.float32(1))[:, None])
    values = np.clip(values, -_TOP_CODE, _TOP_CODE).astype(np.int8)
    # The length of a difference is right to some 1e-7 in float32; it is rounded up by more than that.
    errors = np.linalg.norm(templates - values * steps[:, None], axis=1) * np.float32(1.0001) + np.float32(1e-6)
    return Codes(person_ids, values, steps, errors.astype(np.float32))


def find_near(codes: Codes, probes: FloatArray, k: int, *, leave_out: IntArray) -> IntArray:
    """Rows (N,) that include the `k` nearest, or all where there are fewer, of each unit row of `probes` (P, D).

    `leave_out` are rows that are not to be found.
    """
    found = [np.empty(0, np.int64)]
    for lowest, highest in _bounds(codes, probes):
        lowest[leave_out] = highest[leave_out] = -np.inf
        found.append(np.flatnonzero((highest >= _kth_highest(lowest, k)) & (highest > -np.inf)))
    return np.unique(np.concatenate(found))


def _bounds(codes: Codes, probes: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """For each probe, the lowest and the highest (K,) that each row's score can be."""
    at_once = max(1, min(_PROBES_AT_ONCE, _SCORES_AT_ONCE // max(1, len(codes))))
    for start in range(0, len(probes), at_once):
        part = probes[start : start + at_once]
        coded = encode(np.arange(len(part)), part)
        products = _multiply(codes.values, coded.values)
        for probe, row, step, error in zip(part, products, coded.steps, coded.errors, strict=True):
            scores = row.astype(np.float32)
            scores *= codes.steps
            scores *= step
            slack = codes.errors * (np.linalg.norm(probe) + error)
            slack += error * np.float32(1.01) + _ROUNDING  # |s c| <= |x| + |e|, and this is for |x|
            yield scores - slack, scores + slack


def _multiply(rows: CodeArray, probes: CodeArray) -> npt.NDArray[np.int32] | FloatArray:
    """Products (P, K) of codes, without an error."""
    if rows.shape[1] > 1 and _multiplies_exactly():  # of rows of one number torch makes anything
        import torch  # not at the top: most work on a gallery does without

        # numpy has no fast product of 8-bit integers.
        columns = torch.from_numpy(np.ascontiguousarray(probes.T))
        found: npt.NDArray[np.int32] = torch._int_mm(torch.from_numpy(rows), columns).numpy()
        return np.ascontiguousarray(found.T)
    products = np.empty((len(probes), len(rows)), np.float32)  # which has all integers up to 2^24, 1040 x 127 x 127
    for start in range(0, len(rows), 8192):
        part = slice(start, start + 8192)
        products[:, part] = probes.astype(np.float32) @ rows[part].T.astype(np.float32)
    return products


@functools.cache
def _multiplies_exactly() -> bool:
    """Whether torch multiplies 8-bit integers here, and without clipping sums to 16 bits as some processors do."""
    import torch

    extreme = np.full((64, 256), _TOP_CODE, np.int8)
    extreme[1::2] = -_TOP_CODE
    try:
        products = torch._int_mm(torch.from_numpy(extreme), torch.from_numpy(extreme[:16].T.copy())).numpy()
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return np.array_equal(products, extreme.astype(np.int32) @ extreme[:16].T.astype(np.int32))


def _kth_highest(scores: FloatArray, k: int) -> float:
    """At most the `k`-th highest, and near it; -inf where there are no more than `k`."""
    runs = len(scores) // _RUN
    if runs > k:  # the best of each run are k different rows, and quickly found
        scores = scores[: runs * _RUN].reshape(runs, _RUN).max(axis=1)
    return float(np.partition(scores, -k)[-k]) if len(scores) > k else -np.inf


# The file that keeps a gallery's codes for the next search: a cache, never the truth.
#
#     bytes 0..4095      MAGIC, then a JSON object: what the codes were made of, their shape, a checksum for each array
#     then               person ids (K,) int64; steps (K,) float32; errors (K,) float32; values (K, D) int8
#
# All little-endian. The header is written last, so that a file which was never finished has none.


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
