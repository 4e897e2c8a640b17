"""What the SQLite files of lightface have in common: how one is opened, what is believed of it, how it is changed.

A file may be made by whoever wishes ill: its tables may be views, its pages may refer to one another in circles, so
that a query of a small file would never end. `schema_of` shows what a file declares, `ReadBudget` ends the queries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

# Far above what lightface writes, and far below what would exhaust memory.
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2**24,  # bytes of a value or a row
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
}
_STEPS_A_CALL: Final = 10_000  # of SQLite's virtual machine, between two looks at the budget
_FREE_STEPS: Final = 2_000_000
_STEPS_PER_BYTE: Final = 4  # a row has at least some 40 bytes, and no statement here takes 100 steps for one
_FREE_BYTES: Final = 2**22
_BYTES_PER_BYTE: Final = 4  # no statement here returns a value four times
_ROW_BYTES: Final = 16  # that a row costs, however little it holds

Schema = frozenset[tuple[str, str, str, str | None]]  # type, name, table and SQL of each object


def open_database(
    path: Path,
    prepare: Callable[[sqlite3.Connection], None],
    *,
    timeout_s: float,
    any_thread: bool = False,
    mode: Literal["rw", "ro"] = "rw",
) -> sqlite3.Connection:
    """A connection to the file at `path`, which must be there, once `prepare` is done; closed again where that fails.

    `timeout_s` is how long to wait for other processes. Transactions are left to `transaction`. With `any_thread`,
    other threads may use it, of which the caller lets in one at a time. The mode "ro" is for a file of another program.
    """
    # Not rwc: SQLite itself would create a missing file with the permissions of the umask.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=not any_thread
    )
    try:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
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


def schema_of(connection: sqlite3.Connection) -> Schema:
    """All that a database declares. Reading it runs none of it: no view, no trigger, no virtual table.

    ValueError where two tables or indices claim the same page.
    """
    query = "SELECT type, name, tbl_name, sql, rootpage FROM sqlite_schema"
    objects = connection.execute(query).fetchall()
    pages = [page for kind, *_, page in objects if kind in ("table", "index")]
    if len(set(pages)) != len(pages):
        raise ValueError("two of its tables are one")
    return frozenset((kind, name, table, sql) for kind, name, table, sql, _ in objects)


def schema_made_by(statements: Iterable[str]) -> Schema:
    """What a new database declares after these statements."""
    with closing(sqlite3.connect(":memory:")) as model:
        for statement in statements:
            model.execute(statement)
        return schema_of(model)


def check_schema(connection: sqlite3.Connection, expected: Schema) -> None:
    """Raise ValueError, which names one difference, unless a database declares exactly what is expected."""
    found = schema_of(connection)
    if found != expected:
        kind, name, *_ = min(found ^ expected, key=str)
        raise ValueError(f"its {kind} {str(name)[:40]!r} is not what lightface makes")


class ReadBudget:
    """How much one statement may do and return, by the size of the database; an honest one never comes near."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._paths = [Path(f"{path.absolute()}{suffix}") for suffix in ("", "-wal")]
        self._largest_bytes = 0
        self._size_bytes()  # while the file is where it was opened
        self._calls = 0
        connection.set_progress_handler(self._is_spent, _STEPS_A_CALL)

    def run(self, execute: Callable[[], sqlite3.Cursor]) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement. OperationalError (SQLITE_INTERRUPT) where it does or returns too much."""
        self._calls = 0
        left = _FREE_BYTES
        is_measured = False
        for row in execute():
            left -= _ROW_BYTES + sum(len(value) for value in row if isinstance(value, str | bytes))
            if left < 0 and not is_measured:
                left, is_measured = left + _BYTES_PER_BYTE * self._size_bytes(), True
            if left < 0:
                error = sqlite3.OperationalError("interrupted")
                error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT  # as where SQLite has stopped by itself
                raise error
            yield row

    def _is_spent(self) -> bool:
        self._calls += 1
        steps = self._calls * _STEPS_A_CALL - _FREE_STEPS
        return steps > 0 and steps > _STEPS_PER_BYTE * self._size_bytes()

    def _size_bytes(self) -> int:
        """Of the file; where it has been moved away, as it was."""
        size = 0
        for path in self._paths:
            with suppress(OSError):
                size += path.stat().st_size
        self._largest_bytes = max(self._largest_bytes, size)
        return self._largest_bytes


def error_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary code of an error, such as `sqlite3.SQLITE_FULL`; None for errors of Python's module."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # without the extended part
