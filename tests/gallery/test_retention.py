"""The log says who was enrolled, matched and removed, by ids alone; what is too old is found and removed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import find, make_sample, make_vector

from lightface.errors import GalleryError
from lightface.gallery import Event, Gallery, KeyFile, LogEntry, NewSample, StoredThreshold, open_gallery
from lightface.gallery.store import GalleryStore
from lightface.matching import DecisionBands


def told(gallery: Gallery, since: datetime | None = None) -> list[tuple[object, ...]]:
    """The log without its dates."""
    return [(one.event.value, one.person_id, one.target_id, one.sample_id) for one in gallery.log.entries(since)]


@pytest.fixture
def logged(gallery: Gallery) -> Gallery:
    gallery.enroll("Before", [make_sample(90)])
    gallery.log.set_days(365)
    return gallery


class TestLog:
    def test_is_off_unless_switched_on(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        (found,) = gallery.search(make_vector(1)[np.newaxis], bands=DecisionBands(0.4))
        assert found.match is not None and found.match.person_name == "Ada"
        gallery.remove_person("Ada")
        assert gallery.log.days is None and gallery.log.entries() == []

    def test_tells_what_happened_to_whom(self, logged: Gallery, tmp_path: Path) -> None:
        logged.enroll("Ada", [make_sample(1), make_sample(2)])
        logged.enroll("Bob", [make_sample(3)])
        logged.move_sample(2, "Bob")
        logged.rename_person("Bob", "Rob")
        logged.remove_samples([4])
        logged.merge_people("Rob", "Ada")
        logged.replace_embeddings("model-b", {n: make_vector(n) for n in (1, 2)}, drop=[3])
        logged.export_to(tmp_path / "export.jsonl")
        logged.remove_person("Ada")
        logged.log.set_days(None)
        logged.enroll("Eve", [make_sample(5, model_id="model-b")])
        assert told(logged) == [
            ("log on", None, None, None),
            ("enrolled", 2, None, 2),
            ("enrolled", 2, None, 3),
            ("enrolled", 3, None, 4),
            ("moved", 2, 3, 2),
            ("renamed", 3, None, None),
            ("removed", 3, None, 4),
            ("merged", 3, 2, None),
            ("removed", 2, None, 3),
            ("reembedded", None, None, None),
            ("exported", None, None, None),
            ("removed", 2, None, None),
            ("log off", None, None, None),
        ]

    def test_tells_matches_and_leaves_the_search_as_it_is(self, logged: Gallery, place: Path | str) -> None:
        matrix, probe = logged.matrix(), make_vector(90)[np.newaxis]
        with open_gallery(place) as other:
            for bands in (DecisionBands(0.4), DecisionBands(1.5, 0.4), DecisionBands(1.5)):
                other.search(probe, bands=bands)
        logged.search(probe[:0], bands=DecisionBands(0.4))
        assert [(one.event, one.person_id, one.similarity) for one in logged.log.entries()[1:]] == [
            (Event.MATCHED, 1, 1.0),
            (Event.REVIEW, 1, 1.0),
        ]
        assert logged.matrix() is matrix  # nothing was read again

    def test_what_was_undone_is_not_told(self, logged: Gallery) -> None:
        with pytest.raises(GalleryError):
            logged.enroll("Ada", [make_sample(1), make_sample(2, model_id="model-b")])
        assert told(logged) == [("log on", None, None, None)]

    def test_imports_and_copies(self, logged: Gallery, tmp_path: Path) -> None:
        logged.export_to(tmp_path / "export.jsonl")
        logged.retention.set_days(30)
        with open_gallery(tmp_path / "other.sqlite", create=True) as other:
            logged.copy_to(other, in_clear=True)
            # The obligations go with the people, the log stays.
            assert (other.log.days, other.retention.days, other.log.entries()) == (365, 30, [])
            other.remove_person("Before")
            other.import_from(tmp_path / "export.jsonl")
            assert told(other) == [("removed", 1, None, None), ("enrolled", 1, None, 1)]
        assert told(logged)[1:] == [("exported", None, None, None), ("copied", None, None, None)]

    def test_does_not_grow_for_ever(self, logged: Gallery, place: Path | str) -> None:
        def add(days: int) -> None:
            with logged._store.logging():
                logged._store.add_log([LogEntry(Event.RENAMED, at=datetime.now(UTC) - timedelta(days=days))])

        add(366)
        add(364)
        assert len(logged.log.entries()) == 3
        logged.rename_person("Before", "After")
        assert [one[:2] for one in told(logged)] == [("log on", None), ("renamed", None), ("renamed", 1)]
        logged.log.set_days(0)
        add(50_000)
        logged.rename_person("After", "Before")
        assert len(logged.log.entries()) == 5
        assert len(logged.log.entries(since=datetime.now(UTC) - timedelta(days=400))) == 4
        for days in (-1, 10**9):
            with pytest.raises(GalleryError, match="days of the log is"):
                logged.log.set_days(days)

    def test_of_encryption(self, gallery_path: Path, key_file: KeyFile) -> None:
        with open_gallery(gallery_path, create=True) as gallery:
            gallery.log.set_days(1)
            gallery.encrypt(key_file)
            gallery.enroll("Ada", [make_sample(1)])
            gallery.decrypt()
            events = [one[0] for one in told(gallery)]
        assert events == ["log on", "encrypted", "enrolled", "decrypted"]


class TestRetention:
    @pytest.fixture
    def aged(self, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> Gallery:
        """Old: enrolled 40 days ago. Mixed: 40 days and today. New: today."""

        def sample(photo: int, days: int) -> Any:
            return make_sample(photo, created_at=datetime.now(UTC) - timedelta(days=days))

        gallery.enroll("Old", [sample(1, 40), sample(2, 41)])
        gallery.enroll("Mixed", [sample(3, 40), sample(4, 0)])
        gallery.enroll("New", [sample(5, 0)])
        gallery.enroll("Without", [sample(6, 0)])
        gallery.remove_samples([6])
        with gallery._store.writing():
            for person in gallery.people():
                if person.name != "New":
                    gallery._store.delete_person(person.id)
                    gallery._store.insert_people([replace(person, created_at=datetime.now(UTC) - timedelta(days=40))])
            for photo, person_id, days in ((1, 1, 40), (2, 1, 41), (3, 2, 40), (4, 2, 0)):
                gallery._store.insert_samples([sample(photo, days).stored(photo, person_id)])
        return gallery

    def test_without_a_limit_nothing_is_too_old(self, aged: Gallery) -> None:
        assert aged.retention.days is None and aged.retention.expired() is None

    def test_finds_and_removes_what_is_too_old(self, aged: Gallery) -> None:
        aged.log.set_days(365)
        aged.retention.set_days(60)
        assert aged.retention.expired() is None
        aged.retention.set_days(30)
        expired = aged.retention.expired()
        assert expired is not None
        assert [person.name for person in expired.people] == ["Old", "Without"]
        assert expired.samples == {1: 1, 2: 1, 3: 2}
        assert len(aged.people()) == 4  # nothing is removed unasked
        aged.retention.remove(expired)
        assert aged.stats().samples_per_person == {2: 1, 3: 1}
        assert [sample.id for sample in aged.samples()] == [4, 5]
        assert told(aged)[1:] == [("removed", 2, None, 3), ("removed", 1, None, None), ("removed", 4, None, None)]
        assert aged.retention.expired() is None

    def test_whoever_was_enrolled_anew_meanwhile_stays(self, aged: Gallery) -> None:
        aged.retention.set_days(30)
        expired = aged.retention.expired()
        assert expired is not None
        aged.enroll("Old", [make_sample(7)])
        aged.retention.remove(expired)
        assert aged.stats().samples_per_person == {1: 1, 2: 1, 3: 1}

    def test_opening_warns(self, aged: Gallery, place: Path | str, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, logger="lightface"):
            open_gallery(place).close()
            assert caplog.messages == []
            aged.retention.set_days(30)
            open_gallery(place).close()
        (message,) = caplog.messages
        assert "holds 2 people and 3 samples past their 30 days; see 'lightface gallery expire'" in message
        assert "Old" not in message

    def test_limits(self, gallery: Gallery) -> None:
        for days in (0, -1, 10**9):
            with pytest.raises(GalleryError, match="retention in days is"):
                gallery.retention.set_days(days)
        gallery.retention.set_days(7)
        gallery.retention.set_days(None)
        assert gallery.retention.days is None


@pytest.mark.parametrize("setting", ["log_days", "retention_days"])
def test_a_damaged_limit_is_one_line(gallery: Gallery, place: Path | str, setting: str) -> None:
    for value in ("", "x", "-1", "1e3", "9" * 30, "100001"):
        with gallery._store.writing():
            gallery._store.set_setting(setting, value)
        with pytest.raises(GalleryError, match=rf"is damaged \(its setting {setting}"), open_gallery(place) as opened:
            opened.enroll("Ada", [make_sample(1)])
            opened.search(make_vector(1)[np.newaxis], bands=DecisionBands(0.4))


class TestMetadata:
    def test_is_added_changed_and_taken_away(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)], metadata={"team": "x", "consent": "form 1"})
        changed = gallery.set_metadata("ada", {"consent": "form 2", "team": "", "since": "May"})
        assert changed.metadata == find(gallery, 1).metadata == {"consent": "form 2", "since": "May"}
        with pytest.raises(GalleryError, match="must be texts"):
            bad: Callable[..., object] = gallery.set_metadata
            bad("Ada", {"consent": 1})


# A copy of a gallery is the same to the last bit, in either direction, whole or not at all.


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    gallery.enroll("Ada", [make_sample(1), make_sample(2, box_px=None, quality=None)], metadata={"b": "1", "a": "\0"})
    gallery.enroll("Gone", [make_sample(3)])
    gallery.enroll("Ren\u00e9e \u5f20", [make_sample(4, source_path="/caf\udce9/4.jpg")])
    gallery.remove_person("Gone")
    gallery.set_threshold(StoredThreshold(1e-3, 0.1 + 0.2, "caf\udce9.csv"))
    return gallery


@pytest.fixture(params=["sqlite", "postgres"])
def target_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "copy.sqlite"
    server: str = request.getfixturevalue("postgres_server")
    psycopg = pytest.importorskip("psycopg")
    name = f"copy_{tmp_path.name.lower()}"[:60]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template_vector STRATEGY file_copy')
    return server.replace("/postgres?", f"/{name}?")


def export_of(gallery: Gallery, path: Path) -> bytes:
    gallery.export_to(path)
    return path.read_bytes()


def test_a_copy_is_the_same(filled: Gallery, target_place: Path | str, tmp_path: Path) -> None:
    with open_gallery(target_place, create=True) as target:
        first = filled.copy_to(target, in_clear=True)
        assert (first.person_count, first.sample_count, first.was_there) == (2, 3, False)
        original = export_of(filled, tmp_path / "original.jsonl")
        assert export_of(target, tmp_path / "copy.jsonl") == original
        assert first.sha256 == hashlib.sha256(original).hexdigest()
        assert target.model_id == "model-a" and len(target.matrix().vectors) == 3
        again = filled.copy_to(target, in_clear=True)
        assert (again.was_there, again.sha256) == (True, first.sha256)
        # Ids go on where they were, and rules hold.
        assert target.enroll("Bob", [make_sample(5)]).id > 3
        with pytest.raises(GalleryError, match="holds something else than"):
            filled.copy_to(target, in_clear=True)


def test_a_target_with_as_many_others_is_refused(filled: Gallery, target_place: Path | str) -> None:
    with open_gallery(target_place, create=True) as target:
        target.enroll("Zoe", [make_sample(11), make_sample(12)])
        target.enroll("Yves", [make_sample(13)])
        with pytest.raises(GalleryError, match="is not the same as"):
            filled.copy_to(target, in_clear=True)
        assert [person.name for person in target.people()] == ["Yves", "Zoe"]


def test_an_empty_gallery_is_copied_too(gallery: Gallery, target_place: Path | str) -> None:
    with open_gallery(target_place, create=True) as target:
        assert gallery.copy_to(target, in_clear=True).sample_count == 0


def test_a_copy_that_is_not_the_same_is_undone(
    filled: Gallery, target_place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = GalleryStore._from_sample

    def damage(store: GalleryStore, person_id: int, sample: NewSample) -> tuple[object, ...]:
        *values, _quality, created_at = convert(store, person_id, sample)
        return (*values, 0.123, created_at)

    with open_gallery(target_place, create=True) as target:
        monkeypatch.setattr(GalleryStore, "_from_sample", damage)
        with pytest.raises(GalleryError, match="nothing was copied, try again"):
            filled.copy_to(target, in_clear=True)
        assert target.people() == [] and target.model_id is None
        monkeypatch.undo()
        assert not filled.copy_to(target, in_clear=True).was_there
