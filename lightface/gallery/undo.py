"""What the last change of a gallery is taken back by.

It is one setting of the gallery, encrypted as the others are, and of one change only: the next one takes its place. It
holds no embedding, for what was removed must not come back: a removal cannot be undone, and deletes what is kept here.
Nor can what overwrites a name or metadata, for of these no trace is to stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from lightface.errors import GalleryError
from lightface.gallery import rules
from lightface.gallery.event_log import log_events
from lightface.gallery.records import Event, LogEntry, Person, StoredSample, check_person, parse_date
from lightface.gallery.row_codec import CONVERSION_ERRORS
from lightface.gallery.store import MODEL_ID, UNDO, GalleryStore


@dataclass(slots=True)
class Change:
    """One change: what was there before it. People and samples of higher ids than those of then came with it."""

    what: str  # the change in a word, as "enroll"
    revision: int  # of the gallery, when it was done
    last_person_id: int
    last_sample_id: int
    had_model: bool
    people: dict[int, Person] = field(default_factory=dict)  # who were changed or deleted, by id
    samples: dict[int, tuple[int, str]] = field(default_factory=dict)  # by id: whose, and the photograph's path
    adds_thresholds: bool = False  # where there were none
    is_whole: bool = True  # or it cannot be taken back

    def replaces(self, before: Person, after: Person | None) -> None:
        """A person is about to be changed, or with None deleted."""
        if after is not None and not before.metadata.items() <= after.metadata.items():
            self.is_whole = False
        if before != after and before.id <= self.last_person_id:
            self.people.setdefault(before.id, before)

    def touches(self, samples: Iterable[StoredSample]) -> None:
        """Samples are about to be given away, or another path."""
        for sample in samples:
            if sample.id <= self.last_sample_id:
                self.samples.setdefault(sample.id, (sample.person_id, sample.source_path))

    def to_json(self) -> str:
        people = {one.id: [one.name, dict(one.metadata), one.created_at.isoformat()] for one in self.people.values()}
        numbers = [self.revision, self.last_person_id, self.last_sample_id]
        flags = [self.had_model, self.adds_thresholds]
        values = {"what": self.what, "numbers": numbers, "flags": flags}
        return json.dumps({**values, "people": people, "samples": self.samples})


@dataclass(frozen=True, slots=True)
class LastChange:
    """What `Gallery.undo` does: people and samples that came with the last change go, others are as before."""

    what: str
    revision: int
    people_removed: int
    samples_removed: int
    people_restored: int
    samples_restored: int


class UndoLog:
    """Keeps the last change of a gallery. Every method but `together` is called inside the store's `writing()`."""

    def __init__(self, store: GalleryStore) -> None:
        self._store = store
        self._is_together = False
        self._change: Change | None = None  # of the block under way

    @contextmanager
    def together(self) -> Iterator[None]:
        """All changes inside are one; it cannot be taken back where another process changes something in between."""
        self._is_together, self._change = True, None
        try:
            yield
        finally:
            self._is_together, self._change = False, None

    @contextmanager
    def recording(self, what: str) -> Iterator[Change]:
        """Keep what the block changes, which says so beforehand."""
        revision = _revision(self._store)
        change = self._change
        if change is None:
            last_ids = (self._store.last_id("person"), self._store.last_id("sample"))
            change = Change(what, revision, *last_ids, self._store.setting(MODEL_ID) is not None)
        elif change.revision != revision - 1:
            change.is_whole = False
        yield change
        change.revision = revision
        if change is not self._change or not change.is_whole:  # else what is written over is kept anyway
            forget_change(self._store)
        if change.is_whole:
            self._store.set_setting(UNDO, change.to_json())
        if self._is_together:
            self._change = change


def forget_change(store: GalleryStore) -> None:
    """Delete what is kept of the last change: without a trace, once the store is purged."""
    text = store.setting(UNDO)
    if text is None:
        return
    if '"people": {}, "samples": {}' in text:  # numbers alone, and a VACUUM for each new sample would take long
        store.delete_setting(UNDO)
    else:
        store.erase_setting(UNDO)


def read_change(store: GalleryStore) -> Change | None:
    """The last change, if it is kept and nothing was changed since."""
    text = store.setting(UNDO)
    if text is None:
        return None
    try:
        change = _from_json(json.loads(text))
    except (*CONVERSION_ERRORS, KeyError) as error:
        raise GalleryError(f"{store.location} is damaged (what undo keeps is no change); change something") from error
    return change if change.revision == _revision(store) else None


def describe_change(store: GalleryStore, change: Change) -> LastChange:
    """What it would be to take that change back."""
    return LastChange(
        what=change.what,
        revision=change.revision,
        people_removed=store.count_after("person", change.last_person_id),
        samples_removed=store.count_after("sample", change.last_sample_id),
        people_restored=len(change.people),
        samples_restored=len(change.samples),
    )


def take_back(store: GalleryStore, change: Change) -> None:
    """Make people and samples what they were before a change, after which there was no other."""
    rules.delete_samples(store, [one for one in store.sample_ids() if one > change.last_sample_id])
    for person in change.people.values():
        if store.person_by_id(person.id) is None:
            store.insert_people([person])
        else:
            store.update_person(person)
    for sample_id, (person_id, path) in change.samples.items():
        sample = store.sample_by_id(sample_id)
        if sample is None:
            raise GalleryError(f"{store.location} has no sample {sample_id} any more; nothing was taken back")
        store.delete_samples([sample_id])
        store.insert_samples([replace(sample, person_id=person_id, source_path=path)])
        if sample.person_id != person_id:
            moved = LogEntry(Event.MOVED, person_id=sample.person_id, target_id=person_id, sample_id=sample_id)
            log_events(store, moved)
    for person in store.people():
        if person.id > change.last_person_id:
            store.delete_person(person.id)
            log_events(store, LogEntry(Event.REMOVED, person_id=person.id))
    if not change.had_model:
        store.delete_setting(MODEL_ID)
    if change.adds_thresholds:
        store.delete_thresholds()
    log_events(store, LogEntry(Event.UNDONE))
    forget_change(store)


def _revision(store: GalleryStore) -> int:
    try:
        return int(store.setting("revision") or "")
    except ValueError as error:
        raise GalleryError(f"{store.location} is damaged (it has no revision); restore a copy") from error


def _from_json(values: Any) -> Change:
    revision, last_person_id, last_sample_id = map(int, values["numbers"])
    had_model, adds_thresholds = map(bool, values["flags"])
    people = {
        int(person_id): Person(int(person_id), str(name), dict(metadata), parse_date(date))
        for person_id, (name, metadata, date) in values["people"].items()
    }
    for person in people.values():
        check_person(person)
    samples = {int(one): (int(person_id), str(path)) for one, (person_id, path) in values["samples"].items()}
    last_ids = (last_person_id, last_sample_id)
    return Change(str(values["what"]), revision, *last_ids, had_model, people, samples, adds_thresholds)
