"""How a gallery is kept: encrypted or not, with a log or without, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from lightface.errors import GalleryError, check_number
from lightface.faces import Match, Status
from lightface.gallery import log
from lightface.gallery.copying import reseal_records
from lightface.gallery.keys import GalleryKey, KeyKind
from lightface.gallery.periods import LONGEST_DAYS, RETENTION_DAYS, days_ago, read_days
from lightface.gallery.records import Event, Expired, LogEntry
from lightface.gallery.store import GalleryStore

if TYPE_CHECKING:
    from lightface.gallery.sealing import Sealing


class Upkeep:
    """The part of a `Gallery` that is about whoever answers for it."""

    _store: GalleryStore

    @property
    def encryption(self) -> KeyKind | None:
        """What opens this gallery; None where it is not encrypted."""
        sealing = self._store.sealing
        return None if sealing is None else sealing.kind

    def encrypt(self, key: GalleryKey) -> None:
        """Encrypt names, metadata, embeddings, paths and the rest of a sample; in place of an earlier key, if any.

        All or nothing, and every trace of what was there before is erased from the gallery's files. GalleryError for a
        key that is too short or cannot be read, and on a server.
        """
        from lightface.gallery.sealing import Sealing  # with a library that most galleries do without

        self._reseal(Sealing.new(key), Event.ENCRYPTED)

    def decrypt(self) -> None:
        """Keep everything in clear from now on."""
        self._reseal(None, Event.DECRYPTED)

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

    def log_matches(self, matches: Iterable[Match]) -> None:
        """Log that people were recognised, if the log is on. Whoever searches a gallery calls it."""
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
                log.write(self._store, *entries)

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
                log.write(self._store, LogEntry(Event.REMOVED, person_id=person_id))
        self._store.scrub()

    def _log(self, event: Event) -> None:
        """Log what is about to be done outside of the gallery: rather once too often than done and not logged."""
        if self.log_days is not None:
            with self._store.logging():
                log.write(self._store, LogEntry(event))

    def _delete_samples(self, sample_ids: Collection[int]) -> None:
        """Delete samples that are there. Called inside `writing()`."""
        if self.log_days is not None:
            found = filter(None, map(self._store.sample_by_id, sorted(sample_ids)))
            entries = [LogEntry(Event.REMOVED, person_id=one.person_id, sample_id=one.id) for one in found]
            log.write(self._store, *entries)
        self._store.delete_samples(sample_ids)

    def _reseal(self, sealing: Sealing | None, event: Event) -> None:
        with self._store.writing():
            reseal_records(self._store, sealing)
            log.write(self._store, LogEntry(event))
        self._store.scrub()
