"""Embeddings that earlier evaluations made: each picture is embedded once for a model and a way of framing it.

One SQLite file for its owner's eyes only, since it holds faces. A picture is known by the SHA-256 of its bytes, so it
may be moved or renamed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from lightface.databases import open_database, transaction
from lightface.errors import OutputError
from lightface.files import check_owned, check_regular, make_folder, touch_private
from lightface.folders import cache_folder
from lightface.records import FloatArray, are_unit_rows

_SCHEMA: Final = """CREATE TABLE IF NOT EXISTS picture_3 (
    sha256 TEXT NOT NULL,
    made_by TEXT NOT NULL,  -- model, framing, gates
    vector BLOB,  -- float32, little-endian; NULL where no face could be used
    quality REAL,  -- 0..1; NULL where it is not known
    reason TEXT,  -- then this says why, as in PhotoError.reason
    message TEXT,
    PRIMARY KEY (sha256, made_by)
) STRICT, WITHOUT ROWID"""


@dataclass(frozen=True, slots=True, eq=False)
class CachedFace:
    """What became of a picture: a unit vector, or why there is none."""

    vector: FloatArray | None = None  # (256,) float32
    quality: float | None = None  # 0..1
    reason: str = ""
    message: str = ""


def default_cache_path() -> Path:
    """Where the cache lies: in the user's cache folder."""
    return cache_folder() / "evaluation.sqlite"


class EmbeddingCache:
    """A cache in one file, made if missing. OutputError where it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _translated_errors(path):
            make_folder(path.parent)
            check_owned(path)
            touch_private(path)
            check_regular(path)
            self._connection = open_database(path, _prepare, timeout_s=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def find(self, hashes: Iterable[str], *, made_by: str) -> dict[str, CachedFace]:
        """What is known of pictures, by their SHA-256."""
        found: dict[str, CachedFace] = {}
        with _translated_errors(self.path):
            for sha256 in hashes:
                row = self._connection.execute(
                    "SELECT vector, quality, reason, message FROM picture_3 WHERE sha256 = ? AND made_by = ?",
                    (sha256, made_by),
                ).fetchone()
                if row is not None:
                    found[sha256] = _to_face(*row)
        return found

    def forget(self, hashes: Iterable[str]) -> None:
        """Delete what is known of pictures, whichever model embedded them."""
        with _translated_errors(self.path), transaction(self._connection):
            self._connection.executemany("DELETE FROM picture_3 WHERE sha256 = ?", ((one,) for one in hashes))

    def add(self, faces: Mapping[str, CachedFace], *, made_by: str) -> None:
        """Remember pictures by their SHA-256, all or none."""
        rows = [
            (
                sha256,
                made_by,
                None if face.vector is None else face.vector.astype("<f4").tobytes(),
                face.quality,
                face.reason or None,
                face.message or None,
            )
            for sha256, face in faces.items()
        ]
        with _translated_errors(self.path), transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO picture_3 VALUES (?, ?, ?, ?, ?, ?)", rows)


def forget_pictures(hashes: Iterable[str]) -> None:
    """Delete what the user's own cache knows of pictures, where there is one. OutputError where it cannot be opened."""
    path = default_cache_path()
    if path.exists():
        with EmbeddingCache(path) as cache:
            cache.forget(hashes)


def _to_face(blob: bytes | None, quality: float | None, reason: str | None, message: str | None) -> CachedFace:
    if blob is None:
        return CachedFace(None, quality, reason or "", message or "")
    vector = np.frombuffer(blob, "<f4").astype(np.float32, copy=False)
    if not are_unit_rows(vector[np.newaxis]):
        raise ValueError("a damaged embedding")
    return CachedFace(vector, quality)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA secure_delete = ON")
    for table in ("picture_1", "picture_2"):  # what an earlier lightface kept
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(_SCHEMA)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, ValueError, TypeError) as error:  # the last two: a damaged text or embedding
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot use the cache {path} ({reason}); delete it, or go on without a cache") from error
