"""Rows of a gallery's tables -> records, held to what lightface itself would have written; and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from lightface.errors import GalleryError
from lightface.gallery.records import (
    Event,
    FaceSample,
    LogEntry,
    Person,
    StoredThreshold,
    check_metadata,
    check_sample,
    normalize_name,
    parse_date,
)

PERSON_COLUMNS: Final = "id, name, name_key, metadata, created_at"
SAMPLE_COLUMNS: Final = (
    "id, person_id, embedding, (SELECT value FROM setting WHERE name = 'model_id'), source_path, "
    "image_sha256, x_min, y_min, x_max, y_max, det_score, quality, created_at"
)
LOG_COLUMNS: Final = "event, person_id, target_id, sample_id, similarity, at"
# What a record raises that lightface has not written: dates, numbers, JSON, names, embeddings.
CONVERSION_ERRORS: Final = (ValueError, TypeError, AttributeError, OverflowError, RecursionError, GalleryError)


def to_person(row: tuple[Any, ...]) -> Person:
    person_id, name, _, metadata, created_at = row
    known = json.loads(metadata)
    check_metadata(known)
    return Person(to_id(person_id), normalize_name(name), known, _date(created_at))


def to_sample(row: tuple[Any, ...]) -> FaceSample:
    """A sample of a row of SAMPLE_COLUMNS whose embedding is an array already."""
    (
        sample_id,
        person_id,
        vector,
        model_id,
        source_path,
        image_sha256,
        *box_px,
        det_score,
        quality,
        created_at,
    ) = row
    x_min, y_min, x_max, y_max = box_px
    sample = FaceSample(
        id=to_id(sample_id),
        person_id=to_id(person_id),
        vector=vector,
        model_id=_text(model_id),
        source_path=_text(source_path),
        image_sha256=image_sha256,
        box_px=None if x_min is None else (x_min, y_min, x_max, y_max),
        det_score=det_score,
        quality=quality,
        created_at=_date(created_at),
    )
    check_sample(sample)
    return sample


def to_threshold(row: tuple[Any, ...]) -> StoredThreshold:
    far, threshold, source, created_at = row
    return StoredThreshold(far, threshold, _text(source), _date(created_at))


def to_log_entry(row: tuple[Any, ...]) -> LogEntry:
    event, person_id, target_id, sample_id, similarity, at = row
    person, target, sample = (None if one is None else to_id(one) for one in (person_id, target_id, sample_id))
    return LogEntry(Event(event), person, target, sample, None if similarity is None else float(similarity), _date(at))


def to_date(row: tuple[Any, ...]) -> datetime:
    return _date(row[0])


def to_int(row: tuple[Any, ...]) -> int:
    return int(row[0])


def to_ids(row: tuple[Any, ...]) -> tuple[int, int]:
    one, other = row
    return to_id(one), to_id(other)


def to_id(value: object) -> int:
    """A number of a row. A damaged page may hold anything, whatever its column says."""
    if not isinstance(value, int):
        raise TypeError(f"{str(value)[:40]!r} is not a number")
    return value


def from_text(text: str) -> bytes:
    """The bytes of a text that need not be Unicode, such as the name of a file."""
    return text.encode("utf-8", "surrogateescape")


def from_date(date: datetime) -> str:
    return date.astimezone(UTC).isoformat(timespec="microseconds")  # one width, so that text sorts by time


def _text(value: object) -> str:
    """A text as it went through `from_text`: SQLite gives it as text, PostgreSQL as bytes."""
    if not isinstance(value, str | bytes):
        raise TypeError(f"{value!r} is not a text")
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _date(value: str | datetime) -> datetime:
    """SQLite keeps a date as text, PostgreSQL as what it is."""
    return value.astimezone(UTC) if isinstance(value, datetime) else parse_date(value)
