"""The log of a gallery: who was enrolled, removed, matched and so on, by ids alone, for those who answer for it.

Off unless switched on: it is itself a record of people, namely of when they were recognised. Entries older than it is
to be kept go whenever one is added.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from lightface.errors import GalleryError, check_number
from lightface.gallery.records import Event, LogEntry
from lightface.gallery.store import LOG_DAYS, GalleryStore
from lightface.records import Match, Status

DEFAULT_LOG_DAYS: Final = 365
FOR_EVER: Final = 0
LONGEST_DAYS: Final = 100_000  # that a date can be reckoned back

_EVENTS: Final = {Status.MATCHED: Event.MATCHED, Status.REVIEW: Event.REVIEW}


class EventLog:
    """What happened in a gallery, and for how long that is kept."""

    def __init__(self, store: GalleryStore) -> None:
        self._store = store

    @property
    def days(self) -> int | None:
        """How many days entries are kept, FOR_EVER included; None: the log is off."""
        return read_days(self._store, LOG_DAYS)

    def set_days(self, days: int | None) -> None:
        """Switch the log on, or with None off. What was logged stays until it is too old for the next log.

        GalleryError for a number that is no whole one from 0 to 100,000.
        """
        if days is not None:
            check_number("days of the log", days, low=FOR_EVER, high=LONGEST_DAYS, whole=True, error=GalleryError)
        with self._store.writing():
            if days is None:
                log_events(self._store, LogEntry(Event.LOG_OFF))
                self._store.delete_setting(LOG_DAYS)
                return
            was_off = self.days is None
            self._store.set_setting(LOG_DAYS, str(days))
            if was_off:
                log_events(self._store, LogEntry(Event.LOG_ON))

    def entries(self, since: datetime | None = None) -> list[LogEntry]:
        """What was logged, of that date or later, oldest first."""
        return self._store.log(since)

    def add(self, event: Event) -> None:
        """Log what is about to be done outside of the gallery: rather once too often than done and not logged."""
        self._add_at_once([LogEntry(event)])

    def add_matches(self, matches: Iterable[Match]) -> None:
        """Log that people were recognised."""
        self._add_at_once(
            LogEntry(_EVENTS[one.status], person_id=one.person_id, similarity=one.similarity)
            for one in matches
            if one.status in _EVENTS
        )

    def _add_at_once(self, entries: Iterable[LogEntry]) -> None:
        if self.days is not None and (found := list(entries)):
            with self._store.logging():
                log_events(self._store, *found)


def log_events(store: GalleryStore, *entries: LogEntry) -> None:
    """Add entries, if the log is on, and drop those that are too old. Called inside `writing()` or `logging()`."""
    days = read_days(store, LOG_DAYS)
    if days is None or not entries:
        return
    store.add_log(entries)
    if days != FOR_EVER:
        store.trim_log(days_ago(days))


def read_days(store: GalleryStore, name: str) -> int | None:
    """A setting in days, None where it is not set. GalleryError for one that lightface has not written."""
    text = store.setting(name)
    if text is None:
        return None
    if not (text.isdecimal() and len(text) <= len(str(LONGEST_DAYS)) and int(text) <= LONGEST_DAYS):
        raise GalleryError(f"{store.location} is damaged (its setting {name} is {text[:20]!r}); restore a copy")
    return int(text)


def days_ago(days: int) -> datetime:
    """The moment so many days ago, in UTC."""
    return datetime.now(UTC) - timedelta(days=days)
