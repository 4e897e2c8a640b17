"""The journal of a folder job, beside its output: photographs with their fingerprints, and their faces or failures.

It is one SQLite file in WAL mode, readable by its owner alone, since it holds faces. One process at a time has it open.
The lock is the operating system's, so that it ends with its holder, even after SIGKILL.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from lightface.databases import check_schema, error_code, open_database, schema_made_by, transaction
from lightface.errors import OutputError
from lightface.files import check_owned, check_regular, touch_private
from lightface.locations import to_path
from lightface.pipeline import PhotoFaces
from lightface.records import DetectedFace, FaceEmbedding, Status, TimeSpan, are_unit_rows
from lightface.tables import FaceRow, describe_face, describe_failure

_APPLICATION_ID: Final = 0x4C464A4F  # "LFJO", in the file's header: tells a journal from other SQLite files
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    """CREATE TABLE photo (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,  -- absolute; as bytes, for not every file name is text
        stamp TEXT NOT NULL,  -- size and time of change, taken before the file was read
        sha256 TEXT,  -- NULL where the file could not be read
        made_by TEXT NOT NULL,  -- model and settings
        reason TEXT  -- NULL where there are faces
    ) STRICT""",
    """CREATE TABLE face (
        photo_id INTEGER NOT NULL REFERENCES photo (id) ON DELETE CASCADE,
        face_index INTEGER NOT NULL,
        x_min REAL, y_min REAL, x_max REAL, y_max REAL,
        landmarks BLOB,  -- (5, 2) float32, little-endian
        det_score REAL,
        quality REAL,
        embedding BLOB NOT NULL,  -- float32, little-endian
        model_id TEXT NOT NULL,
        PRIMARY KEY (photo_id, face_index)
    ) STRICT""",
    # Of faces in videos alone; journals that were made before there were any get it when they are opened.
    """CREATE TABLE IF NOT EXISTS track (
        photo_id INTEGER NOT NULL REFERENCES photo (id) ON DELETE CASCADE,
        face_index INTEGER NOT NULL,
        start_s REAL NOT NULL, end_s REAL NOT NULL, best_s REAL NOT NULL,
        PRIMARY KEY (photo_id, face_index)
    ) STRICT""",
)

_SIZE_OF_STAMP: Final = "substr(stamp, 1, instr(stamp, ':') - 1)"  # see `output.stamp`


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    """A photograph of this run, compared with what an earlier run has left of it."""

    path: Path
    sha256: str | None  # at the earlier run; None where that has left nothing that could still hold
    same_stamp: bool  # size and time of change are as they were
    known_size: bool  # the journal has contents of this size, perhaps under another path


class Journal:
    """The finished part of one job. Every method does all of its work or none.

    Raises OutputError where a method fails, another run has the journal open, or the file is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _translated_errors(path):
            self._connection = _connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, so that another run can open it."""
        with _translated_errors(self.path):
            self._connection.close()

    def compare(self, stamps: Iterable[tuple[Path, str]], *, made_by: str) -> Iterator[KnownPhoto]:
        """Remember the photographs of this run with their stamps, and compare each with what is known, sorted by path.

        They are read one at a time, and nothing may be changed before the last. A photograph counts as unknown if its
        rows were made by something else, or if it could not be read: the next time it may be readable.
        """
        with self._changing():
            self._run("DELETE FROM found")
            self._connection.executemany(
                "INSERT OR REPLACE INTO found VALUES (?, ?)", ((os.fsencode(path), stamp) for path, stamp in stamps)
            )
            self._run("DELETE FROM known_size")
            self._run(
                f"""INSERT OR IGNORE INTO known_size SELECT {_SIZE_OF_STAMP} FROM photo
                WHERE made_by = ? AND sha256 IS NOT NULL""",
                made_by,
            )
        for path, stamp, sha256, same, known_size in self._read(
            f"""SELECT found.path, found.stamp, photo.sha256, photo.stamp = found.stamp,
            {_SIZE_OF_STAMP.replace("stamp", "found.stamp")} IN (SELECT size FROM known_size) FROM found
            LEFT JOIN photo ON photo.path = found.path AND photo.made_by = ? ORDER BY found.path""",
            made_by,
        ):
            place = to_path(os.fsdecode(path), stamp=stamp)
            yield KnownPhoto(place, sha256, same_stamp=bool(same), known_size=bool(known_size))

    def take_over(self, contents: Iterable[tuple[Path, str]], *, made_by: str) -> set[Path]:
        """Give photographs of this run, by SHA-256, what an earlier run has found in the same contents.

        The row of a path that is not of this run moves to the new path; of one that is, a copy is made. Which
        photographs got something is returned.
        """
        with self._changing():
            self._run("CREATE TEMP TABLE moved (path BLOB PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID")
            self._connection.executemany(
                "INSERT INTO moved VALUES (?, ?)", ((os.fsencode(path), sha256) for path, sha256 in contents)
            )
            self._run(
                """CREATE TEMP TABLE taken AS SELECT path, stamp, source, NOT is_of_run AND taker = 1 AS is_move FROM (
                    SELECT path, source, is_of_run, row_number() OVER (PARTITION BY source ORDER BY path) AS taker
                    FROM (
                        SELECT moved.path, photo.id AS source, photo.path IN (SELECT path FROM found) AS is_of_run,
                        row_number() OVER (
                            PARTITION BY moved.path ORDER BY photo.path IN (SELECT path FROM found), photo.id
                        ) AS choice
                        FROM moved JOIN photo ON photo.sha256 = moved.sha256 WHERE photo.made_by = ?
                    ) WHERE choice = 1
                ) JOIN found USING (path)""",
                made_by,
            )
            taken = {to_path(os.fsdecode(path)) for (path,) in self._run("SELECT path FROM taken")}
            if taken:
                self._forget_output()
                self._take_over()
            self._run("DROP TABLE moved")
            self._run("DROP TABLE taken")
        return taken

    def _take_over(self) -> None:
        """Move and copy the rows of the table `taken`."""
        # What lies at a new path may be another's source, when two files have swapped names: it is put aside first,
        # under a path that no file has.
        self._run("UPDATE photo SET path = CAST(x'00' || id AS BLOB) WHERE path IN (SELECT path FROM taken)")
        self._run(
            """INSERT INTO photo (path, stamp, sha256, made_by, reason)
            SELECT taken.path, taken.stamp, sha256, made_by, reason FROM taken JOIN photo ON photo.id = source
            WHERE NOT is_move"""
        )
        columns = "face_index, x_min, y_min, x_max, y_max, landmarks, det_score, quality, embedding, model_id"
        self._run(
            f"""INSERT INTO face (photo_id, {columns}) SELECT photo.id, {columns} FROM taken
            JOIN photo ON photo.path = taken.path JOIN face ON face.photo_id = source WHERE NOT is_move"""
        )
        self._run(
            """UPDATE photo SET path = taken.path, stamp = taken.stamp FROM taken
            WHERE is_move AND photo.id = source"""
        )
        self._run("DELETE FROM photo WHERE substr(path, 1, 1) = x'00'")

    def keep(self, paths: Sequence[Path]) -> None:
        """Give new stamps to photographs whose contents have not changed."""
        with self._changing():
            self._connection.executemany(
                "UPDATE photo SET stamp = (SELECT stamp FROM found WHERE found.path = photo.path) WHERE path = ?",
                [(os.fsencode(path),) for path in paths],
            )

    def record(self, photos: Sequence[PhotoFaces], *, made_by: str) -> None:
        """Replace what is known of these photographs by what became of them."""
        with self._changing():
            for photo in photos:
                self._record(photo, made_by)

    def photos(self) -> Iterator[tuple[Path, str]]:
        """Every photograph that is known, with its stamp, by path."""
        for path, stamp in self._read("SELECT path, stamp FROM photo ORDER BY path"):
            yield to_path(os.fsdecode(path)), stamp

    def others(self) -> Iterator[Path]:
        """The photographs that are known and not of this run, by path."""
        for (path,) in self._read("SELECT path FROM photo WHERE path NOT IN (SELECT path FROM found) ORDER BY path"):
            yield to_path(os.fsdecode(path))

    def forget_others(self) -> int:
        """Delete the photographs that are not of this run; how many those were."""
        with self._changing():
            count = self._run("DELETE FROM photo WHERE path NOT IN (SELECT path FROM found)").rowcount
            if count:
                self._forget_output()
        return count

    def rows(self) -> Iterator[FaceRow]:
        """The whole table, by path and face, one row at a time."""
        for path, reason, index, *face in self._read(
            """SELECT path, reason, face_index, x_min, y_min, x_max, y_max, landmarks, det_score, quality,
            embedding, model_id, start_s, end_s, best_s FROM photo LEFT JOIN face ON face.photo_id = photo.id
            LEFT JOIN track USING (photo_id, face_index) ORDER BY path, face_index"""
        ):
            try:
                place = to_path(os.fsdecode(path))
                if index is None:
                    row = describe_failure(place, None if reason is None else str(reason))
                else:
                    row = describe_face(place, index, _to_face(*face), status=Status.EMBEDDED)
            except (TypeError, ValueError) as error:  # a blob of another length, a text for a number
                raise OutputError(_describe_damage(self.path)) from error
            yield row

    def face_count(self) -> int:
        """Faces in the whole table."""
        ((count,),) = self._read("SELECT count(*) FROM face")
        return int(count)

    def failure_counts(self) -> dict[str, int]:
        """Photographs without a face in the whole table, by reason."""
        return dict(self._read("SELECT reason, count(*) FROM photo WHERE reason IS NOT NULL GROUP BY reason"))

    @property
    def output_stamp(self) -> str | None:
        """The stamp of the output that holds exactly these rows; None where none was written since they changed."""
        values = list(self._read("SELECT value FROM setting WHERE name = 'output'"))
        return values[0][0] if values else None

    @output_stamp.setter
    def output_stamp(self, stamp: str) -> None:
        with self._changing():
            self._run("INSERT OR REPLACE INTO setting VALUES ('output', ?)", stamp)

    def _record(self, photo: PhotoFaces, made_by: str) -> None:
        path = os.fsencode(photo.path)
        reason = None if photo.error is None else photo.error.reason
        values = (photo.sha256, made_by, reason)
        if reason and values in self._read("SELECT sha256, made_by, reason FROM photo WHERE path = ?", path):
            return  # the same failure as last time
        self._forget_output()
        self._run("DELETE FROM photo WHERE path = ?", path)
        photo_id = self._run(
            """INSERT INTO photo (path, stamp, sha256, made_by, reason)
            SELECT path, stamp, ?, ?, ? FROM found WHERE path = ?""",
            *values,
            path,
        ).lastrowid
        self._connection.executemany(
            f"INSERT INTO face VALUES ({', '.join('?' * 11)})",
            [(photo_id, index, *_to_columns(face)) for index, face in enumerate(photo.faces)],
        )
        self._connection.executemany(
            "INSERT INTO track VALUES (?, ?, ?, ?, ?)",
            [
                (photo_id, index, face.span.start_s, face.span.end_s, face.span.best_s)
                for index, face in enumerate(photo.faces)
                if face.span is not None
            ],
        )

    def _forget_output(self) -> None:
        self._run("DELETE FROM setting WHERE name = 'output'")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with _translated_errors(self.path), transaction(self._connection):
            yield

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _read(self, statement: str, *values: object) -> Iterator[Any]:
        with _translated_errors(self.path):
            # A bare cursor is closed with a generator that is given up. After its connection was closed, that fails.
            yield from map(tuple, self._connection.execute(statement, values))


def _connect(path: Path) -> sqlite3.Connection:
    try:
        check_owned(path)
        touch_private(path)
        check_regular(path)  # SQLite would wait for a pipe
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise OutputError(f"cannot write beside {path.stem!r} ({error}); choose another place") from error
    return open_database(path, partial(_prepare, path=path), timeout_s=0)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # from the first read on, until the connection closes
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # deleted faces are overwritten with zeros
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("BEGIN EXCLUSIVE")
    (application_id,), (version,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    is_empty = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    if application_id == version == 0 and is_empty:
        for statement in (
            *_SCHEMA,
            f"PRAGMA application_id = {_APPLICATION_ID}",
            f"PRAGMA user_version = {_SCHEMA_VERSION}",
        ):
            connection.execute(statement)
    elif (application_id, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
        raise OutputError(f"{path} is not a journal of this version of lightface; delete it, or choose another output")
    else:
        connection.execute(_SCHEMA[-1])
        try:
            check_schema(connection, schema_made_by(_SCHEMA))
        except ValueError as error:
            raise OutputError(_describe_damage(path)) from error
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last photographs, no more
    connection.execute("CREATE TEMP TABLE found (path BLOB PRIMARY KEY, stamp TEXT NOT NULL) WITHOUT ROWID")
    connection.execute("CREATE TEMP TABLE known_size (size TEXT PRIMARY KEY) WITHOUT ROWID")


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite's own message quotes what is broken
        raise OutputError(_describe_damage(path)) from error
    except sqlite3.Error as error:
        match error_code(error):
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                remedy = "another run is writing this output; wait for it, or choose another output"
            case sqlite3.SQLITE_FULL:
                remedy = "no room left; free some space and run again, what was finished is kept"
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                raise OutputError(_describe_damage(path)) from error
            case _:
                remedy = f"{error}; check the disk and the permissions of the folder"
        raise OutputError(f"the journal {path} cannot be used: {remedy}") from error


def _describe_damage(path: Path) -> str:
    return f"the journal {path} is damaged; delete it, and all photographs are embedded again"


def _to_columns(face: FaceEmbedding) -> tuple[object, ...]:
    box: tuple[float | None, ...] = (None,) * 4
    landmarks = score = None
    if face.detection is not None:
        box, score = face.detection.box_px, face.detection.score
        landmarks = face.detection.landmarks_px.astype("<f4").tobytes()
    return (*box, landmarks, score, face.quality, face.vector.astype("<f4").tobytes(), face.model_id)


def _to_face(*columns: Any) -> FaceEmbedding:
    *box, landmarks, score, quality, embedding, model_id, start_s, end_s, best_s = columns
    detection = None
    if landmarks is not None:
        x_min, y_min, x_max, y_max = map(float, box)
        points = np.frombuffer(landmarks, "<f4").reshape(5, 2)
        detection = DetectedFace((x_min, y_min, x_max, y_max), points, float(score))
    vector = np.frombuffer(embedding, "<f4")
    if not are_unit_rows(vector[np.newaxis]):
        raise ValueError("an embedding whose length is not 1")
    span = None if start_s is None else TimeSpan(float(start_s), float(end_s), float(best_s))
    return FaceEmbedding(vector, str(model_id), detection, None if quality is None else float(quality), span)
