"""An empty gallery, in each of the stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightface.gallery import Gallery, KeyFile, make_key_file, open_gallery, places


@pytest.fixture
def gallery_path(tmp_path: Path) -> Path:
    return tmp_path / "faces" / "gallery.sqlite"


@pytest.fixture
def key_file(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return make_key_file(tmp_path_factory.mktemp("keys") / "faces.key")


@pytest.fixture
def encrypted_path(gallery_path: Path, key_file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty encrypted gallery, which every `open_gallery` of the test has the key of."""
    open_store = places._open_store

    def open_with_key(place: Path | str, *, create: bool, key: Any) -> Any:
        return open_store(place, create=create, key=key or key_file)

    with open_gallery(gallery_path, create=True) as opened:
        opened.encrypt(key_file)
    monkeypatch.setattr(places, "_open_store", open_with_key)
    return gallery_path


@pytest.fixture(params=["sqlite", "encrypted", "postgres"])
def place(request: pytest.FixtureRequest) -> Path | str:
    """Where a gallery may be: a file, and a database. Tests of one store only give it a `place` of their own."""
    fixture = {"sqlite": "gallery_path", "encrypted": "encrypted_path", "postgres": "postgres_url"}[request.param]
    found: Path | str = request.getfixturevalue(fixture)
    return found


@pytest.fixture
def gallery(place: Path | str) -> Iterator[Gallery]:
    with open_gallery(place, model_id="model-a", create=True) as opened:
        yield opened
