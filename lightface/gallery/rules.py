"""The rules that keep a gallery sound. Each function is called inside a store's `writing()`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Final

from lightface.errors import (
    DuplicateFaceError,
    GalleryError,
    IdentityConflictError,
    ModelMismatchError,
    PersonNotFoundError,
)
from lightface.gallery.event_log import log_events, read_days
from lightface.gallery.exchange import ExportHeader, ExportRecord
from lightface.gallery.records import (
    Event,
    ImportSummary,
    LogEntry,
    NewSample,
    Person,
    StoredSample,
    StoredThreshold,
    check_new_sample,
    check_new_threshold,
    check_person,
    folded_name,
    is_same_face,
    latest_thresholds,
    normalize_name,
)
from lightface.gallery.store import LOG_DAYS, MODEL_ID, GalleryStore
from lightface.records import BoxPx

_LAST_ID: Final = 2**63 - 1  # that a database takes


def check_model(store: GalleryStore, model_id: str) -> None:
    """Raise ModelMismatchError where the gallery is pinned to another model."""
    pinned = store.setting(MODEL_ID)
    if pinned is not None and pinned != model_id:
        raise ModelMismatchError(
            f"the gallery {store.location} holds embeddings of {pinned}, not of {model_id}; "
            "use that model, or move the gallery to the new one with `lightface gallery reembed`"
        )
    stored_size, size = store.embedding_size(), embedding_size_of(model_id)
    if stored_size is not None and (pinned is None or size not in (None, stored_size)):
        raise GalleryError(
            f"{store.location} is damaged (embeddings of {stored_size} numbers, of the model {pinned}); restore a copy"
        )


@cache
def embedding_size_of(model_id: str) -> int | None:
    """How many numbers an embedding of that model has; None for a model that is not registered here."""
    from lightface.models.registry import find_record  # which much work on a gallery does without

    record = find_record(model_id)
    return None if record is None else record.embedding_size


def pin_model(store: GalleryStore, model_id: str) -> None:
    """Make `model_id` the gallery's model if it has none. ModelMismatchError if it has another."""
    if store.setting(MODEL_ID) is None:
        store.set_setting(MODEL_ID, model_id)
    check_model(store, model_id)


def find_person(store: GalleryStore, person: str | int) -> Person | None:
    """The person of that name or id."""
    if isinstance(person, int):
        return store.person_by_id(person) if 0 < person <= _LAST_ID else None
    return store.person_by_name(person)


def require_person(store: GalleryStore, person: str | int) -> Person:
    """The person of that name or id; PersonNotFoundError where there is none."""
    found = find_person(store, person)
    if found is None:
        raise PersonNotFoundError(f"there is no person {person!r} in the gallery; name one of its people")
    return found


def find_namesake(store: GalleryStore, name: str) -> Person | None:
    """The person of that very name, in NFC form. GalleryError where somebody has a name that only looks the same."""
    known = store.person_by_name(name)
    if known is not None and known.name != name:
        raise _too_alike(name, known.name)
    return known


def check_names(store: GalleryStore, names: Iterable[str]) -> None:
    """Raise GalleryError where a name cannot be taken, or looks like another of these or of the gallery."""
    seen: dict[str, str] = {}
    for name in map(normalize_name, names):
        other = seen.setdefault(folded_name(name), name)
        if other != name:
            raise _too_alike(name, other)
        find_namesake(store, name)


def find_or_add_person(store: GalleryStore, name: str, metadata: Mapping[str, str], created_at: datetime) -> Person:
    """The person of that very name, with the metadata added, or a new one. GalleryError as in `find_namesake`."""
    name = normalize_name(name)
    check_person(Person(1, name, metadata, created_at))
    known = find_namesake(store, name)
    if known is None:
        return store.insert_person(name, metadata, created_at)
    person = replace(known, metadata={**known.metadata, **metadata})
    if person != known:
        store.update_person(person)
    return person


def find_enrolled(store: GalleryStore, image_sha256: str, box_px: BoxPx | None) -> StoredSample | None:
    """The stored sample of that face of that photograph."""
    samples = store.samples_of_image(image_sha256)
    return next((sample for sample in samples if is_same_face(sample.box_px, box_px)), None)


def add_sample(store: GalleryStore, person: Person, sample: NewSample | StoredSample, *, keep_id: bool = False) -> None:
    """Store a sample of a person.

    Raises GalleryError for one that is not fit to be stored, DuplicateFaceError and IdentityConflictError
    where the face is enrolled already.
    """
    check_new_sample(sample)
    stored_size = store.embedding_size() or embedding_size_of(sample.model_id)
    if stored_size not in (None, sample.vector.size):
        raise GalleryError(f"an embedding of {sample.vector.size} numbers does not fit the {stored_size} of its model")
    enrolled = find_enrolled(store, sample.image_sha256, sample.box_px)
    if enrolled is None:
        if keep_id and isinstance(sample, StoredSample):
            store.insert_samples([sample])
            sample_id = sample.id
        else:
            sample_id = store.insert_sample(person.id, sample)
        log_events(store, LogEntry(Event.ENROLLED, person_id=person.id, sample_id=sample_id))
        return
    if enrolled.person_id == person.id:
        raise DuplicateFaceError(f"{sample.source_path} is enrolled for {person.name!r} already; leave it out")
    owner = require_person(store, enrolled.person_id)
    raise IdentityConflictError(
        f"{sample.source_path} is enrolled for {owner.name!r} and cannot be {person.name!r} as well; "
        f"give it over with 'lightface gallery move' (sample {enrolled.id}), or merge the two"
    )


def check_sample_ids(store: GalleryStore, sample_ids: Collection[int]) -> None:
    """Raise GalleryError where one of the samples is not in the gallery."""
    unknown = set(sample_ids) - store.sample_ids()
    if unknown:
        raise _no_sample(min(unknown))


def move_sample(store: GalleryStore, sample_id: int, target: Person) -> None:
    """Give a sample to another person. GalleryError where it is not in the gallery."""
    sample = store.sample_by_id(sample_id)
    if sample is None:
        raise _no_sample(sample_id)
    store.delete_samples([sample_id])
    store.insert_samples([replace(sample, person_id=target.id)])
    log_events(store, LogEntry(Event.MOVED, person_id=sample.person_id, target_id=target.id, sample_id=sample_id))


def give_samples(store: GalleryStore, source: Person, targets: Mapping[str, Collection[int]]) -> list[Person]:
    """Give samples of a person to others, by name, who are made where new; see `Gallery.give_samples`."""
    foreign = {one for sample_ids in targets.values() for one in sample_ids}
    foreign -= {sample.id for sample in store.samples(source.id)}
    if foreign:
        raise GalleryError(f"{source.name!r} has no sample {min(foreign)}; look at the gallery again")
    others = [find_or_add_person(store, name, {}, datetime.now(UTC)) for name in targets]
    if any(other.id == source.id for other in others):
        raise GalleryError(f"{source.name!r} has these samples already; name somebody else")
    for other, sample_ids in zip(others, targets.values(), strict=True):
        for sample_id in sorted(set(sample_ids)):
            move_sample(store, sample_id, other)
    return others


def relocate_sample(store: GalleryStore, sample_id: int, old: str, new: str) -> bool:
    """Give a sample another path of its photograph, if it still has the old one."""
    sample = store.sample_by_id(sample_id)
    if sample is None or sample.source_path != old or old == new:
        return False
    relocated = replace(sample, source_path=new)
    check_new_sample(relocated)
    store.delete_samples([sample_id])
    store.insert_samples([relocated])
    return True


def delete_samples(store: GalleryStore, sample_ids: Collection[int]) -> None:
    """Delete samples that are there."""
    if read_days(store, LOG_DAYS) is not None:
        found = filter(None, map(store.sample_by_id, sorted(sample_ids)))
        log_events(store, *(LogEntry(Event.REMOVED, person_id=one.person_id, sample_id=one.id) for one in found))
    store.delete_samples(sample_ids)


def import_records(
    store: GalleryStore, records: Iterable[ExportRecord], *, allow_looser: bool = False
) -> ImportSummary:
    """Add the records of an export; see `Gallery.import_from`."""
    is_empty = not store.sample_counts()
    people: dict[int, Person] = {}
    people_added = samples_added = samples_skipped = thresholds_added = 0
    for record in records:
        match record:
            case ExportHeader(model_id=model_id):
                if model_id is not None:
                    pin_model(store, model_id)
            case Person():
                known = None if is_empty else find_namesake(store, record.name)
                people[record.id] = _import_person(store, record, known, keep_id=is_empty)
                people_added += known is None
            case StoredSample():
                try:
                    add_sample(store, people[record.person_id], record, keep_id=is_empty)
                    samples_added += 1
                except DuplicateFaceError:
                    samples_skipped += 1
            case StoredThreshold():
                if is_empty:
                    check_new_threshold(record)
                    store.put_threshold(record)
                    thresholds_added += 1
    if thresholds_added and not allow_looser:
        _check_strictness(store)
    return ImportSummary(people_added, samples_added, samples_skipped, thresholds_added)


def _check_strictness(store: GalleryStore) -> None:
    """Raise GalleryError where the threshold that decides from now on lets in more than the weights' own."""
    from lightface.models.registry import DEFAULT_FAR, find_record

    model_id = store.setting(MODEL_ID)
    record = None if model_id is None else find_record(model_id)
    own = None if record is None else record.thresholds.get(DEFAULT_FAR)
    decides = max(one.threshold for one in latest_thresholds(store.thresholds()))
    if own is not None and decides < own:
        raise GalleryError(
            f"the file brings a threshold of {decides:.3f}, and that of its weights is {own:.3f}: more strangers would "
            "be taken for people enrolled; allow looser ones if that is meant, or take the calibration back before the "
            "export"
        )


def _import_person(store: GalleryStore, person: Person, known: Person | None, *, keep_id: bool) -> Person:
    """Whoever of the store an imported person is, from now on; what is known of them already wins."""
    check_person(person)
    if known is None:
        person_id = person.id if keep_id else None
        return store.insert_person(person.name, person.metadata, person.created_at, person_id=person_id)
    joined = replace(known, metadata={**person.metadata, **known.metadata})
    if joined != known:
        store.update_person(joined)
    return joined


def _too_alike(name: str, other: str) -> GalleryError:
    return GalleryError(
        f"{name!r} and {other!r} look like one name, for case, blanks and invisible characters do not count; write it "
        "as it is there if that is who it is, or choose a name that can be told from it"
    )


def _no_sample(sample_id: int) -> GalleryError:
    return GalleryError(f"there is no sample {sample_id} in the gallery; it may have been removed")
