"""The gallery: who is enrolled, with which faces, and the rules that keep it sound."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from lightface.errors import ConfigError, GalleryError, OutputError, check_count
from lightface.frame import EMBEDDING_SIZE
from lightface.gallery import rules
from lightface.gallery.event_log import EventLog, log_events
from lightface.gallery.exchange import copy_records, read_export, read_records, reencrypt_records, write_export
from lightface.gallery.keys import GalleryKey, KeyKind
from lightface.gallery.records import (
    CopySummary,
    Event,
    GalleryMatrix,
    GalleryStats,
    ImportSummary,
    LogEntry,
    NewSample,
    Person,
    StoredSample,
    StoredThreshold,
    check_name,
    check_new_metadata,
    check_new_threshold,
    check_vector,
    name_key,
    normalize_name,
)
from lightface.gallery.retention import Retention
from lightface.gallery.search import Scores, SearchResult, Templates, name_faces, score_samples
from lightface.gallery.store import MODEL_ID, GalleryStore
from lightface.gallery.undo import LastChange, UndoLog, describe_change, forget_change, read_change, take_back
from lightface.matching import DEFAULT_PERSON_SCORING, DecisionBands, PersonScoring, measure_poorness
from lightface.records import BoxPx, FloatArray
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher

_EMPTY_MATRIX_SHAPE: Final = (0, EMBEDDING_SIZE)


class Gallery:
    """People and their face samples, all embedded by one model.

    The first enrolled sample pins the gallery to its model. Each method that changes something does all of it
    or nothing, also when several processes work on one gallery; it then raises GalleryError or OutputError. A
    `person` is named by their name, in any case, or by their id as an int; PersonNotFoundError if there is no
    such person.

    Any thread may call any method, and several threads at once: while one reads the gallery's file or writes to it, the
    others wait. A process that was forked opens the gallery itself.
    """

    def __init__(self, store: GalleryStore, *, model_id: str | None = None) -> None:
        self.log: Final = EventLog(store)
        self.retention: Final = Retention(store)
        self._store = store
        self._undo = UndoLog(store)
        self._expected_model_id = model_id
        self._matrix: GalleryMatrix | None = None
        self._matrix_version: object = None
        self._templates: Templates | None = None
        self._is_large = False  # whether the store finds the nearest faster than they are found among all templates
        self._searched_version: object = None  # of the contents that these two are of

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store; the gallery cannot be used any more."""
        self._store.close()

    @property
    def location(self) -> str:
        """Where the gallery is, for messages."""
        return self._store.location

    @property
    def residual_copies(self) -> str | None:
        """Where what was deleted may live on all the same, for the user to see to; None: nowhere known."""
        return self._store.residual_copies

    @property
    def model_id(self) -> str | None:
        """The model of all embeddings, None while nobody was ever enrolled."""
        return self._store.setting(MODEL_ID)

    @property
    def is_empty(self) -> bool:
        """Whether there is no sample to compare with."""
        return self._store.embedding_size() is None

    def check_model(self, model_id: str | None = None) -> None:
        """Raise ModelMismatchError where the gallery is not one of that model; None: of the one it was opened for."""
        with self._store.reading():
            self._check_model(model_id)

    def people(self) -> list[Person]:
        """Everybody, by name."""
        return sorted(self._store.people(), key=lambda person: name_key(person.name))

    def find_person(self, person: str | int) -> Person | None:
        """The person of that name, in any case, or of that id; None where there is none."""
        return rules.find_person(self._store, person)

    def samples(self, person: str | int | None = None) -> list[StoredSample]:
        """The samples of one person, or everybody's by person id; oldest first."""
        with self._store.reading():
            return list(self._store.samples(None if person is None else self._require_person(person).id))

    def find_enrolled(self, image_sha256: str, box_px: BoxPx | None = None) -> StoredSample | None:
        """The sample already made of a face, or None: same photograph, overlapping box.

        Without a box, any face of that photograph counts.
        """
        return rules.find_enrolled(self._store, image_sha256, box_px)

    def matrix(self) -> GalleryMatrix:
        """All samples ready to be searched; read again only after a change, here or by another process.

        Raises ModelMismatchError where another process has moved the gallery to another model.
        """
        with self._store.reading():
            version = self._store.version()
            if self._matrix is None or self._matrix_version != version:
                self._check_model()
                self._matrix, self._matrix_version = self._read_matrix(), version
            return self._matrix

    def search(
        self,
        vectors: FloatArray,
        *,
        bands: DecisionBands,
        qualities: Sequence[float | None] = (),
        limit: int = 5,
        scoring: PersonScoring = DEFAULT_PERSON_SCORING,
    ) -> list[SearchResult]:
        """Who the faces of one photograph are; nobody is named twice in it.

        `vectors` (P, D) are unit rows float32, embeddings of the gallery's model. There is a result for each, with
        `limit` candidates, fewer where there are not as many people. Matches are logged, if the log is on.
        `qualities` (0..1) are those of the faces, where they are known: a poor face and a person known from poor faces
        must be more alike to be MATCHED (`threshold_of_pair`), and are for REVIEW until then.

        Templates are made once and again only after a change, here or by another process. Raises ModelMismatchError
        where another process has moved the gallery to another model, ConfigError for a limit that is no whole number
        of 0 or more.
        """
        check_count("limit", limit, low=0)
        if len(qualities) not in (0, len(vectors)):
            raise ConfigError(f"there are {len(qualities)} qualities for {len(vectors)} faces; give one for each")
        if not len(vectors):
            return []
        # As many people as there are faces are enough to name them: whoever is worse than that for a face, the best
        # assignment can do without, for the other faces take one person each.
        results = name_faces(
            self._score(vectors, max(limit, len(vectors)), scoring),
            bands,
            limit,
            poorness=measure_poorness(qualities or [None] * len(vectors)).tolist(),
            poorness_of=self._poorness_of,
        )
        self.log.add_matches(result.match for result in results if result.match is not None)
        return results

    def matrix_near(self, probes: FloatArray, k: int) -> GalleryMatrix:
        """The samples of some people, the `k` nearest by template of each unit row of `probes` (P, D) among them.

        Costs little where the gallery changes between two calls: no more is read than what has changed. Errors as in
        `matrix`.
        """
        with self._store.reading():
            self._check_model()
            near = self._store.people_near(probes, k)
            if near is not None:
                return self._read_matrix(near)
        return self.matrix()

    def template_sizes(self) -> dict[int, int]:
        """How many people have so many samples, by that number; told without reading any sample."""
        return self._store.template_sizes()

    def stats(self) -> GalleryStats:
        """Counts, size and dates."""
        with self._store.reading():
            counts = self._store.sample_counts()
            return GalleryStats(
                location=self.location,
                model_id=self.model_id,
                person_count=len(counts),
                sample_count=sum(counts.values()),
                samples_per_person=counts,
                size_bytes=self._store.size_bytes(),
                created_at=self._store.created_at(),
                last_enrolled_at=self._store.last_enrolled_at(),
            )

    def enroll(self, name: str, samples: Sequence[NewSample], *, metadata: Mapping[str, str] | None = None) -> Person:
        """Add samples to the person of that name, who is made if new.

        `metadata` is added to what is known of the person; a key known before takes the new value.

        Raises DuplicateFaceError for a face that this person already has, IdentityConflictError for one that
        somebody else has, ModelMismatchError for another model's embedding and GalleryError for a sample or a
        name that cannot be stored: a name, too, that differs from somebody's only in case, blanks or invisible
        characters.
        """
        if not samples:
            raise GalleryError(f"there is no face to enroll for {name!r}; give at least one photograph")
        with self._store.writing(), self._undo.recording("enroll") as change:
            for sample in samples:
                rules.pin_model(self._store, sample.model_id)
            self._check_model()
            known = self._store.person_by_name(name) if metadata else None
            person = rules.find_or_add_person(self._store, name, metadata or {}, datetime.now(UTC))
            if known is not None:
                change.replaces(known, person)
            for sample in samples:
                rules.add_sample(self._store, person, sample)
        self._store.purge()  # values that were overwritten, and what was kept of the change before
        return person

    def enrolling_together(self) -> AbstractContextManager[None]:
        """What is enrolled inside is one change for `undo`, by however many calls."""
        return self._undo.together()

    def check_names(self, names: Iterable[str]) -> None:
        """Raise GalleryError, before any work is done, where `enroll` would refuse a name.

        So it would where a name looks like another of these, or of the gallery, and is not the same.
        """
        rules.check_names(self._store, names)

    def remove_person(self, person: str | int) -> Person:
        """Delete a person with all samples, and every trace of them from the files of the gallery."""
        with self._store.writing():
            found = self._require_person(person)
            forget_change(self._store)
            self._store.delete_person(found.id)
            log_events(self._store, LogEntry(Event.REMOVED, person_id=found.id))
        self._store.purge()
        return found

    def remove_samples(self, sample_ids: Collection[int]) -> None:
        """Delete samples without a trace; people may be left without any. GalleryError for an unknown id."""
        with self._store.writing():
            rules.check_sample_ids(self._store, sample_ids)
            forget_change(self._store)
            rules.delete_samples(self._store, sample_ids)
        self._store.purge()

    def move_sample(self, sample_id: int, person: str | int) -> Person:
        """Give a sample to another person; its own may be left without any. GalleryError for an unknown id."""
        with self._store.writing(), self._undo.recording("move") as change:
            target = self._require_person(person)
            change.touches(filter(None, [self._store.sample_by_id(sample_id)]))
            rules.move_sample(self._store, sample_id, target)
        self._store.purge()
        return target

    def relocate_samples(self, paths: Mapping[int, tuple[str, str]]) -> int:
        """Note for samples, by id, where their photograph lies now: the path that they name, and the new one.

        A sample that is gone, or names another path by now, is left alone. How many were changed.
        """
        with self._store.writing(), self._undo.recording("relocate") as change:
            change.touches(filter(None, map(self._store.sample_by_id, paths)))
            count = sum(rules.relocate_sample(self._store, one, old, new) for one, (old, new) in paths.items())
        self._store.purge()
        return count

    def follow_photos(self, found: Mapping[str, str]) -> dict[str, str]:
        """Note where photographs lie now, by their SHA-256, if there is no file any more where their samples say.

        `found` has absolute paths of files. The path that was named before, of each photograph that has moved.
        """
        moved: dict[str, str] = {}
        paths: dict[int, tuple[str, str]] = {}
        with self._store.reading():
            for image_sha256, new in found.items():
                for sample in self._store.samples_of_image(image_sha256):
                    old = sample.source_path
                    if os.path.isabs(old) and not os.path.lexists(old):  # no URL, and no link to what is unmounted
                        moved[image_sha256] = old
                        paths[sample.id] = (old, new)
        if paths:
            self.relocate_samples(paths)
        return moved

    def give_samples(self, person: str | int, targets: Mapping[str, Collection[int]]) -> list[Person]:
        """Give samples of a person to others, by name: to whoever has that name, or to somebody new. One change.

        Those others, in the order given; the person may be left without any sample. GalleryError for another's sample,
        the person's own name, and a name that only looks like somebody's.
        """
        with self._store.writing(), self._undo.recording("move") as change:
            source = self._require_person(person)
            given = {one for ids in targets.values() for one in ids}
            change.touches(sample for sample in self._store.samples(source.id) if sample.id in given)
            others = rules.give_samples(self._store, source, targets)
        self._store.purge()
        return others

    def split_person(self, person: str | int, sample_ids: Collection[int], new_name: str) -> Person:
        """Give samples of a person to a new one of that name, which must be free. GalleryError for another's sample."""
        new_name = normalize_name(new_name)
        with self._store.writing(), self._undo.recording("move") as change:
            source = self._require_person(person)
            change.touches(sample for sample in self._store.samples(source.id) if sample.id in sample_ids)
            if self._store.person_by_name(new_name) is not None:
                raise GalleryError(f"there is a {new_name!r} already; look at the gallery again")
            (target,) = rules.give_samples(self._store, source, {new_name: sample_ids})
        self._store.purge()
        return target

    def rename_person(self, person: str | int, new_name: str) -> Person:
        """Give a person another name, which must be free. The old one leaves no trace."""
        new_name = normalize_name(new_name)
        check_name(new_name)
        with self._store.writing():
            found = self._require_person(person)
            namesake = self._store.person_by_name(new_name)
            if namesake is not None and namesake.id != found.id:
                raise GalleryError(f"there is a {namesake.name!r} already; merge the two, or choose another name")
            renamed = replace(found, name=new_name)
            forget_change(self._store)
            self._store.update_person(renamed)
            log_events(self._store, LogEntry(Event.RENAMED, person_id=found.id))
        self._store.purge()
        return renamed

    def set_metadata(self, person: str | int, metadata: Mapping[str, str]) -> Person:
        """Add to what is known of a person; a key known before takes the new value, or goes where that is empty."""
        check_new_metadata(metadata)
        with self._store.writing():
            found = self._require_person(person)
            forget_change(self._store)
            gone = {key for key, value in metadata.items() if not value}
            joined = {**found.metadata, **metadata}
            changed = replace(found, metadata={key: joined[key] for key in joined if key not in gone})
            if changed != found:
                self._store.update_person(changed)
        self._store.purge()
        return changed

    def merge_people(self, source: str | int, target: str | int) -> Person:
        """Give the samples and metadata of `source` to `target`, whose own entries win; delete `source`."""
        with self._store.writing(), self._undo.recording("merge") as change:
            source_person, target_person = self._require_person(source), self._require_person(target)
            if source_person.id == target_person.id:
                raise GalleryError(f"{target_person.name!r} cannot be merged with itself; name two people")
            merged = replace(target_person, metadata={**source_person.metadata, **target_person.metadata})
            change.replaces(source_person, None)
            change.replaces(target_person, merged)
            change.touches(self._store.samples(source_person.id))
            self._store.move_samples(source_person.id, target_person.id)
            self._store.update_person(merged)
            self._store.delete_person(source_person.id)
            log_events(self._store, LogEntry(Event.MERGED, person_id=source_person.id, target_id=target_person.id))
        self._store.purge()
        return merged

    def last_change(self) -> LastChange | None:
        """What `undo` would take back; None where it can take nothing back."""
        with self._store.reading():
            change = read_change(self._store)
            return None if change is None else describe_change(self._store, change)

    def undo(self, change: LastChange) -> None:
        """Take back the last change, as `last_change` has told it, whole.

        Enrolling, importing, moving, splitting, merging and relocating can be taken back, unless metadata were
        overwritten; and once only. GalleryError where anything was changed since, by whomever.
        """
        with self._store.reading():  # its revision is another one while it is written to
            known = read_change(self._store)
        with self._store.writing():
            now = self._store.setting("revision")
            if known is None or known.revision != change.revision or now != str(known.revision + 1):
                raise GalleryError(f"{self.location} was changed since; nothing was taken back, look at it again")
            take_back(self._store, known)
        self._store.purge()

    def forget_last_change(self) -> None:
        """Delete what is kept to take the last change back, without a trace."""
        with self._store.writing():
            forget_change(self._store)
        self._store.purge()

    def replace_embeddings(
        self, model_id: str, vectors: Mapping[int, FloatArray], *, drop: Collection[int] = ()
    ) -> None:
        """Move the whole gallery to another model: a new unit row for each sample id.

        A gallery holds one model's embeddings only, so every sample must be in `vectors` or, where its
        photograph is gone, in `drop`: nothing is lost unless it is named. Dropped samples are deleted, and
        people may be left without any. Thresholds are forgotten: they were the old model's.

        Raises GalleryError where a sample is in neither, in both, or not in the gallery.
        """
        for vector in vectors.values():
            check_vector(vector)
        if len({vector.size for vector in vectors.values()}) > 1:
            raise GalleryError("the new embeddings are of different sizes; make them all with one model")
        with self._store.writing():
            rules.check_sample_ids(self._store, {*vectors, *drop})
            uncovered = self._store.sample_ids() - vectors.keys() - set(drop)
            if uncovered or vectors.keys() & set(drop):
                raise GalleryError(
                    f"{count_of(len(uncovered), 'sample has', 'samples have')} no new embedding; "
                    "embed or drop each sample, and not both"
                )
            forget_change(self._store)
            rules.delete_samples(self._store, drop)
            self._store.update_vectors(vectors)
            self._store.set_setting(MODEL_ID, model_id)
            self._store.delete_thresholds()
            log_events(self._store, LogEntry(Event.REEMBEDDED))
        self._expected_model_id = model_id
        self._store.purge()

    def thresholds(self) -> list[StoredThreshold]:
        """The thresholds measured for this gallery, by falling false-accept rate."""
        return self._store.thresholds()

    def set_threshold(self, threshold: StoredThreshold) -> None:
        """Keep a threshold, in place of an earlier one for the same false-accept rate."""
        check_new_threshold(threshold)
        with self._store.writing():
            self._store.put_threshold(threshold)

    def forget_thresholds(self) -> int:
        """Delete all thresholds measured for this gallery; how many. Those of its weights decide again.

        They are not read, so that one that makes no sense can be taken back as well.
        """
        with self._store.writing():
            return self._store.delete_thresholds()

    @property
    def encryption(self) -> KeyKind | None:
        """What opens this gallery; None where it is not encrypted."""
        cipher = self._store.cipher
        return None if cipher is None else cipher.kind

    def encrypt(self, key: GalleryKey) -> None:
        """Encrypt names, metadata, embeddings, paths and the rest of a sample; in place of an earlier key, if any.

        All or nothing, and every trace of what was there before is erased from the gallery's files. GalleryError for a
        key that is too short or cannot be read, and on a server.
        """
        from lightface.gallery.encryption import GalleryCipher  # with a library that most galleries do without

        self._reencrypt(GalleryCipher.new(key), Event.ENCRYPTED)

    def decrypt(self) -> None:
        """Keep everything in clear from now on."""
        self._reencrypt(None, Event.DECRYPTED)

    def export_to(self, path: Path) -> None:
        """Write everything into one portable file, described in `lightface.gallery.exchange`.

        Only its owner may read it. Written beside `path` and then renamed; OutputError where that fails.
        """
        if os.path.realpath(path) == os.path.realpath(self.location):
            raise OutputError(f"{path} is the gallery itself; export to another file")
        self.log.add(Event.EXPORTED)
        with self._store.reading():
            write_export(path, read_records(self._store))

    def copy_to(self, target: Gallery, *, in_clear: bool = False) -> CopySummary:
        """Make `target`, which must be empty, what this gallery is, ids and thresholds included.

        Whole or not at all: what was written is read back and compared before it counts. A target that is the same
        already is left alone. GalleryError for one that holds something else.

        A target keeps the encryption that it has. One without gets this gallery's, unless it shall be `in_clear`;
        GalleryError where it can have none, on a server.
        """
        self.log.add(Event.COPIED)
        one, other = sorted((self._store, target._store), key=id)  # or two copies, there and back, wait for each other
        with one.alone(), other.alone(), self._store.reading(), target._store.writing():
            return copy_records(self._store, target._store, in_clear=in_clear)

    def import_from(self, path: Path, *, allow_looser: bool = False, allow_alike: bool = False) -> ImportSummary:
        """Add what an export holds.

        Into a gallery without people it comes back as it was, ids and thresholds included. Elsewhere people
        of the same name are joined as in `merge_people`, samples that are there already are skipped, and
        thresholds are left out.

        Raises GalleryError for a damaged file (with the line), for a name that only looks like one of the gallery's or,
        unless `allow_alike`, like another of the file, and for a threshold that lets in more than that of the weights,
        unless `allow_looser`; ModelMismatchError, and IdentityConflictError where one face would belong to two people.
        """
        with self._store.writing(), self._undo.recording("import") as change:
            before, had_thresholds = {one.id: one for one in self._store.people()}, bool(self._store.thresholds())
            summary = rules.import_records(
                self._store, read_export(path, allow_alike=allow_alike), allow_looser=allow_looser
            )
            for person in self._store.people():
                change.replaces(before.get(person.id, person), person)
            change.adds_thresholds = summary.thresholds_added > 0
            change.is_whole = change.is_whole and not (had_thresholds and change.adds_thresholds)
            self._check_model()
        self._store.purge()  # metadata that were joined
        return summary

    def _reencrypt(self, cipher: GalleryCipher | None, event: Event) -> None:
        with self._store.writing():
            forget_change(self._store)
            reencrypt_records(self._store, cipher)
            log_events(self._store, LogEntry(event))
        self._store.purge()

    def _check_model(self, model_id: str | None = None) -> None:
        """`check_model` inside `reading()` or `writing()`: between two reads another process might enroll the first."""
        model_id = model_id or self._expected_model_id
        if model_id is not None:
            rules.check_model(self._store, model_id)

    def _require_person(self, person: str | int) -> Person:
        return rules.require_person(self._store, person)

    def _score(self, vectors: FloatArray, k: int, scoring: PersonScoring) -> Scores:
        """Similarities to people who include the `k` nearest of each row."""
        if scoring != "mean":
            return score_samples(vectors, self.matrix(), scoring)
        with self._store.reading():
            version = self._store.version()
            if self._searched_version != version:
                self._check_model()
                self._templates, self._is_large = None, self._store.is_large()
                self._searched_version = version
            near = self._store.people_near(vectors, k) if self._is_large else None
            if near is not None:
                return score_samples(vectors, self._read_matrix(near), scoring)
            templates = self._templates = self._templates or Templates.of(self._read_matrix())
        return templates.score(vectors)  # while other threads may read the gallery

    def _poorness_of(self, person_id: int) -> float:
        """The mean over somebody's samples (0..1); 0 where there are none any more."""
        with self._store.reading():
            qualities = [sample.quality for sample in self._store.samples(person_id)]
        return float(measure_poorness(qualities).mean()) if qualities else 0.0

    def _read_matrix(self, only: Collection[int] | None = None) -> GalleryMatrix:
        vectors, person_ids = self._store.vectors(only)
        present, person_index = np.unique(person_ids, return_inverse=True)
        people = self._store.people() if only is None else map(self._require_person, present.tolist())
        by_id = {person.id: person for person in people}
        vectors.flags.writeable = False
        return GalleryMatrix(
            vectors=vectors if len(vectors) else vectors.reshape(_EMPTY_MATRIX_SHAPE),
            person_index=person_index.astype(np.int64, copy=False),
            people=tuple(by_id[person_id] for person_id in present.tolist()),
            model_id=self.model_id,
        )
