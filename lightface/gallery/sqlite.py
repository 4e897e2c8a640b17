"""The embedded store of a gallery: one SQLite file."""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import stat
import time
from array import array
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from lightface.databases import ReadBudget, Schema, check_schema, error_code, open_database, schema_made_by, transaction
from lightface.errors import GalleryError, LockedGalleryError, OutputError
from lightface.files import check_owned, make_folder, touch_private
from lightface.gallery.exchange import reencrypt_records
from lightface.gallery.records import LARGEST_ID, NewSample, Person, StoredSample, folded_name
from lightface.gallery.row_codec import CIPHER_SETTING, codec_of, to_int
from lightface.gallery.store import SAMPLE_VALUES, GalleryStore
from lightface.records import FloatArray, IntArray, are_unit_rows

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher
    from lightface.gallery.search_index import PeopleIndex


_log = logging.getLogger(__name__)

BUSY_TIMEOUT_S: Final = 30.0  # how long to wait for other processes

_PURGE_OWED: Final = "scrub_owed"  # the setting that stands from a deletion until its traces are gone
_HIGHEST_ID: Final = 2**63 - 1
_REWRITTEN: Final = "rewritten"  # the setting that is another one after each change of samples but their addition


class SqliteStore(GalleryStore):
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
                self._check_cipher()
                yield
            if self._index is not None and self._index.is_new:
                with translated_errors(self._path), transaction(self._connection, "BEGIN"):
                    self._index.settle()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self.alone():
            self._is_rewriting = False
            cipher = self.cipher
            is_outdated = cipher is not None and cipher.is_outdated
            try:
                with translated_errors(self._path), transaction(self._connection):
                    self._query("UPDATE setting SET value = value + 1 WHERE name = 'revision'")
                    self._check_cipher()
                    if cipher is not None and is_outdated:
                        reencrypt_records(self, cipher.up_to_date())
                    yield
            except BaseException:
                self.use(cipher)  # what `reencrypt` has done was undone as well
                raise
            if self._is_rewriting:
                self.delete_index()
            if is_outdated:
                _log.warning("%s is encrypted anew: an earlier lightface does not open it any more", self._path)
                with suppress(GalleryError):  # it is no more than what the same key opens; the next opening tries again
                    self.purge()

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
    def cipher(self) -> GalleryCipher | None:
        return self._codec.cipher

    def reencrypt(self, cipher: GalleryCipher | None) -> None:
        assert cipher is None or not cipher.is_outdated
        before, people, thresholds = self.cipher, self.people(), self.thresholds()
        names = [str(name) for (name,) in self._query("SELECT name FROM setting WHERE name <> ?", (CIPHER_SETTING,))]
        settings = {name: self.setting(name) for name in names}
        if people or thresholds:
            self._erasing()
            self._rewriting()
        self.delete_thresholds()
        for person in people:
            self.use(before)
            samples = list(self.samples(person.id))
            self.use(cipher)
            self.update_person(person)
            for sample in samples:
                self._rewrite_sample(sample)
        self.use(cipher)
        for threshold in thresholds:
            self.put_threshold(threshold)
        for name, value in settings.items():
            if value is not None:
                self.set_setting(name, value)
        if cipher is None:
            self.delete_setting(CIPHER_SETTING)
        else:
            self.set_setting(CIPHER_SETTING, cipher.header)

    @property
    def residual_copies(self) -> str | None:
        return None

    def purge(self) -> None:
        with self.alone():
            token = self.setting(_PURGE_OWED)
            if token is None:
                return
            try:
                if [row[0] for row in self._query("PRAGMA quick_check(1)")] != ["ok"]:
                    raise self._damage("its pages are not in order")  # VACUUM would copy them without end
                self._query("VACUUM")  # drops the pages that secure_delete has zeroed, and slack inside the others
                self._empty_log()
                with self.logging():  # by its token, for another process may have deleted more by now
                    self._query("DELETE FROM setting WHERE name = ? AND value = ?", (_PURGE_OWED, token))
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

    def is_large(self) -> bool:
        from lightface.gallery.search_index import PAYS_FROM

        return bool(self._query("SELECT 1 FROM person LIMIT 1 OFFSET ?", (PAYS_FROM - 1,)))

    def people_near(self, probes: FloatArray, k: int) -> list[int]:
        if self._index is None:
            from lightface.gallery.search_index import PeopleIndex  # which most work on a gallery does without

            self._index = PeopleIndex(self, self._index_path if self.cipher is None else None)
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
        if person_id is None:  # encrypted rows are bound to their ids
            person_id = self._next_id("person")
        return super().insert_person(name, metadata, created_at, person_id=person_id)

    def insert_sample(self, person_id: int, sample: NewSample) -> int:
        sample_id = self._next_id("sample")  # encrypted rows are bound to their ids
        self.insert_samples([sample.stored(sample_id, person_id)])
        return sample_id

    def delete_person(self, person_id: int) -> None:
        self._rewriting()
        super().delete_person(person_id)

    def move_samples(self, source_id: int, target_id: int) -> None:
        self._rewriting()
        if self.cipher is None:
            super().move_samples(source_id, target_id)
        else:
            for sample in list(self.samples(source_id)):
                self._rewrite_sample(replace(sample, person_id=target_id))

    def delete_samples(self, sample_ids: Collection[int]) -> None:
        self._rewriting()
        super().delete_samples(sample_ids)

    def update_vectors(self, vectors: Mapping[int, FloatArray]) -> None:
        self._rewriting()
        if self.cipher is None:
            super().update_vectors(vectors)
        else:
            self._erasing()
            for sample_id, vector in vectors.items():
                if (sample := self.sample_by_id(sample_id)) is not None:
                    self._rewrite_sample(replace(sample, vector=vector))

    def _rewriting(self) -> None:
        self._is_rewriting = True
        self.set_setting(_REWRITTEN, secrets.token_hex(8))

    def _rewrite_sample(self, sample: StoredSample) -> None:
        """Overwrite the row of a sample, however it lay there before."""
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

    def use(self, cipher: GalleryCipher | None) -> None:
        """Read and write rows that are encrypted so from now on."""
        if cipher is not self.cipher:
            self._codec = codec_of(cipher)
            self._index = None  # which keeps a file in clear or none

    def _check_cipher(self) -> None:
        """Raise GalleryError where another process has encrypted or decrypted the gallery."""
        if self.setting(CIPHER_SETTING) != (None if self.cipher is None else self.cipher.header):
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
            self._check_cipher()  # outside of transactions, rows may turn unreadable at any moment
        except GalleryError as error:
            return error
        return describe_damage(self._path, reason)

    def _from_vector(self, vector: FloatArray) -> bytes:
        return vector.astype("<f4", copy=False).tobytes()

    def _to_vector(self, value: bytes) -> FloatArray:
        return np.frombuffer(value, dtype="<f4").astype(np.float32, copy=False)

    def _erasing(self) -> None:
        self.set_setting(_PURGE_OWED, secrets.token_hex(8))

    def _samples_changed(self, person_ids: Collection[int]) -> None:
        """Nothing is kept that depends on them."""

    def _id_given(self, table: str, last_id: int) -> None:
        """AUTOINCREMENT has noticed."""


def open_sqlite_store(path: Path, *, create: bool, unlock: Callable[[str], GalleryCipher] | None = None) -> SqliteStore:
    """The store at `path`, made first where it is missing and `create` allows it. Errors as in `connect`.

    `unlock` gives the keys of an encrypted store, of which it is told the header; GalleryError where it is needed.
    """
    with ExitStack() as on_failure:
        store = SqliteStore(connect(path, create=create, busy_timeout_s=BUSY_TIMEOUT_S), path)
        on_failure.callback(store.close)
        if store.setting(_PURGE_OWED) is not None:  # a process was killed, or a reader stood in the way
            with suppress(GalleryError):  # whoever is still in the way, the next opening tries again
                store.delete_index()
                store.purge()
        header = store.setting(CIPHER_SETTING)
        if header is not None:
            if unlock is None:
                raise LockedGalleryError(f"{path} is encrypted; open it with its key")
            store.use(unlock(header))
        on_failure.pop_all()
    return store


# Open a gallery's SQLite file: recognise it, bring its schema up to date, keep it to its owner.


APPLICATION_ID: Final = 0x4C464741  # "LFGA", in the file's header: tells a gallery from other SQLite files

# Step n takes a file from schema version n to n + 1. A released step is never edited, only followed.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        """CREATE TABLE person (
            id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, for reports outlive the person
            name TEXT NOT NULL,
            name_key TEXT NOT NULL UNIQUE,
            metadata TEXT NOT NULL,  -- a JSON object
            created_at TEXT NOT NULL  -- ISO 8601, UTC
        ) STRICT""",
        """CREATE TABLE sample (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            person_id INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
            embedding BLOB NOT NULL CHECK (length(embedding) > 0),  -- float32, little-endian
            source_path TEXT NOT NULL,
            image_sha256 TEXT NOT NULL,
            x_min REAL, y_min REAL, x_max REAL, y_max REAL,
            det_score REAL,
            quality REAL,
            created_at TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX sample_person ON sample (person_id)",
        "CREATE INDEX sample_image ON sample (image_sha256)",
        """CREATE TABLE threshold (
            far REAL PRIMARY KEY,
            threshold REAL NOT NULL,
            source TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT""",
    ),
    (  # from here on, rows may be encrypted, see `row_codec`
        "INSERT INTO setting VALUES ('revision', '0')",
        """CREATE TABLE log (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,
            event TEXT NOT NULL,
            person_id INTEGER,  -- ids only, of people and samples that may be gone
            target_id INTEGER,
            sample_id INTEGER,
            similarity REAL
        ) STRICT""",
        "CREATE INDEX log_date ON log (at)",
        "CREATE INDEX sample_date ON sample (created_at)",
    ),
    (),  # from here on, people are found by `folded_name`, see `_fold_names`
)
_FOLDED_FROM: Final = 3  # version of the schema


def connect(path: Path, *, create: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection to the gallery at `path`, which is created where `create` allows it.

    Raises GalleryError for a missing file, one that is no gallery or one of a newer lightface, and
    OutputError where the place cannot be written, or what is there was put there by another user.
    """
    try:
        check_owned(path)
        _make_ready(path, create=create)
        check_owned(path)  # of which somebody may have been faster
    except (OSError, ValueError) as error:  # ValueError: no path at all, with a NUL in it
        raise OutputError(f"{path} cannot be opened ({error}); choose another place") from error
    prepare = partial(_prepare, path=path, create=create, busy_timeout_s=busy_timeout_s)
    with translated_errors(path):
        connection = open_database(path, prepare, timeout_s=busy_timeout_s, any_thread=True)
    return connection


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a GalleryError or OutputError with the remedy."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite's own message quotes what is broken
        raise describe_damage(path, error) from error
    except sqlite3.Error as error:
        match error_code(error):
            case sqlite3.SQLITE_FULL:
                raise OutputError(f"no room left for {path}; nothing was changed, free some space") from error
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                raise OutputError(
                    f"{path} cannot be written ({error}); make the file and its folder writable"
                ) from error
            case sqlite3.SQLITE_IOERR:
                raise OutputError(
                    f"{path} could not be read or written ({error}); nothing was changed, check the disk"
                ) from error
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise GalleryError(f"{path} is held by another process; try again when that has finished") from error
            case sqlite3.SQLITE_NOTADB:
                raise GalleryError(f"{path} is not a gallery (no SQLite file); name another file") from error
            case sqlite3.SQLITE_INTERRUPT:  # by its `ReadBudget`
                raise describe_damage(path, "a table holds more than its file has room for") from error
            case None:  # not of SQLite
                raise GalleryError(f"{path} could not be used as a gallery: {error}") from error
            case _:  # a table or an index is not what lightface made
                raise describe_damage(path, error) from error


def describe_damage(path: Path, reason: object) -> GalleryError:
    """The error of a file that holds what lightface never writes."""
    words = " ".join(str(reason).split())  # SQLite quotes the schema, line breaks and all
    return GalleryError(f"{path} is damaged ({words}); import the last export into a new gallery")


def _make_ready(path: Path, *, create: bool) -> None:
    """See to a file at `path`; -wal and -shm take their mode from it."""
    if path.is_dir():
        raise GalleryError(f"{path} is a folder; name the gallery file in it")
    if not path.exists():
        if not create:
            raise GalleryError(f"there is no gallery at {path}; enroll somebody first, or name another file")
        make_folder(path.parent)
        touch_private(path)
    if not path.is_file():  # a pipe would be waited on for ever
        raise GalleryError(f"{path} is not a regular file; name another one")


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool, busy_timeout_s: float) -> None:
    connection.text_factory = _decode_text
    budget = ReadBudget(connection, path)
    _check_identity(connection, path, create=create)
    _close_to_others(path)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # deleted faces are overwritten with zeros
    connection.execute("PRAGMA temp_store = MEMORY")  # VACUUM would copy the faces into the temporary folder
    connection.execute("PRAGMA synchronous = FULL")  # what was enrolled survives a power cut
    _migrate(connection, budget)
    _use_write_ahead_log(connection, busy_timeout_s)


def _check_identity(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Raise GalleryError unless the file is a gallery that this version knows, or empty and to become one."""
    with transaction(connection, "BEGIN"):  # another process may be creating the gallery at this moment
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id == APPLICATION_ID and version > len(MIGRATIONS):
            raise GalleryError(
                f"{path} was written by a newer lightface (schema {version}, known is {len(MIGRATIONS)}); "
                "upgrade lightface"
            )
        if application_id == APPLICATION_ID:
            try:
                check_schema(connection, _schema_of_version(max(version, 0), MIGRATIONS))
            except ValueError as error:
                raise describe_damage(path, error) from error
        elif application_id or version or connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            raise GalleryError(f"{path} is another application's database, not a gallery; name another file")
        elif not create:
            raise GalleryError(f"the gallery at {path} is empty; enroll somebody first, or name another file")


@cache
def _schema_of_version(version: int, migrations: tuple[tuple[str, ...], ...]) -> Schema:
    """What the file of a gallery declares after so many steps."""
    return schema_made_by(statement for step in migrations[:version] for statement in step)


def _close_to_others(path: Path) -> None:
    """Take back what a careless copy may have granted."""
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with suppress(OSError):  # no such file, or not ours to change
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)


def _migrate(connection: sqlite3.Connection, budget: ReadBudget) -> None:
    """Run the outstanding migrations, all or none."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
        return
    with transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < _FOLDED_FROM:
            _fold_names(connection, budget)
        if version == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            now = datetime.now(UTC).isoformat()
            connection.execute("INSERT INTO setting VALUES ('created_at', ?)", (now,))
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _fold_names(connection: sqlite3.Connection, budget: ReadBudget) -> None:
    """Find people by their folded names, but for who shares theirs with another, and for encrypted ones."""
    if connection.execute("SELECT 1 FROM setting WHERE name = 'sealing'").fetchone():
        return
    people = list(budget.run(lambda: connection.execute("SELECT id, name FROM person ORDER BY id")))
    for person_id, name in people:
        with suppress(GalleryError):  # a damaged name, which whoever reads it will be told
            connection.execute("UPDATE OR IGNORE person SET name_key = ? WHERE id = ?", (folded_name(name), person_id))


def _use_write_ahead_log(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Switch to WAL, in which readers do not wait for writers, on file systems that are capable of it."""
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # here SQLite does not wait for its busy timeout
            if error_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _decode_text(data: bytes) -> str:
    """Text as UTF-8; the bytes of undecodable file names become what `os.fsdecode` makes of them."""
    return data.decode("utf-8", "surrogateescape")
