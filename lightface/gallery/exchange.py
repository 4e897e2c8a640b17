"""The portable file that a gallery is exported to and imported from.

JSON Lines in ASCII, one object a line, told apart by `kind`. The first line is the header; people come before
their samples. Numbers and dates come back exactly; an embedding is the base64 of its little-endian float32.

    {"kind": "gallery", "format": "lightface-gallery", "version": 1, "model_id": "...",
     "people": 1, "samples": 1}
    {"kind": "person", "id": 1, "name": "Ada", "metadata": {}, "created_at": "2025-03-01T12:00:00+00:00"}
    {"kind": "threshold", "far": 0.001, "threshold": 0.41, "source": "...", "created_at": "..."}
    {"kind": "sample", "id": 1, "person_id": 1, "embedding": "...", "source_path": "...",
     "image_sha256": "...", "box_px": [10.5, 20.0, 90.0, 120.0], "det_score": 0.99, "quality": null,
     "created_at": "..."}

The file holds biometric data: it is written for its owner only (mode 0600).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lightface.errors import GalleryError, OutputError
from lightface.files import open_regular, write_private
from lightface.gallery.records import (
    CopySummary,
    Person,
    StoredSample,
    StoredThreshold,
    check_metadata,
    check_new_sample,
    check_new_threshold,
    check_person,
    folded_name,
    name_key,
    normalize_name,
    parse_date,
)
from lightface.gallery.store import LOG_DAYS, MODEL_ID, RETENTION_DAYS, GalleryStore
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher

_FORMAT: Final = "lightface-gallery"
_VERSION: Final = 1
_MAX_LINE_BYTES: Final = 2**24  # a longer line is no line of an export


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """The first line of an export: whose embeddings follow, and how many, so that a cut file is noticed."""

    model_id: str | None
    person_count: int
    sample_count: int


ExportRecord = ExportHeader | Person | StoredThreshold | StoredSample


def write_export(path: Path, records: Iterable[ExportRecord]) -> None:
    """Write an export whole or not at all, readable by its owner only. OutputError where that fails."""
    try:
        with write_private(path) as file:
            file.writelines(_to_line(record) for record in records)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); nothing was exported") from error


def hash_records(records: Iterable[ExportRecord]) -> str:
    """The SHA-256, in hex, of the export that holds these records."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(_to_line(record))
    return digest.hexdigest()


def read_export(path: Path, *, allow_alike: bool = False) -> Iterator[ExportRecord]:
    """The records of an export in file order, the header first, each checked.

    Raises GalleryError for a file that is missing, no export, of a newer lightface, damaged or cut short, and for two
    names that a reader could take for one, unless `allow_alike`: old galleries may hold such. The message names the
    line.
    """
    number = 0
    try:
        with open_regular(path) as file:
            reader = _Reader(key=name_key if allow_alike else folded_name)
            while line := file.readline(_MAX_LINE_BYTES):
                number += 1
                yield reader.parse(line)
            reader.check_complete()
    except OSError as error:
        raise GalleryError(f"{path} cannot be read ({error.strerror}); name an export of a gallery") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        if number == 1:
            raise GalleryError(f"{path} is not an exported gallery; name what 'gallery export' wrote") from error
        raise GalleryError(f"{path}, line {number}: damaged; export the gallery again") from error
    except KeyError as error:
        raise GalleryError(f"{path}, line {number}: no {error}; export the gallery again") from error
    # Numbers too large, texts for numbers, deep nesting: whatever a damaged or hostile file can hold.
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, GalleryError) as error:
        raise GalleryError(f"{path}, line {number}: {error}; export the gallery again") from error


class _Reader:
    """Turns lines into records and remembers what a later line has to fit."""

    def __init__(self, *, key: Callable[[str], str]) -> None:
        self._key = key  # which no two people have in common
        self._header: ExportHeader | None = None
        self._person_ids: set[int] = set()
        self._names: dict[str, str] = {}
        self._sample_ids: set[int] = set()

    def parse(self, line: bytes) -> ExportRecord:
        values = json.loads(line.decode("ascii"))
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
        try:
            os.fsencode(json.dumps(values, ensure_ascii=False))
        except UnicodeEncodeError as error:
            raise ValueError("a text holds half of a character; write it anew") from error
        kind = values["kind"]
        if self._header is None:
            self._header = _parse_header(values)
            return self._header
        match kind:
            case "person":
                person = _parse_person(values)
                _add_new(person.id, self._person_ids)
                other = self._names.setdefault(self._key(person.name), person.name)
                if len(self._names) < len(self._person_ids):
                    raise ValueError(
                        f"two people with one name, {person.name!r} and {other!r}, or names that look alike; rename "
                        "one of them, or allow alike names"
                    )
                return person
            case "sample":
                sample = _parse_sample(values, self._header.model_id)
                if sample.person_id not in self._person_ids:
                    raise ValueError(f"a sample of person {sample.person_id}, who is not in the file")
                _add_new(sample.id, self._sample_ids)
                return sample
            case "threshold":
                return _parse_threshold(values)
            case _:
                raise ValueError(f"unknown kind {kind!r}")

    def check_complete(self) -> None:
        if self._header is None:
            raise ValueError("the file is empty")
        found = len(self._person_ids), len(self._sample_ids)
        if found != (self._header.person_count, self._header.sample_count):
            raise ValueError(
                f"the file ends with {count_of(found[0], 'person')} and {count_of(found[1], 'sample')} of "
                f"{self._header.person_count} and {self._header.sample_count}"
            )


def _to_line(record: ExportRecord) -> bytes:
    return f"{json.dumps(_to_json(record), allow_nan=False)}\n".encode("ascii")


def _to_json(record: ExportRecord) -> dict[str, Any]:
    match record:
        case ExportHeader():
            return {
                "kind": "gallery",
                "format": _FORMAT,
                "version": _VERSION,
                "model_id": record.model_id,
                "people": record.person_count,
                "samples": record.sample_count,
            }
        case Person():
            return {
                "kind": "person",
                "id": record.id,
                "name": record.name,
                "metadata": dict(record.metadata),
                "created_at": record.created_at.isoformat(),
            }
        case StoredThreshold():
            return {
                "kind": "threshold",
                "far": record.far,
                "threshold": record.threshold,
                "source": record.source,
                "created_at": record.created_at.isoformat(),
            }
        case StoredSample():
            return {
                "kind": "sample",
                "id": record.id,
                "person_id": record.person_id,
                "embedding": base64.b64encode(record.vector.astype("<f4").tobytes()).decode("ascii"),
                "source_path": record.source_path,
                "image_sha256": record.image_sha256,
                "box_px": record.box_px,
                "det_score": record.det_score,
                "quality": record.quality,
                "created_at": record.created_at.isoformat(),
            }


def _parse_header(values: dict[str, Any]) -> ExportHeader:
    if values.get("format") != _FORMAT:
        raise ValueError("not an export of a gallery")
    if values["version"] != _VERSION:
        raise ValueError(f"format version {values['version']!r}, known is {_VERSION}; upgrade lightface")
    model_id = values["model_id"]
    return ExportHeader(None if model_id is None else _text(model_id), values["people"], values["samples"])


def _parse_person(values: dict[str, Any]) -> Person:
    check_metadata(values["metadata"])
    name, created_at = normalize_name(_text(values["name"])), parse_date(values["created_at"])
    person = Person(_id(values["id"]), name, values["metadata"], created_at)
    check_person(person)
    return person


def _parse_threshold(values: dict[str, Any]) -> StoredThreshold:
    threshold = StoredThreshold(
        far=_number(values["far"]),
        threshold=_number(values["threshold"]),
        source=_text(values["source"]),
        created_at=parse_date(values["created_at"]),
    )
    check_new_threshold(threshold)
    return threshold


def _parse_sample(values: dict[str, Any], model_id: str | None) -> StoredSample:
    vector = np.frombuffer(base64.b64decode(_text(values["embedding"]), validate=True), dtype="<f4")
    box_px = values["box_px"]
    if box_px is not None:
        if not isinstance(box_px, list) or len(box_px) != 4:
            raise TypeError(f"{box_px!r:.80} is no box of four numbers")
        x_min, y_min, x_max, y_max = map(_number, box_px)
        box_px = (x_min, y_min, x_max, y_max)
    sample = StoredSample(
        id=_id(values["id"]),
        person_id=_id(values["person_id"]),
        vector=vector.astype(np.float32, copy=False),
        model_id=_text(model_id),
        source_path=_text(values["source_path"]),
        image_sha256=_text(values["image_sha256"]),
        box_px=box_px,
        det_score=None if values["det_score"] is None else _number(values["det_score"]),
        quality=None if values["quality"] is None else _number(values["quality"]),
        created_at=parse_date(values["created_at"]),
    )
    check_new_sample(sample)
    return sample


def _add_new(new_id: int, ids: set[int]) -> None:
    if new_id in ids:
        raise ValueError(f"id {new_id} occurs twice")
    ids.add(new_id)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not an id")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is not a finite number")
    return float(value)


# A gallery from one store to another, or from one key to another, the same to the last bit.


_OBLIGATIONS: Final = (LOG_DAYS, RETENTION_DAYS)  # which follow the people; the log itself stays where it is


def read_records(store: GalleryStore) -> Iterator[ExportRecord]:
    """All that a store holds, in the order of an export. Called inside `reading()` or `writing()`."""
    yield _describe(store)
    yield from store.people()
    yield from store.thresholds()
    yield from store.samples()


def reencrypt_records(store: GalleryStore, cipher: GalleryCipher | None) -> None:
    """Encrypt all that a store holds anew, read it back and compare. Called inside `writing()`."""
    before = hash_records(read_records(store))
    store.reencrypt(cipher)
    if hash_records(read_records(store)) != before:
        raise GalleryError(f"{store.location} did not come back the same; nothing was changed, try again")


def copy_records(source: GalleryStore, target: GalleryStore, *, in_clear: bool) -> CopySummary:
    """Make an empty target what the source is; see `Gallery.copy_to`.

    Called inside the source's `reading()` and the target's `writing()`, which undoes a copy that is not the same.
    """
    header = _describe(source)
    was_there = _describe(target) != ExportHeader(None, 0, 0)
    if not was_there:
        if source.cipher is not None and target.cipher is None and not in_clear:
            target.reencrypt(source.cipher.up_to_date())
        _fill(target, source, header.model_id)
    elif _describe(target) != header:
        raise GalleryError(f"{target.location} holds something else than {source.location}; name an empty gallery")
    sha256 = hash_records(read_records(source))
    if hash_records(read_records(target)) != sha256:
        remedy = "name an empty gallery" if was_there else "nothing was copied, try again"
        raise GalleryError(f"{target.location} is not the same as {source.location}; {remedy}")
    return CopySummary(header.person_count, header.sample_count, sha256, was_there)


def _describe(store: GalleryStore) -> ExportHeader:
    counts = store.sample_counts()
    return ExportHeader(store.setting(MODEL_ID), len(counts), sum(counts.values()))


def _fill(target: GalleryStore, source: GalleryStore, model_id: str | None) -> None:
    if model_id is not None:
        target.set_setting(MODEL_ID, model_id)
    people = source.people()
    for person in people:
        check_person(person)
    target.insert_people(people)
    target.insert_samples(_checked(source.samples()))
    for threshold in source.thresholds():
        check_new_threshold(threshold)
        target.put_threshold(threshold)
    for name in _OBLIGATIONS:
        if (value := source.setting(name)) is not None:
            target.set_setting(name, value)


def _checked(samples: Iterator[StoredSample]) -> Iterator[StoredSample]:
    for sample in samples:
        check_new_sample(sample)
        yield sample
