"""How a gallery is kept and copied: encrypted or not, with a log or without, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lightface.errors import GalleryError, check_number
from lightface.gallery import retention as log
from lightface.gallery.exchange import ExportHeader, ExportRecord, hash_records
from lightface.gallery.keys import GalleryKey, KeyKind
from lightface.gallery.records import (
    CopySummary,
    Event,
    Expired,
    LogEntry,
    StoredSample,
    check_new_sample,
    check_new_threshold,
    check_person,
)
from lightface.gallery.retention import LOG_DAYS, LONGEST_DAYS, RETENTION_DAYS, days_ago, read_days
from lightface.gallery.rules import MODEL_ID
from lightface.gallery.store import GalleryStore
from lightface.records import Match, Status

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher


class Upkeep:
    """The part of a `Gallery` that is about whoever answers for it."""

    _store: GalleryStore

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

    @property
    def log_days(self) -> int | None:
        """How many days the log is kept, 0 for ever; None: it is off."""
        return log.log_days(self._store)

    def set_log_days(self, days: int | None) -> None:
        """Switch the log on, or with None off. What was logged stays until it is too old for the next log."""
        with self._store.writing():
            log.set_log_days(self._store, days)

    def log(self, since: datetime | None = None) -> list[LogEntry]:
        """What was logged, of that date or later, oldest first."""
        return self._store.log(since)

    @property
    def retention_days(self) -> int | None:
        """How many days samples may be kept; None: for ever."""
        return read_days(self._store, RETENTION_DAYS)

    def set_retention_days(self, days: int | None) -> None:
        """Say how long samples may be kept. Removes nothing: see `expired` and `remove_expired`."""
        if days is not None:
            check_number("retention in days", days, low=1, high=LONGEST_DAYS, whole=True, error=GalleryError)
        with self._store.writing():
            if days is None:
                self._store.delete_setting(RETENTION_DAYS)
            else:
                self._store.set_setting(RETENTION_DAYS, str(days))

    def expired(self) -> Expired | None:
        """What has been kept for longer than the retention allows; None: nothing."""
        with self._store.reading():
            days = self.retention_days
            if days is None:
                return None
            before = days_ago(days)
            found = Expired(before, tuple(self._store.people_before(before)), self._store.samples_before(before))
        return found if found.people or found.samples else None

    def remove_expired(self, expired: Expired) -> None:
        """Delete what `expired` has found, without a trace; of it, only what is still there and still that old."""
        with self._store.writing():
            people = {person.id for person in self._store.people_before(expired.before)}
            people &= {person.id for person in expired.people}
            samples = self._store.samples_before(expired.before)
            self._delete_samples([one for one in samples if one in expired.samples and samples[one] not in people])
            for person_id in sorted(people):
                self._store.delete_person(person_id)
                log.write_log(self._store, LogEntry(Event.REMOVED, person_id=person_id))
        self._store.purge()

    def _log(self, event: Event) -> None:
        """Log what is about to be done outside of the gallery: rather once too often than done and not logged."""
        if self.log_days is not None:
            with self._store.logging():
                log.write_log(self._store, LogEntry(event))

    def _log_matches(self, matches: Iterable[Match]) -> None:
        """Log that people were recognised, if the log is on."""
        if self.log_days is None:
            return
        events = {Status.MATCHED: Event.MATCHED, Status.REVIEW: Event.REVIEW}
        entries = [
            LogEntry(events[one.status], person_id=one.person_id, similarity=one.similarity)
            for one in matches
            if one.status in events
        ]
        if entries:
            with self._store.logging():
                log.write_log(self._store, *entries)

    def _delete_samples(self, sample_ids: Collection[int]) -> None:
        """Delete samples that are there. Called inside `writing()`."""
        if self.log_days is not None:
            found = filter(None, map(self._store.sample_by_id, sorted(sample_ids)))
            entries = [LogEntry(Event.REMOVED, person_id=one.person_id, sample_id=one.id) for one in found]
            log.write_log(self._store, *entries)
        self._store.delete_samples(sample_ids)

    def _reencrypt(self, cipher: GalleryCipher | None, event: Event) -> None:
        with self._store.writing():
            reencrypt_records(self._store, cipher)
            log.write_log(self._store, LogEntry(event))
        self._store.purge()


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
