"""The store of a gallery that several programs share: a PostgreSQL database with pgvector."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pgvector import Vector

from lightface.errors import GalleryError
from lightface.faces import FloatArray, are_unit_rows
from lightface.gallery.postgres_server import (
    CREATE_INDEX,
    INDEXED_SIZE,
    SCHEMA,
    Connection,
    connect,
    describe_damage,
    has_gallery,
    location_of,
    translated_errors,
)
from lightface.gallery.records import IntArray
from lightface.gallery.sql_store import SqlStore

if TYPE_CHECKING:
    from lightface.gallery.sealing import Sealing

__all__ = ["PostgresStore", "has_gallery", "location_of", "open_postgres_store"]

# Measured on 250,000 people by scripts/measure_scaling; the figures are in docs/scaling.md.
SEARCHED_THERE: Final = 20_000  # people from which the server looks for candidates
EXACT_UP_TO: Final = 1_000_000  # people up to whom it compares every template, beyond them those that the index offers
CANDIDATES: Final = 50  # people a probe that are scored by their samples
EF_SEARCH: Final = 800  # how far the index looks

_TYPES: Final = {  # of rows that are copied
    "person": ("int8", "text", "text", "text", "timestamptz"),
    "sample": ("int8", "int8", "vector", "bytea", "text", *("float8",) * 6, "timestamptz"),
}
_MANY_PEOPLE: Final = 5000  # changed at once, from which the index is built anew
_ROWS_AT_ONCE: Final = 5000  # of a stream: some 6 MB
_IDLE_WRITER_S: Final = 300  # after which a writer that has vanished from the network no longer holds up the others


class PostgresStore(SqlStore):
    """A `GalleryStore` in the schema `lightface` of a database.

    There is one writer at a time: each takes the lock of one row before it reads, as the rules of a gallery ask for.
    So nothing has to be tried again, and what a writer has checked is still true when it commits.
    """

    _TEXT = "?"

    def __init__(self, connection: Connection, location: str) -> None:
        super().__init__()
        self._connection = connection
        self._location = location
        self._changed_people: set[int] = set()  # in the transaction under way

    @property
    def location(self) -> str:
        return self._location

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._alone_and_translated(), self._connection.transaction():
            self._query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._alone_and_translated(), self._connection.transaction():
            self._changed_people.clear()
            self._query(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "  # each statement sees what the last writer has left
                f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_WRITER_S}s'; "
                "UPDATE setting SET value = value::bigint + 1 WHERE name = 'revision'"
            )
            yield
            self._update_templates()

    @contextmanager
    def logging(self) -> Iterator[None]:
        with self._alone_and_translated(), self._connection.transaction():
            yield

    def version(self) -> Hashable:
        return self.setting("created_at"), self.setting("revision")

    def size_bytes(self) -> int:
        query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
        return int(self._query(f"{query} '{SCHEMA}'::regnamespace")[0][0])

    @property
    def sealing(self) -> None:
        return None

    def reseal(self, sealing: Sealing | None) -> None:
        raise GalleryError(  # pgvector compares what it can read
            f"{self._location} cannot be encrypted by lightface; have its server encrypt its disks and its backups"
        )

    @property
    def beyond_reach(self) -> str | None:
        return (
            "PostgreSQL keeps deleted rows in its files until VACUUM has run and their room is used again, in its "
            "write-ahead log until that is recycled, and in backups and replicas as long as these are kept"
        )

    def scrub(self) -> None:
        """See `beyond_reach`."""

    def vectors(self, person_ids: Collection[int] | None = None) -> tuple[FloatArray, IntArray]:
        condition, values = ("", ()) if person_ids is None else (" WHERE person_id = ANY (?)", (list(person_ids),))
        count = self._query(f"SELECT count(*) FROM sample{condition}", values)[0][0]
        vectors = np.empty((count, self.embedding_size() or 0), dtype=np.float32)
        owners = np.empty(count, dtype=np.int64)
        query = f"SELECT person_id, vector_send(embedding) FROM sample{condition} ORDER BY person_id, id"
        for row, (person_id, sent) in enumerate(self._stream(query, values)):
            if len(sent) != 4 + 4 * vectors.shape[1]:
                raise self._damage("embeddings of different sizes")
            owners[row], vectors[row] = person_id, np.frombuffer(sent, dtype=">f4", offset=4)
        if not are_unit_rows(vectors):
            raise self._damage("embeddings whose length is not 1")
        return vectors, owners

    def embedding_size(self) -> int | None:
        rows = self._query("SELECT vector_dims(embedding) FROM sample LIMIT 1")
        return int(rows[0][0]) if rows else None

    def people_near(self, probes: FloatArray, k: int) -> list[int] | None:
        count = max(CANDIDATES, 2 * k)
        if count > EF_SEARCH or not self._is_large():
            return None
        if self.embedding_size() == INDEXED_SIZE and self._is_vast():
            self._query(f"SET LOCAL hnsw.ef_search = {EF_SEARCH}")
            query = (
                f"SELECT person_id FROM template WHERE vector_dims(embedding) = {INDEXED_SIZE} "
                f"ORDER BY embedding::halfvec({INDEXED_SIZE}) <=> ?::halfvec({INDEXED_SIZE}) LIMIT {count}"
            )
        else:  # no expression of the index, so every template is compared: the index misses some people
            query = f"SELECT person_id FROM template ORDER BY embedding <=> ?::halfvec LIMIT {count}"
        return sorted({person_id for probe in probes for (person_id,) in self._query(query, (probe,))})

    def _is_large(self) -> bool:
        """Whether to leave the search to the server: below, everything is loaded and scored here."""
        query = f"SELECT count(*) FROM (SELECT FROM template LIMIT {SEARCHED_THERE}) AS few"
        return bool(self._query(query)[0][0] == SEARCHED_THERE)

    def _is_vast(self) -> bool:
        """Whether to trust the index, going by the server's own estimate of the number of people."""
        return bool(
            self._query(f"SELECT reltuples > {EXACT_UP_TO} FROM pg_class WHERE oid = 'template'::regclass")[0][0]
        )

    def _update_templates(self) -> None:
        """Make the templates of the people whose samples were changed anew; of very many, with their index."""
        changed = list(self._changed_people)
        if not changed:
            return
        is_rebuilt = len(changed) >= _MANY_PEOPLE and self._owns_templates()
        if is_rebuilt:  # an index grows far more slowly than it is built
            self._query("DROP INDEX IF EXISTS template_likeness")
        self._query("DELETE FROM template WHERE person_id = ANY (?)", (changed,))
        self._query(
            "INSERT INTO template SELECT person_id, l2_normalize(avg(embedding))::halfvec FROM sample "
            "WHERE person_id = ANY (?) GROUP BY person_id",
            (changed,),
        )
        if is_rebuilt:
            self._query(CREATE_INDEX)

    def _owns_templates(self) -> bool:
        query = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'template'::regclass"
        return bool(self._query(query)[0][0])

    def _insert_rows(self, table: Literal["person", "sample"], columns: str, rows: Iterable[Sequence[object]]) -> None:
        copy = f"COPY {table} (id, {columns}) FROM STDIN (FORMAT BINARY)"
        with self._alone_and_translated(), self._connection.cursor() as cursor, cursor.copy(copy.encode()) as writer:
            writer.set_types(_TYPES[table])
            for *values, created_at in rows:
                writer.write_row((*values, datetime.fromisoformat(str(created_at))))

    def _query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._alone_and_translated():
            cursor = self._connection.execute(_for_psycopg(statement), values or None, binary=bool(values))
            return cursor.fetchall() if cursor.description else []

    def _stream(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        with translated_errors(self._location), self._connection.cursor("stream") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(_for_psycopg(query), values, binary=True)
            yield from map(tuple, cursor)

    def _damage(self, reason: object) -> GalleryError:
        return describe_damage(self._location, reason)

    def _from_vector(self, vector: FloatArray) -> FloatArray:
        return vector

    def _to_vector(self, value: Vector) -> FloatArray:
        return value.to_numpy()

    def _erasing(self) -> None:
        """See `scrub`."""

    def _samples_changed(self, person_ids: Collection[int]) -> None:
        self._changed_people.update(person_ids)

    def _id_given(self, table: str, last_id: int) -> None:
        self._query(
            f"SELECT setval('{table}_id_seq', greatest(?, (SELECT last_value FROM {table}_id_seq)))", (last_id,)
        )

    def _disconnect(self) -> None:
        self._connection.close()

    @contextmanager
    def _alone_and_translated(self) -> Iterator[None]:
        with self.alone(), translated_errors(self._location):
            yield


def open_postgres_store(url: str, *, create: bool) -> PostgresStore:
    """The store in that database, made first where it is missing and `create` allows it. Errors as in `connect`."""
    return PostgresStore(connect(url, create=create), location_of(url))


def _for_psycopg(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()
