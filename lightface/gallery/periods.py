"""How long a gallery keeps what: settings in days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from lightface.errors import GalleryError
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
