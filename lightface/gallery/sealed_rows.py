"""How a gallery's rows lie in its file: as they are, or sealed. The store asks one of two doors, and knows no key.

A sealed row has the columns of any other. What is secret is one sealed value in one of them (`name` of a person,
`embedding` of a sample, `source` of a threshold), bound to the ids and the date of its row; the other secret columns
are empty. The name's key and the photograph's hash are keyed hashes, by which a row is still found. In clear stay ids,
dates, the model's id, the thresholds' numbers, and with them how many people and samples there are.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from lightface.gallery.sealing import Sealing

Row = tuple[Any, ...]

_NO_BOX: Final = (None,) * 4
_SIZE: Final = struct.Struct("<I")  # bytes of an embedding, before it and the rest of its sample


class RowDoor(Protocol):
    """What goes through on the way into the file (`close_*`) and out of it (`open_*`). ValueError for what is not
    what went in."""

    vector_columns: str  # of which `open_vector` is given the values

    @property
    def sealing(self) -> Sealing | None:
        """The keys; None for rows as they are."""

    def name_word(self, name_key: str) -> str:
        """What stands in the column `name_key`."""

    def image_word(self, image_sha256: str) -> str:
        """What stands in the column `image_sha256`."""

    def close_person(self, row: Row) -> Row:
        """Of id, name, name_key, metadata, created_at."""

    def open_person(self, row: Row) -> Row:
        """Of id, name, metadata, created_at."""

    def close_sample(self, row: Row) -> Row:
        """Of id, person_id, embedding, source_path (bytes), image_sha256, box, det_score, quality, created_at."""

    def open_sample(self, row: Row) -> Row:
        """Of the same with the model's id behind the embedding."""

    def open_vector(self, row: Row) -> tuple[int, bytes]:
        """The person's id and the embedding, of `vector_columns`."""

    def close_threshold(self, row: Row) -> Row:
        """Of far, threshold, source (bytes), created_at."""

    def open_threshold(self, row: Row) -> Row:
        """Of the same."""


class OpenDoor:
    """Rows as they are."""

    sealing: Sealing | None = None
    vector_columns = "person_id, embedding"

    def name_word(self, name_key: str) -> str:
        return name_key

    def image_word(self, image_sha256: str) -> str:
        return image_sha256

    def open_vector(self, row: Row) -> tuple[int, bytes]:
        person_id, embedding = row
        return person_id, embedding

    def _as_it_is(self, row: Row) -> Row:
        return row

    close_person = open_person = close_sample = open_sample = close_threshold = open_threshold = _as_it_is


class SealedDoor:
    """Rows sealed with the keys of one gallery."""

    vector_columns = "id, person_id, created_at, embedding"

    def __init__(self, sealing: Sealing) -> None:
        self.sealing = sealing

    def name_word(self, name_key: str) -> str:
        return self.sealing.look_up_word("name", name_key)

    def image_word(self, image_sha256: str) -> str:
        return self.sealing.look_up_word("image", image_sha256)

    def close_person(self, row: Row) -> Row:
        person_id, name, name_key, metadata, created_at = row
        sealed = self._close_text([name, metadata], "person", person_id, created_at)
        return person_id, sealed, self.name_word(name_key), "", created_at

    def open_person(self, row: Row) -> Row:
        person_id, sealed, _, created_at = row
        name, metadata = self._open_text(sealed, "person", person_id, created_at)
        return person_id, name, metadata, created_at

    def close_sample(self, row: Row) -> Row:
        sample_id, person_id, embedding, source_path, image_sha256, *rest, created_at = row
        numbers = [None if number is None else float(number) for number in rest]  # as their columns would have them
        secret = json.dumps([_text(source_path), image_sha256, *numbers]).encode()
        data = _SIZE.pack(len(embedding)) + embedding + secret
        sealed = self.sealing.seal(data, _place("sample", sample_id, person_id, created_at))
        return sample_id, person_id, sealed, b"", self.image_word(image_sha256), *_NO_BOX, None, None, created_at

    def open_sample(self, row: Row) -> Row:
        sample_id, person_id, sealed, model_id, *_, created_at = row
        embedding, secret = self._open_embedding(sealed, sample_id, person_id, created_at)
        return sample_id, person_id, embedding, model_id, *json.loads(secret), created_at

    def open_vector(self, row: Row) -> tuple[int, bytes]:
        sample_id, person_id, created_at, sealed = row
        return person_id, self._open_embedding(sealed, sample_id, person_id, created_at)[0]

    def close_threshold(self, row: Row) -> Row:
        far, threshold, source, created_at = row
        sealed = self._close_text(_text(source), "threshold", float(far), float(threshold), created_at)
        return far, threshold, sealed.encode(), created_at

    def open_threshold(self, row: Row) -> Row:
        far, threshold, sealed, created_at = row
        return far, threshold, self._open_text(sealed, "threshold", far, threshold, created_at), created_at

    def _open_embedding(self, sealed: bytes, *place: object) -> tuple[bytes, bytes]:
        data = self.sealing.unseal(sealed, _place("sample", *place))
        end = _SIZE.size + _SIZE.unpack_from(data)[0]
        return data[_SIZE.size : end], data[end:]

    def _close_text(self, value: object, *place: object) -> str:
        return base64.b64encode(self.sealing.seal(json.dumps(value).encode(), _place(*place))).decode("ascii")

    def _open_text(self, sealed: str, *place: object) -> Any:
        return json.loads(self.sealing.unseal(base64.b64decode(sealed, validate=True), _place(*place)))


def _place(*parts: object) -> bytes:
    """The row that a sealed value belongs to."""
    return json.dumps(parts).encode()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
