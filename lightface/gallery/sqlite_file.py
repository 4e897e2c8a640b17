"""Open a gallery's SQLite file: recognise it, bring its schema up to date, keep it to its owner."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Final

from lightface.databases import (
    ReadBudget,
    Schema,
    check_schema,
    error_code,
    open_database,
    schema_made_by,
    transaction,
)
from lightface.errors import GalleryError, OutputError
from lightface.files import check_owned, make_folder, touch_private
from lightface.gallery.records import folded_name

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
    (  # from here on, rows may be sealed, see `sealed_rows`
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
