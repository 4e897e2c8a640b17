"""A copy of a gallery is the same to the last bit, in either direction, whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from made_up import make_sample

from lightface.errors import GalleryError
from lightface.gallery import FaceSample, Gallery, StoredThreshold, open_gallery
from lightface.gallery.sql_store import SqlStore


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
    convert = SqlStore._from_sample

    def damage(store: SqlStore, person_id: int, sample: FaceSample) -> tuple[object, ...]:
        *values, _quality, created_at = convert(store, person_id, sample)
        return (*values, 0.123, created_at)

    with open_gallery(target_place, create=True) as target:
        monkeypatch.setattr(SqlStore, "_from_sample", damage)
        with pytest.raises(GalleryError, match="nothing was copied, try again"):
            filled.copy_to(target, in_clear=True)
        assert target.people() == [] and target.model_id is None
        monkeypatch.undo()
        assert not filled.copy_to(target, in_clear=True).was_there
