"""The search index of one gallery, kept in step with its store."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from lightface.faces import FloatArray
from lightface.gallery.index import Codes, encode, find_near
from lightface.gallery.index_file import IndexSource, read_index, write_index
from lightface.gallery.records import IntArray
from lightface.matching import mean_templates

_log = logging.getLogger(__name__)

# From so many people on the codes are kept in a file: below, reading all samples takes a fraction of a second.
FILED_FROM: Final = 20_000

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
        codes = self._file(self._path, source, person_ids) if self._path and len(person_ids) >= FILED_FROM else None
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
