"""How long a gallery keeps what: samples and the entries of its log, in days; and the log itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from lightface.errors import GalleryError, check_number
from lightface.gallery.records import Event, LogEntry
from lightface.gallery.store import GalleryStore

LOG_DAYS: Final = "log_days"  # how long entries of the log are kept, 0 for ever; not set: the log is off
RETENTION_DAYS: Final = "retention_days"  # how long samples may be kept; not set: for ever

LONGEST_DAYS: Final = 100_000  # that a date can be reckoned back


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


# The log of a gallery: who was enrolled, removed, matched and so on, by ids alone, for those who answer for it.
#
# Off unless switched on: it is itself a record of people, namely of when they were recognised. Entries older than it
# is to be kept go whenever one is added.


DEFAULT_LOG_DAYS: Final = 365
FOR_EVER: Final = 0


def log_days(store: GalleryStore) -> int | None:
    """How many days entries are kept, FOR_EVER included; None: the log is off."""
    return read_days(store, LOG_DAYS)


def set_log_days(store: GalleryStore, days: int | None) -> None:
    """Switch the log on, or with None off, which is an entry itself. Called inside `writing()`."""
    if days is None:
        write_log(store, LogEntry(Event.LOG_OFF))
        store.delete_setting(LOG_DAYS)
        return
    check_number("days of the log", days, low=FOR_EVER, high=LONGEST_DAYS, whole=True, error=GalleryError)
    was_off = log_days(store) is None
    store.set_setting(LOG_DAYS, str(days))
    if was_off:
        write_log(store, LogEntry(Event.LOG_ON))


def write_log(store: GalleryStore, *entries: LogEntry) -> None:
    """Add entries, if the log is on, and drop those that are too old. Called inside `writing()` or `logging()`."""
    days = log_days(store)
    if days is None or not entries:
        return
    store.add_log(entries)
    if days != FOR_EVER:
        store.trim_log(days_ago(days))
