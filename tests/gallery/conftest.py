"""An empty gallery, in each of the stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lightface.gallery import Gallery, open_gallery


@pytest.fixture
def gallery_path(tmp_path: Path) -> Path:
    return tmp_path / "faces" / "gallery.sqlite"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Path | str:
    """Where a gallery may be: a file, and a database. Tests of one store only give it a `place` of their own."""
    found: Path | str = request.getfixturevalue("gallery_path" if request.param == "sqlite" else "postgres_url")
    return found


@pytest.fixture
def gallery(place: Path | str) -> Iterator[Gallery]:
    with open_gallery(place, model_id="model-a", create=True) as opened:
        yield opened
