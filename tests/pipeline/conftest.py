"""A gallery, and a pipeline in which people are colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_ins import MeanEmbedder, make_pipeline

from lightface.gallery import Gallery, open_gallery
from lightface.pipeline import FacePipeline


@pytest.fixture
def embedder() -> MeanEmbedder:
    return MeanEmbedder()


@pytest.fixture
def pipeline(embedder: MeanEmbedder) -> FacePipeline:
    return make_pipeline(embedder)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with open_gallery(tmp_path / "gallery.sqlite", create=True) as gallery:
        yield gallery
