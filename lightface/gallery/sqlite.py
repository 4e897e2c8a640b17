"""The embedded store of a gallery: one SQLite file."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from array import array
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from lightface.databases import transaction
from lightface.errors import GalleryError, OutputError
from lightface.faces import FloatArray, are_unit_rows
from lightface.gallery.records import (
    FaceSample,
    IntArray,
    Person,
    StoredThreshold,
    name_key,
)
from lightface.gallery.sqlite_file import connect, describe_damage, translated_errors
from lightface.gallery.sqlite_rows import (
    CONVERSION_ERRORS,
    PERSON_COLUMNS,
    SAMPLE_COLUMNS,
    from_date,
    from_text,
    from_vector,
    to_date,
    to_int,
    to_person,
    to_sample,
    to_threshold,
)

Record = TypeVar("Record")

BUSY_TIMEOUT_S: Final = 30.0  # how long to wait for other processes

_SCRUB_OWED: Final = "scrub_owed"  # the setting that stands from a deletion until its traces are gone


class SqliteStore:
    """A `GalleryStore` in one SQLite file with a write-ahead log beside it. For one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @property
    def location(self) -> str:
        return str(self._path)

    def close(self) -> None:
        with translated_errors(self._path):
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        with translated_errors(self._path), transaction(self._connection, "BEGIN"):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        with translated_errors(self._path), transaction(self._connection):
            yield

    def version(self) -> Hashable:
        # data_version counts the commits of other connections only, total_changes the rows changed here.
        return self._row("PRAGMA data_version"), self._connection.total_changes

    def size_bytes(self) -> int:
        size = 0
        for path in (self._path, Path(f"{self._path}-wal")):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def scrub(self) -> None:
        token = self.setting(_SCRUB_OWED)
        if token is None:
            return
        try:
            self._run("VACUUM")  # drops the pages that secure_delete has zeroed, and slack inside the others
            self._empty_log()
            with self.writing():  # by its token, for another process may have deleted more by now
                self._run("DELETE FROM setting WHERE name = ? AND value = ?", (_SCRUB_OWED, token))
        except (GalleryError, OutputError) as error:
            raise GalleryError(f"deleted, but traces stay until the gallery is next opened: {error}") from error

    def setting(self, name: str) -> str | None:
        row = self._row("SELECT value FROM setting WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        self._run("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def people(self) -> list[Person]:
        return list(self._read(f"SELECT {PERSON_COLUMNS} FROM person ORDER BY id", (), to_person))

    def person_by_id(self, person_id: int) -> Person | None:
        return self._person("id = ?", person_id)

    def person_by_key(self, key: str) -> Person | None:
        return self._person("name_key = ?", key)

    def insert_person(
        self, name: str, metadata: Mapping[str, str], created_at: datetime, *, person_id: int | None = None
    ) -> Person:
        values = (person_id, name, name_key(name), json.dumps(dict(metadata)), from_date(created_at))
        new_id = self._run("INSERT INTO person VALUES (?, ?, ?, ?, ?)", values).lastrowid
        assert new_id is not None  # an INSERT has one
        return Person(new_id, name, dict(metadata), created_at)

    def update_person(self, person: Person) -> None:
        self._owe_scrub()
        self._run(
            "UPDATE person SET name = ?, name_key = ?, metadata = ? WHERE id = ?",
            (person.name, name_key(person.name), json.dumps(dict(person.metadata)), person.id),
        )

    def delete_person(self, person_id: int) -> None:
        self._owe_scrub()
        self._run("DELETE FROM person WHERE id = ?", (person_id,))  # the samples follow by the foreign key

    def samples(self, person_id: int | None = None) -> Iterator[FaceSample]:
        query = f"SELECT {SAMPLE_COLUMNS} FROM sample"
        if person_id is None:
            return self._read(f"{query} ORDER BY person_id, id", (), to_sample)
        return self._read(f"{query} WHERE person_id = ? ORDER BY id", (person_id,), to_sample)

    def samples_of_image(self, image_sha256: str) -> list[FaceSample]:
        query = f"SELECT {SAMPLE_COLUMNS} FROM sample WHERE image_sha256 = ? ORDER BY id"
        return list(self._read(query, (image_sha256,), to_sample))

    def sample_ids(self) -> set[int]:
        return {sample_id for (sample_id,) in self._read("SELECT id FROM sample", (), tuple)}

    def sample_counts(self) -> dict[int, int]:
        query = (
            "SELECT person.id, count(sample.id) FROM person LEFT JOIN sample ON sample.person_id = person.id "
            "GROUP BY person.id ORDER BY person.id"
        )
        return dict(self._read(query, (), tuple))

    def vectors(self) -> tuple[FloatArray, IntArray]:
        person_ids, values, sizes = array("q"), bytearray(), set()
        query = "SELECT person_id, embedding FROM sample ORDER BY person_id, id"
        for person_id, blob in self._read(query, (), tuple):
            person_ids.append(person_id)
            values += blob  # one growing buffer: a list of rows would take the memory twice
            sizes.add(len(blob))
        if len(sizes) > 1 or any(size % 4 for size in sizes):
            raise describe_damage(self._path, "embeddings of different sizes")
        vectors = np.frombuffer(values, dtype="<f4").reshape(len(person_ids), -1 if sizes else 0)
        if not are_unit_rows(vectors):
            raise describe_damage(self._path, "embeddings whose length is not 1")
        if self._row("SELECT 1 FROM sample WHERE person_id NOT IN (SELECT id FROM person) LIMIT 1"):
            raise describe_damage(self._path, "samples of nobody")
        return vectors.astype(np.float32, copy=False), np.array(person_ids, dtype=np.int64)

    def embedding_size(self) -> int | None:
        return self._first("SELECT length(embedding) / 4 FROM sample LIMIT 1", (), to_int)

    def created_at(self) -> datetime:
        date = self._first("SELECT value FROM setting WHERE name = 'created_at'", (), to_date)
        if date is None:
            raise describe_damage(self._path, "it has no date")
        return date

    def last_enrolled_at(self) -> datetime | None:
        return self._first("SELECT created_at FROM sample ORDER BY created_at DESC LIMIT 1", (), to_date)

    def insert_sample(self, person_id: int, sample: FaceSample) -> None:
        values = (
            *(sample.id, person_id, from_vector(sample.vector), from_text(sample.source_path)),
            *(sample.image_sha256, *(sample.box_px or (None,) * 4), sample.det_score, sample.quality),
            from_date(sample.created_at),
        )
        # The cast lets the undecodable bytes of a file name into a text column.
        self._run("INSERT INTO sample VALUES (?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def move_samples(self, source_id: int, target_id: int) -> None:
        self._run("UPDATE sample SET person_id = ? WHERE person_id = ?", (target_id, source_id))

    def delete_samples(self, sample_ids: Collection[int]) -> None:
        self._owe_scrub()
        for sample_id in sample_ids:
            self._run("DELETE FROM sample WHERE id = ?", (sample_id,))

    def update_vectors(self, vectors: Mapping[int, FloatArray]) -> None:
        self._owe_scrub()
        for sample_id, vector in vectors.items():
            self._run("UPDATE sample SET embedding = ? WHERE id = ?", (from_vector(vector), sample_id))

    def thresholds(self) -> list[StoredThreshold]:
        query = "SELECT far, threshold, source, created_at FROM threshold ORDER BY far DESC"
        return list(self._read(query, (), to_threshold))

    def put_threshold(self, threshold: StoredThreshold) -> None:
        values = (
            threshold.far,
            threshold.threshold,
            from_text(threshold.source),
            from_date(threshold.created_at),
        )
        self._run("INSERT OR REPLACE INTO threshold VALUES (?, ?, CAST(? AS TEXT), ?)", values)

    def delete_thresholds(self) -> None:
        self._run("DELETE FROM threshold")

    def _person(self, condition: str, value: int | str) -> Person | None:
        return self._first(f"SELECT {PERSON_COLUMNS} FROM person WHERE {condition}", (value,), to_person)

    def _empty_log(self) -> None:
        """Move the write-ahead log into the database and cut it to length 0."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        # SQLite waits for readers and writers, but not for another process that is doing the same.
        while (self._row("PRAGMA wal_checkpoint(TRUNCATE)") or (1,))[0]:
            if time.monotonic() > deadline:
                raise GalleryError(f"{self._path}-wal is being read by another process")
            time.sleep(0.01)

    def _owe_scrub(self) -> None:
        self.set_setting(_SCRUB_OWED, secrets.token_hex(8))

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        with translated_errors(self._path):
            return self._connection.execute(statement, values)

    def _row(self, query: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        with translated_errors(self._path):
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
            return row

    def _read(
        self, query: str, values: Sequence[object], convert: Callable[[tuple[Any, ...]], Record]
    ) -> Iterator[Record]:
        with translated_errors(self._path):
            for row in self._connection.execute(query, values):
                try:
                    record = convert(row)
                except CONVERSION_ERRORS as error:
                    raise describe_damage(self._path, error) from error
                yield record

    def _first(
        self, query: str, values: Sequence[object], convert: Callable[[tuple[Any, ...]], Record]
    ) -> Record | None:
        return next(iter(list(self._read(query, values, convert))), None)


def open_sqlite_store(path: Path, *, create: bool) -> SqliteStore:
    """The store at `path`, made first where it is missing and `create` allows it. Errors as in `connect`."""
    with ExitStack() as on_failure:
        store = SqliteStore(connect(path, create=create, busy_timeout_s=BUSY_TIMEOUT_S), path)
        on_failure.callback(store.close)
        if store.setting(_SCRUB_OWED) is not None:  # a process was killed, or a reader stood in the way
            with suppress(GalleryError):  # whoever is still in the way, the next opening tries again
                store.scrub()
        on_failure.pop_all()
    return store
