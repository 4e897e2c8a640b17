"""The embedded store of a gallery: one SQLite file."""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import time
from array import array
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from lightface.databases import ReadBudget, transaction
from lightface.errors import GalleryError, LockedGalleryError, OutputError
from lightface.faces import FloatArray, are_unit_rows
from lightface.gallery.copying import reseal_records
from lightface.gallery.records import LARGEST_ID, FaceSample, IntArray, Person
from lightface.gallery.rows import to_int
from lightface.gallery.sealed_rows import SEALING, codec_of
from lightface.gallery.sql_store import SAMPLE_VALUES, SqlStore
from lightface.gallery.sqlite_file import connect, describe_damage, translated_errors

if TYPE_CHECKING:
    from lightface.gallery.people_index import PeopleIndex
    from lightface.gallery.sealing import Sealing

_log = logging.getLogger(__name__)

BUSY_TIMEOUT_S: Final = 30.0  # how long to wait for other processes

_SCRUB_OWED: Final = "scrub_owed"  # the setting that stands from a deletion until its traces are gone
_HIGHEST_ID: Final = 2**63 - 1
_REWRITTEN: Final = "rewritten"  # the setting that is another one after each change of samples but their addition


class SqliteStore(SqlStore):
    """A `GalleryStore` in one SQLite file with a write-ahead log beside it."""

    _TEXT = "CAST(? AS TEXT)"  # lets the undecodable bytes of a file name into a text column

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__()
        self._connection = connection
        self._budget = ReadBudget(connection, path)
        self._path = path
        self._index_path = Path(f"{path}.index")
        self._index: PeopleIndex | None = None
        self._is_rewriting = False

    @property
    def location(self) -> str:
        return str(self._path)

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self.alone():
            with translated_errors(self._path), transaction(self._connection, "BEGIN"):
                self._check_sealing()
                yield
            if self._index is not None and self._index.is_new:
                with translated_errors(self._path), transaction(self._connection, "BEGIN"):
                    self._index.settle()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self.alone():
            self._is_rewriting = False
            sealing = self.sealing
            is_outdated = sealing is not None and sealing.is_outdated
            try:
                with translated_errors(self._path), transaction(self._connection):
                    self._query("UPDATE setting SET value = value + 1 WHERE name = 'revision'")
                    self._check_sealing()
                    if sealing is not None and is_outdated:
                        reseal_records(self, sealing.up_to_date())
                    yield
            except BaseException:
                self.use(sealing)  # what `reseal` has done was undone as well
                raise
            if self._is_rewriting:
                self.delete_index()
            if is_outdated:
                _log.warning("%s is encrypted anew: an earlier lightface does not open it any more", self._path)
                with suppress(GalleryError):  # it is no more than what the same key opens; the next opening tries again
                    self.scrub()

    @contextmanager
    def logging(self) -> Iterator[None]:
        with self.alone(), translated_errors(self._path), transaction(self._connection):
            yield

    def version(self) -> Hashable:
        return self.setting("created_at"), self.setting("revision")

    def size_bytes(self) -> int:
        size = 0
        for path in (self._path, Path(f"{self._path}-wal")):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    @property
    def sealing(self) -> Sealing | None:
        return self._codec.sealing

    def reseal(self, sealing: Sealing | None) -> None:
        assert sealing is None or not sealing.is_outdated
        before, people, thresholds = self.sealing, self.people(), self.thresholds()
        names = [str(name) for (name,) in self._query("SELECT name FROM setting WHERE name <> ?", (SEALING,))]
        settings = {name: self.setting(name) for name in names}
        if people or thresholds:
            self._erasing()
            self._rewriting()
        self.delete_thresholds()
        for person in people:
            self.use(before)
            samples = list(self.samples(person.id))
            self.use(sealing)
            self.update_person(person)
            for sample in samples:
                self._rewrite_sample(sample)
        self.use(sealing)
        for threshold in thresholds:
            self.put_threshold(threshold)
        for name, value in settings.items():
            if value is not None:
                self.set_setting(name, value)
        if sealing is None:
            self.delete_setting(SEALING)
        else:
            self.set_setting(SEALING, sealing.header)

    @property
    def beyond_reach(self) -> str | None:
        return None

    def scrub(self) -> None:
        with self.alone():
            token = self.setting(_SCRUB_OWED)
            if token is None:
                return
            try:
                if [row[0] for row in self._query("PRAGMA quick_check(1)")] != ["ok"]:
                    raise self._damage("its pages are not in order")  # VACUUM would copy them without end
                self._query("VACUUM")  # drops the pages that secure_delete has zeroed, and slack inside the others
                self._empty_log()
                with self.logging():  # by its token, for another process may have deleted more by now
                    self._query("DELETE FROM setting WHERE name = ? AND value = ?", (_SCRUB_OWED, token))
            except (GalleryError, OutputError) as error:
                reason = error.__cause__ or error  # SQLite's own, for "nothing was changed" would be wrong here
                raise GalleryError(
                    f"{self._path}: done, but traces stay until the gallery is next opened ({reason})"
                ) from error

    def vectors(self, person_ids: Collection[int] | None = None) -> tuple[FloatArray, IntArray]:
        query = f"SELECT {self._codec.vector_columns} FROM sample"
        if person_ids is not None:
            wanted = (json.dumps(list(person_ids)),)
            self._check_owners("json_each(?)", "value", wanted)
            query = f"{query} WHERE person_id IN (SELECT value FROM json_each(?)) ORDER BY person_id, id"
            return self._to_vectors(self._stream(query, wanted))
        self._check_owners("sample", "person_id")
        return self._to_vectors(self._stream(f"{query} ORDER BY person_id, id"))

    def embedding_size(self) -> int | None:
        with self.alone():
            query = f"SELECT {self._codec.vector_columns} FROM sample LIMIT 1"
            found = self._first(query, (), self._codec.decode_vector)
        return None if found is None else len(found[1]) // 4

    def people_near(self, probes: FloatArray, k: int) -> list[int]:
        if self._index is None:
            from lightface.gallery.people_index import PeopleIndex  # which most work on a gallery does without

            self._index = PeopleIndex(self, self._index_path if self.sealing is None else None)
        return self._index.people_near(probes, k)

    def people_since(self, sample_id: int) -> list[int]:
        query = "SELECT DISTINCT person_id FROM sample WHERE id > ? ORDER BY person_id"
        return self._read(query, (sample_id,), to_int)

    def newest_sample(self, *, up_to: int | None = None) -> tuple[int, str] | None:
        query = "SELECT id, created_at || ' ' || image_sha256 FROM sample WHERE id <= ? ORDER BY id DESC LIMIT 1"
        highest = _HIGHEST_ID if up_to is None else up_to
        return self._first(query, (highest,), lambda row: (to_int(row), str(row[1])))

    def rewritten(self) -> str:
        return self.setting(_REWRITTEN) or ""

    def delete_index(self) -> None:
        """Delete the search index, which holds what was deleted. GalleryError where that fails."""
        try:
            self._index_path.unlink(missing_ok=True)
        except OSError as error:
            raise GalleryError(f"deleted, but {self._index_path} stays ({error}); delete it") from error

    def insert_person(
        self, name: str, metadata: Mapping[str, str], created_at: datetime, *, person_id: int | None = None
    ) -> Person:
        if person_id is None:  # sealed rows are bound to their ids
            person_id = self._next_id("person")
        return super().insert_person(name, metadata, created_at, person_id=person_id)

    def insert_sample(self, person_id: int, sample: FaceSample) -> int:
        if sample.id is None:
            sample = replace(sample, id=self._next_id("sample"))
        return super().insert_sample(person_id, sample)

    def delete_person(self, person_id: int) -> None:
        self._rewriting()
        super().delete_person(person_id)

    def move_samples(self, source_id: int, target_id: int) -> None:
        self._rewriting()
        if self.sealing is None:
            super().move_samples(source_id, target_id)
        else:
            for sample in list(self.samples(source_id)):
                self._rewrite_sample(replace(sample, person_id=target_id))

    def delete_samples(self, sample_ids: Collection[int]) -> None:
        self._rewriting()
        super().delete_samples(sample_ids)

    def update_vectors(self, vectors: Mapping[int, FloatArray]) -> None:
        self._rewriting()
        if self.sealing is None:
            super().update_vectors(vectors)
        else:
            self._erasing()
            for sample_id, vector in vectors.items():
                if (sample := self.sample_by_id(sample_id)) is not None:
                    self._rewrite_sample(replace(sample, vector=vector))

    def _rewriting(self) -> None:
        self._is_rewriting = True
        self.set_setting(_REWRITTEN, secrets.token_hex(8))

    def _rewrite_sample(self, sample: FaceSample) -> None:
        """Overwrite the row of a sample, however it lay there before."""
        assert sample.person_id is not None  # it came from here
        places = ", ".join(
            f"{column} = {self._TEXT if column == 'source_path' else '?'}" for column in SAMPLE_VALUES.split(", ")
        )
        sample_id, *values = self._codec.encode_sample((sample.id, *self._from_sample(sample.person_id, sample)))
        self._query(f"UPDATE sample SET {places} WHERE id = ?", (*values, sample_id))

    def _next_id(self, table: str) -> int:
        """What AUTOINCREMENT would choose, and nobody's whose samples are still there."""
        known = [
            f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",
            f"SELECT max(id) FROM {table}",
            "SELECT max(person_id) FROM sample" if table == "person" else "SELECT 0",
        ]
        ids = [one for query in known for one in self._read(query, (), lambda row: int(row[0] or 0))]
        next_id = 1 + max(ids)
        if next_id > LARGEST_ID:
            raise self._damage(f"it has no id left for another {table}")
        return next_id

    def use(self, sealing: Sealing | None) -> None:
        """Read and write rows that are sealed so from now on."""
        if sealing is not self.sealing:
            self._codec = codec_of(sealing)
            self._index = None  # which keeps a file in clear or none

    def _check_sealing(self) -> None:
        """Raise GalleryError where another process has encrypted or decrypted the gallery."""
        if self.setting(SEALING) != (None if self.sealing is None else self.sealing.header):
            raise GalleryError(f"{self._path} has got another key, or lost it, meanwhile; run the command again")

    def _to_vectors(self, rows: Iterator[tuple[Any, ...]]) -> tuple[FloatArray, IntArray]:
        person_ids, values, sizes = array("q"), bytearray(), set()
        for person_id, blob in self._convert(rows, self._codec.decode_vector):
            person_ids.append(person_id)
            values += blob  # one growing buffer: a list of rows would take the memory twice
            sizes.add(len(blob))
        if len(sizes) > 1 or any(size % 4 for size in sizes):
            raise self._damage("embeddings of different sizes")
        vectors = np.frombuffer(values, dtype="<f4").reshape(len(person_ids), -1 if sizes else 0)
        if not are_unit_rows(vectors):
            raise self._damage("embeddings whose length is not 1")
        return vectors.astype(np.float32, copy=False), np.array(person_ids, dtype=np.int64)

    def _empty_log(self) -> None:
        """Move the write-ahead log into the database and cut it to length 0."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        # SQLite waits for readers and writers, but not for another process that is doing the same.
        while self._query("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            if time.monotonic() > deadline:
                raise GalleryError(f"{self._path}-wal is being read by another process")
            time.sleep(0.01)

    def _query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self.alone(), translated_errors(self._path):
            return list(self._budget.run(lambda: self._connection.execute(statement, values)))

    def _stream(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        with translated_errors(self._path):
            yield from self._budget.run(lambda: self._connection.execute(query, values))

    def _disconnect(self) -> None:
        with translated_errors(self._path):
            self._connection.close()

    def _insert_rows(self, table: Literal["person", "sample"], columns: str, rows: Iterable[Sequence[object]]) -> None:
        places = [self._TEXT if column == "source_path" else "?" for column in ("id", *columns.split(", "))]
        with translated_errors(self._path):
            self._connection.executemany(f"INSERT INTO {table} (id, {columns}) VALUES ({', '.join(places)})", rows)

    def _damage(self, reason: object) -> GalleryError:
        try:
            self._check_sealing()  # outside of transactions, rows may turn unreadable at any moment
        except GalleryError as error:
            return error
        return describe_damage(self._path, reason)

    def _from_vector(self, vector: FloatArray) -> bytes:
        return vector.astype("<f4", copy=False).tobytes()

    def _to_vector(self, value: bytes) -> FloatArray:
        return np.frombuffer(value, dtype="<f4").astype(np.float32, copy=False)

    def _erasing(self) -> None:
        self.set_setting(_SCRUB_OWED, secrets.token_hex(8))

    def _samples_changed(self, person_ids: Collection[int]) -> None:
        """Nothing is kept that depends on them."""

    def _id_given(self, table: str, last_id: int) -> None:
        """AUTOINCREMENT has noticed."""


def open_sqlite_store(path: Path, *, create: bool, unlock: Callable[[str], Sealing] | None = None) -> SqliteStore:
    """The store at `path`, made first where it is missing and `create` allows it. Errors as in `connect`.

    `unlock` gives the keys of an encrypted store, of which it is told the header; GalleryError where it is needed.
    """
    with ExitStack() as on_failure:
        store = SqliteStore(connect(path, create=create, busy_timeout_s=BUSY_TIMEOUT_S), path)
        on_failure.callback(store.close)
        if store.setting(_SCRUB_OWED) is not None:  # a process was killed, or a reader stood in the way
            with suppress(GalleryError):  # whoever is still in the way, the next opening tries again
                store.delete_index()
                store.scrub()
        header = store.setting(SEALING)
        if header is not None:
            if unlock is None:
                raise LockedGalleryError(f"{path} is encrypted; open it with its key")
            store.use(unlock(header))
        on_failure.pop_all()
    return store
