"""What a `Gallery` asks of the place where it keeps its records. Rules live in the gallery, none here."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from lightface.faces import FloatArray
from lightface.gallery.records import FaceSample, IntArray, LogEntry, Person, StoredThreshold

if TYPE_CHECKING:
    from lightface.gallery.sealing import Sealing


class GalleryStore(Protocol):
    """Tables of settings, people, samples and thresholds. Any thread may use it.

    Every method raises GalleryError or OutputError with one clear line where the store fails. Methods that
    change anything are called inside `writing()`.
    """

    @property
    def location(self) -> str:
        """Where the records are, for messages; holds no secret."""

    def close(self) -> None:
        """Give up the connection."""

    def alone(self) -> AbstractContextManager[None]:
        """Other threads wait until the block ends. GalleryError where the store is closed, or another process's."""

    def reading(self) -> AbstractContextManager[None]:
        """One unchanging view for all reads inside."""

    def writing(self) -> AbstractContextManager[None]:
        """All changes inside or none, and no other writer from the first read on."""

    def logging(self) -> AbstractContextManager[None]:
        """Log entries inside, all or none; does not count as a change of the contents."""

    def version(self) -> Hashable:
        """A value that differs once the contents were changed, here or by another process."""

    def size_bytes(self) -> int:
        """Room that the records take on disk."""

    @property
    def beyond_reach(self) -> str | None:
        """Where what was deleted may live on, out of the reach of `scrub`, for the user to see to; None: nowhere."""

    def scrub(self) -> None:
        """Overwrite what was deleted, wherever the store has kept a copy of it."""

    @property
    def sealing(self) -> Sealing | None:
        """The keys that the records are encrypted with; None: they are in clear."""

    def reseal(self, sealing: Sealing | None) -> None:
        """Encrypt all records with other keys than before, or, with None, with none."""

    def setting(self, name: str) -> str | None:
        """A setting's value, None where it was never set."""

    def set_setting(self, name: str, value: str) -> None:
        """Set or overwrite a setting."""

    def delete_setting(self, name: str) -> None:
        """Forget a setting."""

    def people(self) -> list[Person]:
        """Everybody, by id."""

    def person_by_id(self, person_id: int) -> Person | None:
        """The person of that id."""

    def person_by_name(self, name: str) -> Person | None:
        """The person of that name, or else of one that has the same `folded_name`."""

    def insert_person(
        self, name: str, metadata: Mapping[str, str], created_at: datetime, *, person_id: int | None = None
    ) -> Person:
        """Add a person, under the next free id where none is given."""

    def insert_people(self, people: Collection[Person]) -> None:
        """Add many people under their own ids."""

    def update_person(self, person: Person) -> None:
        """Overwrite name and metadata of the person of that id."""

    def delete_person(self, person_id: int) -> None:
        """Delete a person with all samples."""

    def samples(self, person_id: int | None = None) -> Iterator[FaceSample]:
        """The samples of one person or of everybody, by person id and then by id."""

    def sample_by_id(self, sample_id: int) -> FaceSample | None:
        """The sample of that id."""

    def samples_of_image(self, image_sha256: str) -> list[FaceSample]:
        """The samples taken from one image, by id."""

    def sample_ids(self) -> set[int]:
        """The ids of all samples."""

    def sample_counts(self) -> dict[int, int]:
        """Number of samples by person id, for everybody."""

    def template_sizes(self) -> dict[int, int]:
        """How many people have so many samples, by that number; those without any are left out."""

    def vectors(self, person_ids: Collection[int] | None = None) -> tuple[FloatArray, IntArray]:
        """Embeddings (S, D) and their person ids (S,), of these people or all, in the order of `samples()`."""

    def people_near(self, probes: FloatArray, k: int) -> list[int] | None:
        """The ids of people who include the `k` nearest, by template, of each row of `probes` (P, D); None: all."""

    def embedding_size(self) -> int | None:
        """D, or None where there is no sample."""

    def created_at(self) -> datetime:
        """When the store was made."""

    def last_enrolled_at(self) -> datetime | None:
        """The date of the youngest sample."""

    def insert_sample(self, person_id: int, sample: FaceSample) -> int:
        """Add a sample to a person, under its own id if it has one; its id."""

    def insert_samples(self, samples: Iterable[FaceSample]) -> None:
        """Add many samples, each under the id and to the person that it names."""

    def move_samples(self, source_id: int, target_id: int) -> None:
        """Give all samples of one person to another."""

    def delete_samples(self, sample_ids: Collection[int]) -> None:
        """Delete samples."""

    def update_vectors(self, vectors: Mapping[int, FloatArray]) -> None:
        """Overwrite the embeddings of samples, by sample id."""

    def thresholds(self) -> list[StoredThreshold]:
        """Thresholds by falling false-accept rate."""

    def put_threshold(self, threshold: StoredThreshold) -> None:
        """Set or overwrite the threshold of a false-accept rate."""

    def delete_thresholds(self) -> int:
        """Forget all thresholds; how many there were."""

    def samples_before(self, date: datetime) -> dict[int, int]:
        """The ids of the samples that are older, with their people's."""

    def people_before(self, date: datetime) -> list[Person]:
        """The people who are older and have no younger sample, by id."""

    def log(self, since: datetime | None) -> list[LogEntry]:
        """The entries of the log, of that date or later, in their order."""

    def add_log(self, entries: Iterable[LogEntry]) -> None:
        """Add entries to the log. Called inside `writing()` or `logging()`."""

    def trim_log(self, before: datetime) -> None:
        """Drop older entries of the log. Called inside `writing()` or `logging()`."""
