"""A gallery from one store to another, or from one key to another, the same to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lightface.errors import GalleryError
from lightface.gallery.exchange import ExportHeader, ExportRecord, hash_records
from lightface.gallery.periods import LOG_DAYS, RETENTION_DAYS
from lightface.gallery.records import CopySummary, FaceSample, check_new_sample, check_new_threshold, check_person
from lightface.gallery.rules import MODEL_ID
from lightface.gallery.store import GalleryStore

if TYPE_CHECKING:
    from lightface.gallery.sealing import Sealing

_OBLIGATIONS: Final = (LOG_DAYS, RETENTION_DAYS)  # which follow the people; the log itself stays where it is


def read_records(store: GalleryStore) -> Iterator[ExportRecord]:
    """All that a store holds, in the order of an export. Called inside `reading()` or `writing()`."""
    yield _describe(store)
    yield from store.people()
    yield from store.thresholds()
    yield from store.samples()


def reseal_records(store: GalleryStore, sealing: Sealing | None) -> None:
    """Encrypt all that a store holds anew, read it back and compare. Called inside `writing()`."""
    before = hash_records(read_records(store))
    store.reseal(sealing)
    if hash_records(read_records(store)) != before:
        raise GalleryError(f"{store.location} did not come back the same; nothing was changed, try again")


def copy_records(source: GalleryStore, target: GalleryStore, *, in_clear: bool) -> CopySummary:
    """Make an empty target what the source is; see `Gallery.copy_to`.

    Called inside the source's `reading()` and the target's `writing()`, which undoes a copy that is not the same.
    """
    header = _describe(source)
    was_there = _describe(target) != ExportHeader(None, 0, 0)
    if not was_there:
        if source.sealing is not None and target.sealing is None and not in_clear:
            target.reseal(source.sealing.up_to_date())
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


def _checked(samples: Iterator[FaceSample]) -> Iterator[FaceSample]:
    for sample in samples:
        check_new_sample(sample)
        yield sample
