"""How long a gallery may keep samples, what is past that, and its removal."""

from __future__ import annotations

from lightface.errors import GalleryError, check_number
from lightface.gallery.event_log import LONGEST_DAYS, days_ago, log_events, read_days
from lightface.gallery.records import Event, Expired, LogEntry
from lightface.gallery.rules import delete_samples
from lightface.gallery.store import RETENTION_DAYS, GalleryStore
from lightface.gallery.undo import forget_change


class Retention:
    """The limit that a gallery sets to the age of its samples. Nothing goes by itself: see `expired` and `remove`."""

    def __init__(self, store: GalleryStore) -> None:
        self._store = store

    @property
    def days(self) -> int | None:
        """How many days samples may be kept; None: for ever."""
        return read_days(self._store, RETENTION_DAYS)

    def set_days(self, days: int | None) -> None:
        """Say how long samples may be kept. GalleryError for a number that is no whole one from 1 to 100,000."""
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
            days = self.days
            if days is None:
                return None
            before = days_ago(days)
            found = Expired(before, tuple(self._store.people_before(before)), self._store.samples_before(before))
        return found if found.people or found.samples else None

    def remove(self, expired: Expired) -> None:
        """Delete what `expired` has found, without a trace; of it, only what is still there and still that old."""
        with self._store.writing():
            forget_change(self._store)
            people = {person.id for person in self._store.people_before(expired.before)}
            people &= {person.id for person in expired.people}
            samples = self._store.samples_before(expired.before)
            delete_samples(
                self._store, [one for one in samples if one in expired.samples and samples[one] not in people]
            )
            for person_id in sorted(people):
                self._store.delete_person(person_id)
                log_events(self._store, LogEntry(Event.REMOVED, person_id=person_id))
        self._store.purge()
