"""The store of a gallery that several programs share: a PostgreSQL database with pgvector."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lightface.errors import GalleryError, LightfaceError, OutputError
from lightface.frame import EMBEDDING_SIZE
from lightface.gallery.records import folded_name
from lightface.gallery.store import GalleryStore
from lightface.records import FloatArray, IntArray, are_unit_rows

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher


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


class PostgresStore(GalleryStore):
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
    def cipher(self) -> None:
        return None

    def reencrypt(self, cipher: GalleryCipher | None) -> None:
        raise GalleryError(  # pgvector compares what it can read
            f"{self._location} cannot be encrypted by lightface; have its server encrypt its disks and its backups"
        )

    @property
    def residual_copies(self) -> str | None:
        return (
            "PostgreSQL keeps deleted rows in its files until VACUUM has run and their room is used again, in its "
            "write-ahead log until that is recycled, and in backups and replicas as long as these are kept"
        )

    def purge(self) -> None:
        """See `residual_copies`."""

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

    def is_large(self) -> bool:
        query = f"SELECT count(*) FROM (SELECT FROM template LIMIT {SEARCHED_THERE}) AS few"
        return bool(self._query(query)[0][0] == SEARCHED_THERE)

    def people_near(self, probes: FloatArray, k: int) -> list[int] | None:
        count = max(CANDIDATES, 2 * k)
        if count > EF_SEARCH or not self.is_large():
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
        """See `purge`."""

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


# Open a gallery on a PostgreSQL server: connect, recognise it, bring its schema up to date, name what goes wrong.
#
# The URL is libpq's, and so are passwords and TLS: PGPASSFILE, PGSERVICE, sslmode and the rest mean what they mean to
# psql. What this module says of a gallery never holds a password.


Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA: Final = "lightface"
CONNECT_TIMEOUT_S: Final = 10  # unless the URL or PGCONNECT_TIMEOUT says otherwise
LOCK_TIMEOUT_S: Final = 30  # how long to wait for other writers
INDEXED_SIZE: Final = EMBEDDING_SIZE  # of every LightCNN; embeddings of another size are searched without the index

# Step n takes a schema from version n to n + 1. A released step is never edited, only followed.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE setting (name text PRIMARY KEY, value text NOT NULL)",
        """CREATE TABLE person (
            id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,  -- never used again, for reports outlive the person
            name text NOT NULL,
            name_key text NOT NULL UNIQUE,
            metadata text NOT NULL,  -- a JSON object, its keys in their order
            created_at timestamptz NOT NULL
        )""",
        """CREATE TABLE sample (
            id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
            person_id bigint NOT NULL REFERENCES person ON DELETE CASCADE,
            embedding vector NOT NULL,  -- float32
            source_path bytea NOT NULL,  -- of any file system: convert_from(source_path, 'UTF8') shows it
            image_sha256 text NOT NULL,
            x_min float8, y_min float8, x_max float8, y_max float8,
            det_score float8,
            quality float8,
            created_at timestamptz NOT NULL,
            UNIQUE NULLS NOT DISTINCT (image_sha256, x_min, y_min, x_max, y_max)
        )""",
        "CREATE INDEX sample_person ON sample (person_id)",
        """CREATE TABLE threshold (
            far float8 PRIMARY KEY,
            threshold float8 NOT NULL,
            source bytea NOT NULL,
            created_at timestamptz NOT NULL
        )""",
        # The normalised mean of a person's samples; only finds candidates, which are then scored by their samples.
        """CREATE TABLE template (
            person_id bigint PRIMARY KEY REFERENCES person ON DELETE CASCADE,
            embedding halfvec NOT NULL
        )""",
    ),
    (
        """CREATE TABLE log (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at timestamptz NOT NULL,
            event text NOT NULL,
            person_id bigint,  -- ids only, of people and samples that may be gone
            target_id bigint,
            sample_id bigint,
            similarity float8
        )""",
        "CREATE INDEX log_date ON log (at)",
        "CREATE INDEX sample_date ON sample (created_at)",
    ),
    (),  # from here on, people are found by `folded_name`, see `_fold_names`
)
CREATE_INDEX: Final = (
    f"CREATE INDEX template_likeness ON template USING hnsw ((embedding::halfvec({INDEXED_SIZE})) halfvec_cosine_ops) "
    f"WHERE vector_dims(embedding) = {INDEXED_SIZE}"
)

_FOLDED_FROM: Final = 3  # version of the schema
_LOCK_KEY: Final = 0x4C464741  # "LFGA": one process at a time creates or migrates
_LOST: Final = ("08", "57P", "25P03", "25P04")  # SQLSTATEs after which there is no connection any more
_OLDEST_SERVER: Final = 150000  # NULLS NOT DISTINCT
_OLDEST_EXTENSION: Final = (0, 7)  # halfvec


def location_of(url: str) -> str:
    """The URL without password and parameters, for messages. GalleryError for one that is none."""
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    try:
        # A password with @ or / in it would make a host or a database of its rest, which messages show.
        if authority.count("@") > 1 or "@" in path:
            raise ValueError
        parts = conninfo_to_dict(url)
    except (psycopg.Error, ValueError):
        # Nothing of the error: it quotes the URL, and with it perhaps the password.
        raise GalleryError(
            "the gallery's URL cannot be read; write it as postgresql://USER@HOST/DATABASE, special characters as %XX, "
            "and leave the password to PGPASSFILE"
        ) from None
    user = f"{quote(str(parts['user']))}@" if parts.get("user") else ""
    host, port = str(parts.get("host") or ""), f":{parts['port']}" if parts.get("port") else ""
    database = f"/{quote(str(parts.get('dbname') or ''))}"
    if host.startswith("/"):  # the folder of a socket
        return f"postgresql://{user}{port}{database}?host={host}"
    return f"postgresql://{user}{host}{port}{database}"


def connect(url: str, *, create: bool) -> Connection:
    """A connection to the gallery in that database, which is created where `create` allows it.

    Raises GalleryError for a server that cannot be reached, one without pgvector, a database without a gallery or
    with one of a newer lightface, and for missing rights.
    """
    location = location_of(url)
    connection = _dial(url, location)
    try:
        with translated_errors(location):
            _prepare(connection, location, create=create)
    except BaseException:  # Ctrl-C included
        connection.close()
        raise
    return connection


def has_gallery(url: str) -> bool:
    """Whether there is a gallery in that database. GalleryError where the server cannot be asked."""
    location = location_of(url)
    with _dial(url, location) as connection, translated_errors(location):
        return _version(connection) > 0


@contextmanager
def translated_errors(location: str) -> Iterator[None]:
    """Turn psycopg's errors into a GalleryError or OutputError with the remedy."""
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error, location) from error


def describe_damage(location: str, reason: object) -> GalleryError:
    """The error of tables that hold what lightface never writes."""
    words = " ".join(str(reason).split())
    return GalleryError(f"{location} is damaged ({words}); restore it, or import the last export into a new gallery")


def _dial(url: str, location: str) -> Connection:
    options = {"fallback_application_name": "lightface"}
    if "connect_timeout" not in conninfo_to_dict(url) and "PGCONNECT_TIMEOUT" not in os.environ:
        options["connect_timeout"] = str(CONNECT_TIMEOUT_S)
    try:
        return psycopg.connect(make_conninfo(url, **options), autocommit=True)
    except psycopg.Error as error:
        raise GalleryError(
            f"{location} cannot be reached ({_one_line(error)}); check the URL and the server"
        ) from error


def _prepare(connection: Connection, location: str, *, create: bool) -> None:
    connection.execute("SET client_encoding = 'UTF8'")
    connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
    connection.execute("SET synchronous_commit = on")  # what was enrolled survives a power cut
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise GalleryError(
            f"{location} was written by a newer lightface (schema {version}, known is {len(MIGRATIONS)}); "
            "upgrade lightface"
        )
    if version == 0 and not create:
        raise GalleryError(f"there is no gallery in {location}; enroll somebody first, or name another database")
    if version < len(MIGRATIONS):
        _migrate(connection, location)
    _find_tables(connection)
    register_vector(connection)


def _version(connection: Connection) -> int:
    """The version of the gallery's schema, 0 where there is none."""
    # Of the catalogue's rows: to_regclass may answer from before the wait for the lock of whoever made the tables.
    if not _is_there(connection, "pg_tables WHERE schemaname = %s AND tablename = 'setting'"):
        return 0
    row = connection.execute(f"SELECT value FROM {SCHEMA}.setting WHERE name = 'schema_version'").fetchone()
    return 0 if row is None else int(row[0])


def _migrate(connection: Connection, location: str) -> None:
    """Run the outstanding migrations, all or none."""
    _check_server(connection, location)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
        version = _version(connection)  # another process may have been faster
        if version == 0:
            _add_extension(connection, location)
            if not _is_there(connection, "pg_namespace WHERE nspname = %s"):
                connection.execute(f"CREATE SCHEMA {SCHEMA}")
        _find_tables(connection)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement.encode())
        if version < _FOLDED_FROM:
            _fold_names(connection)
        if version == 0:
            connection.execute(CREATE_INDEX)
            settings = {"created_at": datetime.now(UTC).isoformat(), "revision": "0", "schema_version": "0"}
            connection.cursor().executemany("INSERT INTO setting VALUES (%s, %s)", list(settings.items()))
        connection.execute("UPDATE setting SET value = %s WHERE name = 'schema_version'", (str(len(MIGRATIONS)),))


def _fold_names(connection: Connection) -> None:
    """Find people by their folded names, but for who shares theirs with another."""
    people = connection.execute("SELECT id, name, name_key FROM person ORDER BY id").fetchall()
    taken = {key for *_, key in people}
    for person_id, name, _ in people:
        with suppress(GalleryError):  # a damaged name, which whoever reads it will be told
            if (key := folded_name(name)) not in taken:
                taken.add(key)
                connection.execute("UPDATE person SET name_key = %s WHERE id = %s", (key, person_id))


def _check_server(connection: Connection, location: str) -> None:
    if connection.info.server_version < _OLDEST_SERVER:
        raise GalleryError(f"the server of {location} is too old; lightface needs PostgreSQL 15 or newer")
    (encoding,) = connection.execute("SHOW server_encoding").fetchone() or ("",)
    if encoding != "UTF8":
        raise GalleryError(f"{location} is encoded in {encoding}, which has no room for every name; make one in UTF8")


def _add_extension(connection: Connection, location: str) -> None:
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        raise GalleryError(f"the server of {location} has no pgvector; have it installed there") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise GalleryError(
            f"this user may not add pgvector to {location}; have its owner run CREATE EXTENSION vector"
        ) from error
    (version,) = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone() or ("",)
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST_EXTENSION:
        raise GalleryError(
            f"{location} has pgvector {version}, and lightface needs 0.7; have it run ALTER EXTENSION vector UPDATE"
        )


def _find_tables(connection: Connection) -> None:
    """Look for tables in the gallery's schema only, and for pgvector where it is: nobody else's names are taken."""
    query = "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"
    places = [SCHEMA, *(name for (name,) in connection.execute(query))]
    connection.execute(sql.SQL("SET search_path = {}").format(sql.SQL(", ").join(map(sql.Identifier, places))))


def _is_there(connection: Connection, rows: str) -> bool:
    return connection.execute(f"SELECT FROM {rows}".encode(), (SCHEMA,)).fetchone() is not None


def _translate(error: psycopg.Error, location: str) -> LightfaceError:
    reason, code = _one_line(error), error.sqlstate or ""
    if code.startswith(_LOST) or (not code and isinstance(error, psycopg.OperationalError)):
        return GalleryError(
            f"the connection to {location} was lost ({reason}); run the command again: what was finished is kept"
        )
    match code[:2], error:
        case _, psycopg.errors.DiskFull():
            return OutputError(f"no room left for {location}; nothing was changed, have some space made")
        case _, psycopg.errors.InsufficientPrivilege():
            return GalleryError(f"this user may not do that in {location} ({reason}); have the rights granted")
        case _, psycopg.errors.ReadOnlySqlTransaction():
            return OutputError(f"{location} takes no changes ({reason}); name the primary server")
        case ("40", _) | (_, psycopg.errors.LockNotAvailable()):
            return GalleryError(f"{location} is held by another process ({reason}); try again when that has finished")
        case ("23" | "22" | "54", _):  # a constraint, a value that cannot be stored, a name too long
            return GalleryError(f"{location} cannot keep this ({reason}); nothing was changed")
        case ("42" | "3F", _) | ("XX", _):  # a table or a column is not what lightface made
            return describe_damage(location, reason)
        case _:
            return GalleryError(f"{location} could not be used as a gallery: {reason}")


def _one_line(error: psycopg.Error) -> str:
    """What the server says, without the detail, which may quote a person's data."""
    return " ".join((error.diag.message_primary or str(error)).split())
