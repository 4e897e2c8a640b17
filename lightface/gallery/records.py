"""What a gallery holds: people, face samples, thresholds; and what it asks of a name or a sample."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import numpy as np

from lightface.errors import GalleryError, check_number
from lightface.records import BoxPx, FloatArray, IntArray, are_unit_rows, fields_of
from lightface.words import visible

CONSENT: Final = "consent"  # the key of a person's metadata that says what they have agreed to

LARGEST_ID: Final = 2**53 - 1  # that JSON keeps, and far from the last that SQLite could give

# Of what comes from outside. What an earlier lightface has stored is read beyond them.
_LONGEST_NAME: Final = 250  # characters; one more would be no name of a folder
_LONGEST_TEXT: Final = 10_000  # of a path, or of a person's metadata
_MOST_METADATA: Final = 1_000
_EMBEDDING_SIZES: Final = range(64, 4097)
_LARGEST_COORDINATE: Final = 1e7  # pixels
_ROUNDING: Final = 1e-6  # of scores in single precision
_YEARS: Final = range(1970, 3000)  # that a clock may show, be it a wrong one

# Characters that show nothing, beside blanks and those of the category Cf: fillers and variation selectors.
_INVISIBLE: Final = frozenset(
    [
        *"\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0",
        *map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))),
    ]
)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SAME_FACE_OVERLAP: Final = 0.5  # intersection over union; a detector finds one face again well above it


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the gallery. Ids are never used again, names are unique whatever their case and blanks."""

    id: int
    name: str  # in Unicode's NFC form
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __str__(self) -> str:
        return visible(self.name)

    def to_dict(self) -> dict[str, Any]:
        """The fields, for `json.dumps`."""
        return fields_of(self)


@dataclass(frozen=True, slots=True, eq=False)
class NewSample:
    """A face to be enrolled."""

    vector: FloatArray  # (256,) float32, Euclidean length 1
    model_id: str
    source_path: str
    image_sha256: str  # hex digest of the photograph's bytes
    box_px: BoxPx | None = None  # None for a crop that came already aligned
    det_score: float | None = None  # 0..1
    quality: float | None = None  # 0..1
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def stored(self, sample_id: int, person_id: int) -> StoredSample:
        """The same face as a gallery has it, of that id and of that person."""
        values = {one.name: getattr(self, one.name) for one in fields(NewSample)}
        return StoredSample(**values, id=sample_id, person_id=person_id)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredSample(NewSample):
    """An enrolled face of a person."""

    id: int
    person_id: int


@dataclass(frozen=True, slots=True)
class StoredThreshold:
    """A decision threshold measured for this gallery and its model. GalleryError for impossible numbers."""

    far: float  # the false-accept rate asked for, between 0 and 1
    threshold: float  # cosine
    source: str  # what it was measured on
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        check_number("a false-accept rate", self.far, low=0, high=1, ends=False, error=GalleryError)
        check_number("a threshold", self.threshold, error=GalleryError)
        if not 0 < self.threshold <= 1:  # half of all strangers have a cosine above 0
            raise GalleryError(f"a threshold of {self.threshold:g} is not above 0 and at most 1; calibrate again")


@dataclass(frozen=True, slots=True, eq=False)
class GalleryMatrix:
    """All samples as one matrix to search, sorted by person and then by age."""

    vectors: FloatArray  # (S, 256) float32 unit rows, read-only
    person_index: IntArray  # (S,) int64, position in `people`; never decreases
    people: tuple[Person, ...]  # those who have samples, by id
    model_id: str | None  # None while nobody was ever enrolled

    def within(self, metadata: Mapping[str, str]) -> GalleryMatrix:
        """The samples of those people alone whose metadata say all of this."""
        chosen = np.array([metadata.items() <= person.metadata.items() for person in self.people], np.bool_)
        people = tuple(person for person, keep in zip(self.people, chosen, strict=True) if keep)
        rows = np.flatnonzero(chosen[self.person_index])
        places: IntArray = (np.cumsum(chosen) - 1)[self.person_index[rows]]
        return GalleryMatrix(self.vectors[rows], places, people, self.model_id)


@dataclass(frozen=True, slots=True)
class GalleryStats:
    """The size and age of a gallery."""

    location: str
    model_id: str | None
    person_count: int
    sample_count: int
    samples_per_person: Mapping[int, int] = field(hash=False)  # by person id; 0 is possible
    size_bytes: int  # with the write-ahead log
    created_at: datetime
    last_enrolled_at: datetime | None


class Event(StrEnum):
    """What a log knows to tell."""

    ENROLLED = "enrolled"  # a sample of a person
    MATCHED = "matched"  # a person was recognised in a photograph
    REVIEW = "review"  # or perhaps
    MOVED = "moved"  # a sample of a person, to the target
    MERGED = "merged"  # a person into the target
    RENAMED = "renamed"
    REMOVED = "removed"  # a sample of a person, or a person with all of them
    UNDONE = "undone"  # the last change; entries of what that came to are before this one
    EXPORTED = "exported"
    COPIED = "copied"
    REEMBEDDED = "reembedded"
    ENCRYPTED = "encrypted"  # for the first time, or with another key
    DECRYPTED = "decrypted"
    LOG_ON = "log on"
    LOG_OFF = "log off"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a gallery's log. Ids only, which may outlive what they stand for."""

    event: Event
    person_id: int | None = None
    target_id: int | None = None  # of a second person
    sample_id: int | None = None
    similarity: float | None = None  # cosine
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Expired:
    """What has been kept longer than a gallery's retention allows."""

    before: datetime  # enrolled earlier than this
    people: tuple[Person, ...]  # who have nothing that is younger
    samples: Mapping[int, int] = field(hash=False)  # person id by sample id: of those people, and old ones of others


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import added to a gallery, and what was there already."""

    people_added: int
    samples_added: int
    samples_skipped: int
    thresholds_added: int = 0  # which decide from now on who is recognised


@dataclass(frozen=True, slots=True)
class CopySummary:
    """A gallery that is the same in two places."""

    person_count: int
    sample_count: int
    sha256: str  # hex, of the export of either
    was_there: bool  # before, so that nothing was copied


def latest_thresholds(stored: Sequence[StoredThreshold]) -> list[StoredThreshold]:
    """Those of the latest calibration, which share their date, in the order given."""
    latest = max((one.created_at for one in stored), default=None)
    return [one for one in stored if one.created_at == latest]


def normalize_name(name: str) -> str:
    """A name as it is stored: NFC, without blanks around it. GalleryError for one that cannot be shown."""
    normalized = unicodedata.normalize("NFC", name).strip()
    categories = {unicodedata.category(character) for character in normalized}
    if not any(category[0] in "LMNPS" for category in categories):  # nor are invisible characters a name
        raise GalleryError("a person's name is empty; give at least one letter")
    # Line breaks and control characters would break every report, lone surrogates every encoding.
    if categories & {"Cc", "Cs", "Zl", "Zp"}:
        raise GalleryError(f"the name {normalized!a} holds characters that cannot be printed; rename it")
    return normalized


def name_key(name: str) -> str:
    """What two spellings of one name share: normalised, without case."""
    return unicodedata.normalize("NFC", normalize_name(name).casefold())


def folded_name(name: str) -> str:
    """What names share that a reader could take for one another.

    Neither case nor blanks count, no invisible characters, no compatibility forms: Unicode's NFKC_Casefold without
    blanks. It begins with a blank, as no `name_key` does.
    """
    text = normalize_name(name)
    for _ in range(2):  # each of the two may undo the other
        text = unicodedata.normalize("NFKC", text).casefold()
    seen = "".join(character for character in text if not _is_invisible(character))
    return f" {unicodedata.normalize('NFC', seen)}" if seen else name_key(name)


def parse_date(text: str) -> datetime:
    """A date in ISO 8601, in UTC. ValueError or TypeError for anything else, and for one without its time zone."""
    date = datetime.fromisoformat(text)
    if date.tzinfo is None:
        raise ValueError(f"the date {text!r} has no time zone")
    return date.astimezone(UTC)


def check_person(person: Person) -> None:
    """Raise GalleryError unless a person that comes from outside is fit to be stored."""
    _check_id(person.id)
    check_name(person.name)
    check_new_metadata(person.metadata)
    _check_date(person.created_at)


def check_name(name: str) -> None:
    """Raise GalleryError unless a name that comes from outside is fit to be stored."""
    if len(normalize_name(name)) > _LONGEST_NAME:
        raise GalleryError(f"the name {name[:20]!a}... is longer than {_LONGEST_NAME} characters; shorten it")


def check_metadata(metadata: object) -> None:
    """Raise GalleryError unless metadata are texts under names."""
    if not isinstance(metadata, Mapping) or not all(isinstance(word, str) for word in (*metadata, *metadata.values())):
        raise GalleryError("a person's metadata must be texts under names; give them as such")


def check_vector(vector: FloatArray) -> None:
    """Raise GalleryError unless an embedding is one row of float32 of length 1."""
    if vector.ndim != 1 or vector.dtype != np.float32 or vector.size == 0:
        raise GalleryError(f"an embedding must be one row of float32, not {vector.dtype} {vector.shape}")
    if not are_unit_rows(vector[np.newaxis]):
        length = float(np.linalg.norm(vector.astype(np.float64)))
        raise GalleryError(f"an embedding must have length 1, not {length:.4g}; embed the photograph again")


def check_sample(sample: NewSample) -> None:
    """Raise GalleryError unless a sample is fit to be stored; the message names what is wrong."""
    check_vector(sample.vector)
    if not sample.model_id:
        raise GalleryError(f"the embedding of {sample.source_path!r} names no model; give its model id")
    if not _SHA256.fullmatch(sample.image_sha256):
        raise GalleryError(f"{sample.image_sha256!r} is not the SHA-256 of an image; give 64 hex digits")
    numbers = (*(sample.box_px or ()), sample.det_score, sample.quality)
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise GalleryError(f"box, score and quality of {sample.source_path!r} must be finite numbers")


def check_new_sample(sample: NewSample) -> None:
    """Raise GalleryError unless a sample that comes from outside is fit to be stored, and within its ranges."""
    check_sample(sample)
    what = f"the sample of {sample.source_path[:200]!a}"
    if isinstance(sample, StoredSample):
        _check_id(sample.id)
    if sample.vector.size not in _EMBEDDING_SIZES:
        raise GalleryError(f"{what} is an embedding of {sample.vector.size} numbers, which no model makes; embed again")
    if len(sample.model_id) > _LONGEST_NAME or not sample.model_id.isprintable():
        raise GalleryError(f"{sample.model_id[:40]!a} is no model's id; give one that can be printed")
    if len(sample.source_path) > _LONGEST_TEXT or "\0" in sample.source_path:
        raise GalleryError(f"{what} names no photograph; give its path")
    scores = (sample.det_score, sample.quality)
    if not all(score is None or -_ROUNDING <= score <= 1 + _ROUNDING for score in scores):
        raise GalleryError(f"score and quality of {what} must be from 0 to 1, not {scores}")
    if sample.box_px is not None:
        x_min, y_min, x_max, y_max = sample.box_px
        if x_min > x_max or y_min > y_max or max(map(abs, sample.box_px)) > _LARGEST_COORDINATE:
            raise GalleryError(f"{what} has no box of a face: {sample.box_px}")
    _check_date(sample.created_at)


def check_new_threshold(threshold: StoredThreshold) -> None:
    """Raise GalleryError unless a threshold that comes from outside is fit to be stored."""
    if len(threshold.source) > _LONGEST_TEXT or "\0" in threshold.source:
        raise GalleryError(f"what the threshold {threshold.threshold:g} was measured on is no text to keep")
    _check_date(threshold.created_at)


def check_new_metadata(metadata: object) -> None:
    """Raise GalleryError unless metadata that come from outside are fit to be stored. Any characters are."""
    check_metadata(metadata)
    assert isinstance(metadata, Mapping)
    if len(metadata) > _MOST_METADATA or max(map(len, (*metadata, *metadata.values())), default=0) > _LONGEST_TEXT:
        raise GalleryError(
            f"a person's metadata are more than {_MOST_METADATA:,} texts, or one is longer than {_LONGEST_TEXT:,} "
            "characters; leave some out"
        )


def is_same_face(box_a: BoxPx | None, box_b: BoxPx | None) -> bool:
    """Whether two boxes in one and the same photograph mark one face.

    They do when they overlap by at least half (intersection over union). None stands for the whole picture, a
    crop with a single face, and so for any face found in it.
    """
    return box_a is None or box_b is None or overlap(box_a, box_b) >= _SAME_FACE_OVERLAP


def overlap(box_a: BoxPx, box_b: BoxPx) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(box_a[2], box_b[2]) - max(box_a[0], box_b[0])
    height = min(box_a[3], box_b[3]) - max(box_a[1], box_b[1])
    if width <= 0 or height <= 0:
        return float(box_a == box_b)
    intersection = width * height
    return intersection / (_area(box_a) + _area(box_b) - intersection)


def _check_id(number: int) -> None:
    if not 0 < number <= LARGEST_ID:
        raise GalleryError(f"{number} is no id; ids go from 1 to {LARGEST_ID:,}")


def _check_date(date: datetime) -> None:
    if date.year not in _YEARS:
        raise GalleryError(f"the date {date:%Y-%m-%d} is out of range; years go from {_YEARS[0]} to {_YEARS[-1]}")


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Zs") or character in _INVISIBLE


def _area(box_px: BoxPx) -> float:
    return (box_px[2] - box_px[0]) * (box_px[3] - box_px[1])
