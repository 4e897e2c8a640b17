"""What the SQLite files of lightface have in common: how one is opened, and how it is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def open_database(path: Path, prepare: Callable[[sqlite3.Connection], None], *, timeout_s: float) -> sqlite3.Connection:
    """A connection to the file at `path`, which must be there, once `prepare` is done; closed again where that fails.

    `timeout_s` is how long to wait for other processes. Transactions are left to `transaction`.
    """
    # mode=rw: SQLite itself would create a missing file with the permissions of the umask.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)
    try:
        prepare(connection)
    except BaseException:  # Ctrl-C included
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit what happens inside, or roll it back on any exception, Ctrl-C included."""
    try:
        # IMMEDIATE takes the write lock before the first read. A reader that turns writer would fail at once
        # with 'database is locked' where another wrote in between, whatever the timeout.
        connection.execute(begin)
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
            connection.execute("ROLLBACK")
        raise


def error_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary code of an error, such as `sqlite3.SQLITE_FULL`; None for errors of Python's module."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # without the extended part
