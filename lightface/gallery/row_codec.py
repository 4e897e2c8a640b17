"""How records lie in a gallery's tables: as rows that are held to what lightface writes, as they are or encrypted.

An encrypted row has the columns of any other. What is secret is one ciphertext in one of them (`name` of a person,
`embedding` of a sample, `source` of a threshold, `value` of a setting); the other secret columns are empty. A name and
the hash of a photograph are found by a blind index: their HMAC, in `name_key` and `image_sha256`. In clear stay ids,
dates and the thresholds' numbers, and with them how many people and samples there are.

All that stays in clear in a row is associated data of its ciphertext: kind, ids, date, numbers and the blind index. So
nothing of one row opens in another, and no row is found under what belongs to another. Texts are padded, so that their
length says little.
"""

from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from lightface.errors import GalleryError
from lightface.gallery.records import (
    Event,
    LogEntry,
    Person,
    StoredSample,
    StoredThreshold,
    check_metadata,
    check_sample,
    name_key,
    normalize_name,
    parse_date,
)

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher


Row = tuple[Any, ...]

CIPHER_SETTING: Final = "sealing"  # the setting that has the header of an encrypted gallery

# Settings that are read before there is a key, or counted by SQL; none says anything of a person.
_ALWAYS_CLEAR: Final = frozenset({CIPHER_SETTING, "revision", "rewritten", "scrub_owed"})
_NO_BOX: Final = (None,) * 4
_SIZE: Final = struct.Struct("<I")  # bytes of an embedding, before it and the rest of its sample
_PADDED_TO: Final = 256  # bytes, of which the length of a text is a multiple


class RowCodec(Protocol):
    """How rows are written (`encode_*`) and read back (`decode_*`). ValueError for what is not what was written."""

    vector_columns: str  # of which `decode_vector` is given the values

    @property
    def cipher(self) -> GalleryCipher | None:
        """The keys; None for rows as they are."""

    def index_name(self, key: str) -> str:
        """What stands in the column `name_key`: encrypted, a blind index."""

    def index_image(self, image_sha256: str) -> str:
        """What stands in the column `image_sha256`: encrypted, a blind index."""

    def encode_setting(self, name: str, value: str) -> str:
        """Of a setting's value."""

    def decode_setting(self, name: str, value: str) -> str:
        """Of the same."""

    def encode_person(self, row: Row) -> Row:
        """Of id, name, key of the name, metadata, created_at."""

    def decode_person(self, row: Row) -> Row:
        """Of the same; of an encrypted row without the key."""

    def encode_sample(self, row: Row) -> Row:
        """Of id, person_id, embedding, source_path (bytes), image_sha256, box, det_score, quality, created_at."""

    def decode_sample(self, row: Row) -> Row:
        """Of the same with the model's id behind the embedding."""

    def decode_vector(self, row: Row) -> tuple[int, bytes]:
        """The person's id and the embedding, of `vector_columns`."""

    def encode_threshold(self, row: Row) -> Row:
        """Of far, threshold, source (bytes), created_at."""

    def decode_threshold(self, row: Row) -> Row:
        """Of the same."""


class ClearCodec:
    """Rows as they are."""

    cipher: GalleryCipher | None = None
    vector_columns = "person_id, embedding"

    def index_name(self, key: str) -> str:
        return key

    def index_image(self, image_sha256: str) -> str:
        return image_sha256

    def encode_setting(self, name: str, value: str) -> str:
        return value

    decode_setting = encode_setting

    def decode_vector(self, row: Row) -> tuple[int, bytes]:
        person_id, embedding = row
        if not isinstance(person_id, int) or not isinstance(embedding, bytes):
            raise TypeError("an embedding that is none")
        return person_id, embedding

    def _as_it_is(self, row: Row) -> Row:
        return row

    encode_person = decode_person = encode_sample = decode_sample = encode_threshold = decode_threshold = _as_it_is


class EncryptedCodec:
    """Rows encrypted with the keys of one gallery."""

    vector_columns = "id, person_id, created_at, image_sha256, embedding"

    def __init__(self, cipher: GalleryCipher) -> None:
        self.cipher = cipher

    def index_name(self, key: str) -> str:
        return self.cipher.blind_index("name", key)

    def index_image(self, image_sha256: str) -> str:
        return self.cipher.blind_index("image", image_sha256)

    def encode_setting(self, name: str, value: str) -> str:
        return value if name in _ALWAYS_CLEAR else self._encrypt_text(value, "setting", name)

    def decode_setting(self, name: str, value: str) -> str:
        return value if name in _ALWAYS_CLEAR else str(self._decrypt_text(value, "setting", name))

    def encode_person(self, row: Row) -> Row:
        person_id, name, key, metadata, created_at = row
        blind_index = self.index_name(key)
        ciphertext = self._encrypt_text([name, metadata], "person", person_id, created_at, blind_index)
        return person_id, ciphertext, blind_index, "", created_at

    def decode_person(self, row: Row) -> Row:
        person_id, ciphertext, blind_index, _, created_at = row
        name, metadata = self._decrypt_text(ciphertext, "person", person_id, created_at, blind_index)
        return person_id, name, None, metadata, created_at

    def encode_sample(self, row: Row) -> Row:
        sample_id, person_id, embedding, source_path, image_sha256, *rest, created_at = row
        numbers = [None if number is None else float(number) for number in rest]  # as their columns would have them
        secret = _to_padded_json([_text(source_path), image_sha256, *numbers])
        data, blind_index = _SIZE.pack(len(embedding)) + embedding + secret, self.index_image(image_sha256)
        ciphertext = self.cipher.encrypt(
            data, _associated_data("sample", sample_id, person_id, created_at, blind_index)
        )
        return sample_id, person_id, ciphertext, b"", blind_index, *_NO_BOX, None, None, created_at

    def decode_sample(self, row: Row) -> Row:
        sample_id, person_id, ciphertext, model_id, _, blind_index, *_, created_at = row
        embedding, secret = self._decrypt_embedding(ciphertext, sample_id, person_id, created_at, blind_index)
        opened_id = None if model_id is None else self.decode_setting("model_id", model_id)
        return sample_id, person_id, embedding, opened_id, *json.loads(secret), created_at

    def decode_vector(self, row: Row) -> tuple[int, bytes]:
        sample_id, person_id, created_at, blind_index, ciphertext = row
        return person_id, self._decrypt_embedding(ciphertext, sample_id, person_id, created_at, blind_index)[0]

    def encode_threshold(self, row: Row) -> Row:
        far, threshold, source, created_at = row
        ciphertext = self._encrypt_text(_text(source), "threshold", float(far), float(threshold), created_at)
        return far, threshold, ciphertext.encode(), created_at

    def decode_threshold(self, row: Row) -> Row:
        far, threshold, ciphertext, created_at = row
        return far, threshold, self._decrypt_text(ciphertext, "threshold", far, threshold, created_at), created_at

    def _decrypt_embedding(self, ciphertext: bytes, *associated: object) -> tuple[bytes, bytes]:
        data = self.cipher.decrypt(ciphertext, _associated_data("sample", *associated))
        end = _SIZE.size + _SIZE.unpack_from(data)[0]
        return data[_SIZE.size : end], data[end:]

    def _encrypt_text(self, value: object, *associated: object) -> str:
        return base64.b64encode(self.cipher.encrypt(_to_padded_json(value), _associated_data(*associated))).decode(
            "ascii"
        )

    def _decrypt_text(self, ciphertext: str, *associated: object) -> Any:
        return json.loads(
            self.cipher.decrypt(base64.b64decode(ciphertext, validate=True), _associated_data(*associated))
        )


class FirstEncryptedCodec(EncryptedCodec):
    """Opens what the first lightface that encrypted has left, without the blind index in the associated data.

    The index is compared with what was opened, which comes to the same. Settings were in clear. Nothing is written so
    any more: whoever writes to such a gallery encrypts all of it anew first.
    """

    def decode_setting(self, name: str, value: str) -> str:
        return value

    def decode_person(self, row: Row) -> Row:
        person_id, ciphertext, blind_index, _, created_at = row
        name, metadata = self._decrypt_text(ciphertext, "person", person_id, created_at)
        if self.index_name(name_key(name)) != blind_index:
            raise ValueError("a person under another's name")
        return person_id, name, None, metadata, created_at

    def _decrypt_embedding(self, ciphertext: bytes, *associated: object) -> tuple[bytes, bytes]:
        *associated_before, blind_index = associated
        embedding, secret = super()._decrypt_embedding(ciphertext, *associated_before)
        if self.index_image(json.loads(secret)[1]) != blind_index:
            raise ValueError("a sample under another's photograph")
        return embedding, secret


def codec_of(cipher: GalleryCipher | None) -> RowCodec:
    """The codec of rows that are encrypted so; None: that are not."""
    if cipher is None:
        return ClearCodec()
    return FirstEncryptedCodec(cipher) if cipher.is_outdated else EncryptedCodec(cipher)


def _associated_data(*parts: object) -> bytes:
    """The associated data of the row that a ciphertext belongs to."""
    return json.dumps(parts).encode()


def _to_padded_json(value: object) -> bytes:
    data = json.dumps(value).encode()
    return data + b" " * (-len(data) % _PADDED_TO)  # which JSON allows


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# Rows of a gallery's tables -> records, held to what lightface itself would have written; and back.


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


def to_sample(row: tuple[Any, ...]) -> StoredSample:
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
    sample = StoredSample(
        id=to_id(sample_id),
        person_id=to_id(person_id),
        vector=vector,
        model_id=_as_text(model_id),
        source_path=_as_text(source_path),
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
    return StoredThreshold(far, threshold, _as_text(source), _date(created_at))


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


def _as_text(value: object) -> str:
    """A text as it went through `from_text`: SQLite gives it as text, PostgreSQL as bytes."""
    if not isinstance(value, str | bytes):
        raise TypeError(f"{value!r} is not a text")
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _date(value: str | datetime) -> datetime:
    """SQLite keeps a date as text, PostgreSQL as what it is."""
    return value.astimezone(UTC) if isinstance(value, datetime) else parse_date(value)
