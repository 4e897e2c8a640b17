"""The store of a gallery: what a `Gallery` asks of it, and the statements that every database understands."""

from __future__ import annotations

import json
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

from lightface.errors import GalleryError
from lightface.gallery.records import (
    LogEntry,
    NewSample,
    Person,
    StoredSample,
    StoredThreshold,
    folded_name,
    name_key,
    parse_date,
)
from lightface.gallery.row_codec import (
    CONVERSION_ERRORS,
    LOG_COLUMNS,
    PERSON_COLUMNS,
    SAMPLE_COLUMNS,
    ClearCodec,
    RowCodec,
    from_date,
    from_text,
    to_date,
    to_ids,
    to_int,
    to_log_entry,
    to_person,
    to_sample,
    to_threshold,
)
from lightface.records import FloatArray, IntArray

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher


# Names of settings.
MODEL_ID: Final = "model_id"  # pins a gallery to its model
LOG_DAYS: Final = "log_days"  # how long entries of the log are kept, 0 for ever; not set: the log is off
RETENTION_DAYS: Final = "retention_days"  # how long samples may be kept; not set: for ever
UNDO: Final = "undo"  # what the last change is taken back by, see `undo`

Record = TypeVar("Record")

PERSON_VALUES: Final = "name, name_key, metadata, created_at"
SAMPLE_VALUES: Final = (
    "person_id, embedding, source_path, image_sha256, x_min, y_min, x_max, y_max, det_score, quality, created_at"
)


class GalleryStore(ABC):
    """Settings, people, samples, thresholds and a log in the tables of a database.

    Here is what every database understands, in SQL with `?` for a value. A subclass adds transactions, its own
    statements, and what it does when embeddings change or are erased.

    Every method raises GalleryError or OutputError with one clear line where the store fails. Methods that change
    anything are called inside `writing()`. Any thread may use a store. There is one connection and one lock, which is
    held for a statement or a transaction: what threads do beside, they do at once.
    """

    _TEXT: ClassVar[str]  # the placeholder of a text that `from_text` has made bytes of
    _codec: RowCodec = ClearCodec()

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process_id = os.getpid()
        self._is_closed = False

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the records are, for messages; holds no secret."""

    def close(self) -> None:
        """Give up the connection."""
        if os.getpid() == self._process_id:  # in a forked process, the connection is still the parent's
            with self._lock:
                self._is_closed = True
                self._disconnect()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Other threads wait until the block ends. GalleryError where the store is closed, or another process's."""
        if os.getpid() != self._process_id:  # with a lock that a thread of the parent may have held for ever
            raise GalleryError(f"{self.location} was opened before this process was forked; open it in this process")
        with self._lock:
            if self._is_closed:
                raise GalleryError(f"{self.location} is closed; open it again")
            yield

    @abstractmethod
    def reading(self) -> AbstractContextManager[None]:
        """One unchanging view for all reads inside."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """All changes inside or none, and no other writer from the first read on."""

    @abstractmethod
    def logging(self) -> AbstractContextManager[None]:
        """Log entries inside, all or none; does not count as a change of the contents."""

    @abstractmethod
    def version(self) -> Hashable:
        """A value that differs once the contents were changed, here or by another process."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Room that the records take on disk."""

    @property
    @abstractmethod
    def residual_copies(self) -> str | None:
        """Where what was deleted may live on, out of the reach of `purge`, for the user to see to; None: nowhere."""

    @abstractmethod
    def purge(self) -> None:
        """Overwrite what was deleted, wherever the store has kept a copy of it."""

    @property
    @abstractmethod
    def cipher(self) -> GalleryCipher | None:
        """The keys that the records are encrypted with; None: they are in clear."""

    @abstractmethod
    def reencrypt(self, cipher: GalleryCipher | None) -> None:
        """Encrypt all records with other keys than before, or, with None, with none."""

    @abstractmethod
    def vectors(self, person_ids: Collection[int] | None = None) -> tuple[FloatArray, IntArray]:
        """Embeddings (S, D) and their person ids (S,), of these people or all, in the order of `samples()`."""

    @abstractmethod
    def is_large(self) -> bool:
        """Whether `people_near` finds the nearest faster than they are found among all templates in memory."""

    @abstractmethod
    def people_near(self, probes: FloatArray, k: int) -> list[int] | None:
        """The ids of people who include the `k` nearest, by template, of each row of `probes` (P, D); None: all."""

    @abstractmethod
    def embedding_size(self) -> int | None:
        """D, or None where there is no sample."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Give up the connection."""

    @abstractmethod
    def _query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement, `alone`; all rows that it returns."""

    @abstractmethod
    def _stream(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query that may be too many to be held at once. Read inside `reading()` or `writing()`."""

    @abstractmethod
    def _insert_rows(self, table: Literal["person", "sample"], columns: str, rows: Iterable[Sequence[object]]) -> None:
        """Add many rows of `id` and these columns."""

    @abstractmethod
    def _damage(self, reason: object) -> GalleryError:
        """The error of a store that holds what lightface never writes."""

    @abstractmethod
    def _from_vector(self, vector: FloatArray) -> object:
        """An embedding as a value of a statement."""

    @abstractmethod
    def _to_vector(self, value: Any) -> FloatArray:
        """An embedding as a row has it."""

    @abstractmethod
    def _erasing(self) -> None:
        """Something is about to be deleted or overwritten."""

    @abstractmethod
    def _samples_changed(self, person_ids: Collection[int]) -> None:
        """The samples of these people, who may be gone, are others than before."""

    @abstractmethod
    def _id_given(self, table: str, last_id: int) -> None:
        """A row was added under an id that the table had not chosen itself and must not choose again."""

    def setting(self, name: str) -> str | None:
        """A setting's value, None where it was never set."""
        query = "SELECT value FROM setting WHERE name = ?"
        return self._first(query, (name,), lambda row: self._codec.decode_setting(name, str(row[0])))

    def set_setting(self, name: str, value: str) -> None:
        """Set or overwrite a setting."""
        self._query(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, self._codec.encode_setting(name, value)),
        )

    def delete_setting(self, name: str) -> None:
        """Forget a setting."""
        self._query("DELETE FROM setting WHERE name = ?", (name,))

    def erase_setting(self, name: str) -> None:
        """Forget a setting whose value is to leave no trace."""
        self._erasing()
        self.delete_setting(name)

    def last_id(self, table: Literal["person", "sample"]) -> int:
        """The highest id of those that are there, 0 where there are none."""
        return int(self._query(f"SELECT coalesce(max(id), 0) FROM {table}")[0][0])

    def count_after(self, table: Literal["person", "sample"], last_id: int) -> int:
        """How many have a higher id."""
        return int(self._query(f"SELECT count(*) FROM {table} WHERE id > ?", (last_id,))[0][0])

    def people(self) -> list[Person]:
        """Everybody, by id."""
        return self._read(f"SELECT {PERSON_COLUMNS} FROM person ORDER BY id", (), self._to_person)

    def person_by_id(self, person_id: int) -> Person | None:
        """The person of that id."""
        return self._first(f"SELECT {PERSON_COLUMNS} FROM person WHERE id = ?", (person_id,), self._to_person)

    def person_by_name(self, name: str) -> Person | None:
        """The person of that name, or else of one that has the same `folded_name`."""
        keys = (name_key(name), folded_name(name))  # the first, of people whose folded name was taken
        for key in keys:
            with self.alone():
                indexed = self._codec.index_name(key)
                found = self._first(
                    f"SELECT {PERSON_COLUMNS} FROM person WHERE name_key = ?", (indexed,), self._to_person
                )
            if found is not None:
                if key not in (name_key(found.name), folded_name(found.name)):
                    raise self._damage("a person is found under another's name")
                return found
        return None

    def insert_person(
        self, name: str, metadata: Mapping[str, str], created_at: datetime, *, person_id: int | None = None
    ) -> Person:
        """Add a person, under the next free id where none is given."""
        if person_id is not None:
            person = Person(person_id, name, dict(metadata), created_at)
            self.insert_people([person])
            return person
        values = (name, self._free_key(name), json.dumps(dict(metadata)), from_date(created_at))
        (row,) = self._query(f"INSERT INTO person ({PERSON_VALUES}) VALUES (?, ?, ?, ?) RETURNING id", values)
        return Person(to_int(row), name, dict(metadata), created_at)

    def insert_people(self, people: Collection[Person]) -> None:
        """Add many people under their own ids."""
        if not people:
            return
        keys: dict[str, str] = {}  # by name, for it takes long to ask for each of very many
        taken: set[str] = set()
        for person in people:
            key = self._free_key(person.name) if len(people) == 1 else folded_name(person.name)
            keys[person.name] = name_key(person.name) if key in taken else key
            taken.add(key)
        self._insert_rows("person", PERSON_VALUES, (self._from_person(one, keys[one.name]) for one in people))
        self._id_given("person", max(one.id for one in people))

    def update_person(self, person: Person) -> None:
        """Overwrite name and metadata of the person of that id."""
        self._erasing()
        key = self._free_key(person.name, but_for=person.id)
        person_id, *values, _created_at = self._from_person(person, key)
        self._query("UPDATE person SET name = ?, name_key = ?, metadata = ? WHERE id = ?", (*values, person_id))

    def delete_person(self, person_id: int) -> None:
        """Delete a person with all samples."""
        self._erasing()
        self._query("DELETE FROM person WHERE id = ?", (person_id,))  # the samples follow by the foreign key

    def samples(self, person_id: int | None = None) -> Iterator[StoredSample]:
        """The samples of one person or of everybody, by person id and then by id."""
        query = f"SELECT {SAMPLE_COLUMNS} FROM sample"
        if person_id is None:
            self._check_owners("sample", "person_id")
            yield from self._convert(self._stream(f"{query} ORDER BY person_id, id"), self._to_sample)
            return
        rows = self._stream(f"{query} WHERE person_id = ? ORDER BY id", (person_id,))
        for sample in self._convert(rows, self._to_sample):
            if sample.person_id != person_id:
                raise self._damage("a sample is found under another person")
            yield sample

    def _check_owners(self, table: str, column: str, values: tuple[Any, ...] = ()) -> None:
        """Raise GalleryError where something belongs to nobody: another program has written to the gallery."""
        if self._query(f"SELECT 1 FROM {table} WHERE {column} NOT IN (SELECT id FROM person) LIMIT 1", values):
            raise self._damage("samples of nobody")

    def sample_by_id(self, sample_id: int) -> StoredSample | None:
        """The sample of that id."""
        return self._first(f"SELECT {SAMPLE_COLUMNS} FROM sample WHERE id = ?", (sample_id,), self._to_sample)

    def samples_of_image(self, image_sha256: str) -> list[StoredSample]:
        """The samples taken from one image, by id."""
        query = f"SELECT {SAMPLE_COLUMNS} FROM sample WHERE image_sha256 = ? ORDER BY id"
        with self.alone():
            found = self._read(query, (self._codec.index_image(image_sha256),), self._to_sample)
        if any(sample.image_sha256 != image_sha256 for sample in found):
            raise self._damage("a sample is found under another photograph")
        return found

    def sample_ids(self) -> set[int]:
        """The ids of all samples."""
        return set(self._read("SELECT id FROM sample", (), to_int))

    def sample_counts(self) -> dict[int, int]:
        """Number of samples by person id, for everybody."""
        query = (
            "SELECT person.id, count(sample.id) FROM person LEFT JOIN sample ON sample.person_id = person.id "
            "GROUP BY person.id ORDER BY person.id"
        )
        return dict(self._read(query, (), to_ids))

    def template_sizes(self) -> dict[int, int]:
        """How many people have so many samples, by that number; those without any are left out."""
        query = (
            "SELECT samples, count(*) FROM (SELECT count(*) AS samples FROM sample GROUP BY person_id) AS sizes "
            "GROUP BY samples ORDER BY samples"
        )
        return dict(self._read(query, (), tuple))

    def created_at(self) -> datetime:
        """When the store was made."""
        text = self.setting("created_at")
        try:
            return parse_date(text or "")
        except CONVERSION_ERRORS as error:
            raise self._damage(f"it has no date: {error}") from error

    def last_enrolled_at(self) -> datetime | None:
        """The date of the youngest sample."""
        return self._first("SELECT created_at FROM sample ORDER BY created_at DESC LIMIT 1", (), to_date)

    def insert_sample(self, person_id: int, sample: NewSample) -> int:
        """Add a sample to a person, under the next free id, which is returned."""
        values = self._from_sample(person_id, sample)
        placeholders = f"?, ?, {self._TEXT}, ?, ?, ?, ?, ?, ?, ?, ?"
        (row,) = self._query(f"INSERT INTO sample ({SAMPLE_VALUES}) VALUES ({placeholders}) RETURNING id", values)
        self._samples_changed([person_id])
        return to_int(row)

    def insert_samples(self, samples: Iterable[StoredSample]) -> None:
        """Add many samples, each under the id and to the person that it names."""
        owners, last_id = set(), 0

        def rows() -> Iterator[tuple[object, ...]]:
            nonlocal last_id
            for sample in samples:
                owners.add(sample.person_id)
                last_id = max(last_id, sample.id)
                yield self._codec.encode_sample((sample.id, *self._from_sample(sample.person_id, sample)))

        self._insert_rows("sample", SAMPLE_VALUES, rows())
        if owners:
            self._id_given("sample", last_id)
            self._samples_changed(owners)

    def move_samples(self, source_id: int, target_id: int) -> None:
        """Give all samples of one person to another."""
        self._query("UPDATE sample SET person_id = ? WHERE person_id = ?", (target_id, source_id))
        self._samples_changed([source_id, target_id])

    def delete_samples(self, sample_ids: Collection[int]) -> None:
        """Delete samples."""
        self._erasing()
        self._change_each("DELETE FROM sample WHERE id = ? RETURNING person_id", ((one,) for one in sample_ids))

    def update_vectors(self, vectors: Mapping[int, FloatArray]) -> None:
        """Overwrite the embeddings of samples, by sample id."""
        self._erasing()
        self._change_each(
            "UPDATE sample SET embedding = ? WHERE id = ? RETURNING person_id",
            ((self._from_vector(vector), sample_id) for sample_id, vector in vectors.items()),
        )

    def thresholds(self) -> list[StoredThreshold]:
        """Thresholds by falling false-accept rate."""
        query = "SELECT far, threshold, source, created_at FROM threshold ORDER BY far DESC"
        return self._read(query, (), lambda row: to_threshold(self._codec.decode_threshold(row)))

    def put_threshold(self, threshold: StoredThreshold) -> None:
        """Set or overwrite the threshold of a false-accept rate."""
        row = (threshold.far, threshold.threshold, from_text(threshold.source), from_date(threshold.created_at))
        self._query("DELETE FROM threshold WHERE far = ?", (threshold.far,))
        self._query(
            f"INSERT INTO threshold (far, threshold, source, created_at) VALUES (?, ?, {self._TEXT}, ?)",
            self._codec.encode_threshold(row),
        )

    def delete_thresholds(self) -> int:
        """Forget all thresholds; how many there were."""
        return len(list(self._query("DELETE FROM threshold RETURNING far")))

    def samples_before(self, date: datetime) -> dict[int, int]:
        """The ids of the samples that are older, with their people's."""
        query = "SELECT id, person_id FROM sample WHERE created_at < ? ORDER BY id"
        return dict(self._read(query, (from_date(date),), to_ids))

    def people_before(self, date: datetime) -> list[Person]:
        """The people who are older and have no younger sample, by id."""
        query = (
            f"SELECT {PERSON_COLUMNS} FROM person WHERE created_at < ? AND NOT EXISTS "
            "(SELECT 1 FROM sample WHERE person_id = person.id AND created_at >= ?) ORDER BY id"
        )
        return self._read(query, (from_date(date),) * 2, self._to_person)

    def log(self, since: datetime | None) -> list[LogEntry]:
        """The entries of the log, of that date or later, in their order."""
        condition, values = ("", ()) if since is None else (" WHERE at >= ?", (from_date(since),))
        return self._read(f"SELECT {LOG_COLUMNS} FROM log{condition} ORDER BY id", values, to_log_entry)

    def add_log(self, entries: Iterable[LogEntry]) -> None:
        """Add entries to the log. Called inside `writing()` or `logging()`."""
        for one in entries:
            values = (one.event.value, one.person_id, one.target_id, one.sample_id, one.similarity, from_date(one.at))
            self._query(f"INSERT INTO log ({LOG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", values)

    def trim_log(self, before: datetime) -> None:
        """Drop older entries of the log. Called inside `writing()` or `logging()`."""
        self._query("DELETE FROM log WHERE at < ?", (from_date(before),))

    def _change_each(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement that returns a person's id for each of `rows`."""
        self._samples_changed({person_id for row in rows for (person_id,) in self._query(statement, row)})

    def _free_key(self, name: str, *, but_for: int = 0) -> str:
        """What a person is found by: their folded name. Two could share it once; the second is found by `name_key`."""
        query = "SELECT 1 FROM person WHERE name_key = ? AND id <> ?"
        folded = folded_name(name)
        return name_key(name) if self._query(query, (self._codec.index_name(folded), but_for)) else folded

    def _from_person(self, person: Person, key: str) -> tuple[Any, ...]:
        """The row of a person: id and PERSON_VALUES."""
        metadata, date = json.dumps(dict(person.metadata)), from_date(person.created_at)
        return self._codec.encode_person((person.id, person.name, key, metadata, date))

    def _to_person(self, row: tuple[Any, ...]) -> Person:
        return to_person(self._codec.decode_person(row))

    def _from_sample(self, person_id: int, sample: NewSample) -> tuple[object, ...]:
        """The values of a sample's row but for its id."""
        return (
            *(person_id, self._from_vector(sample.vector), from_text(sample.source_path), sample.image_sha256),
            *(sample.box_px or (None,) * 4),
            *(sample.det_score, sample.quality, from_date(sample.created_at)),
        )

    def _to_sample(self, row: tuple[Any, ...]) -> StoredSample:
        sample_id, person_id, embedding, *rest = self._codec.decode_sample(row)
        return to_sample((sample_id, person_id, self._to_vector(embedding), *rest))

    def _read(self, query: str, values: Sequence[object], convert: Callable[[tuple[Any, ...]], Record]) -> list[Record]:
        with self.alone():  # the keys may be others afterwards
            return list(self._convert(self._query(query, values), convert))

    def _first(
        self, query: str, values: Sequence[object], convert: Callable[[tuple[Any, ...]], Record]
    ) -> Record | None:
        return next(iter(self._read(query, values, convert)), None)

    def _convert(
        self, rows: Iterable[tuple[Any, ...]], convert: Callable[[tuple[Any, ...]], Record]
    ) -> Iterator[Record]:
        for row in rows:
            try:
                record = convert(row)
            except CONVERSION_ERRORS as error:
                raise self._damage(error) from error
            yield record
