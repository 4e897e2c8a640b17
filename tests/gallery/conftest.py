"""An empty gallery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lightface.gallery import Gallery, open_gallery


@pytest.fixture
def gallery_path(tmp_path: Path) -> Path:
    return tmp_path / "faces" / "gallery.sqlite"


@pytest.fixture
def gallery(gallery_path: Path) -> Iterator[Gallery]:
    with open_gallery(gallery_path, model_id="model-a", create=True) as opened:
        yield opened
