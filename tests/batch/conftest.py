"""A folder of small pictures of every kind that a job meets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stand_ins import paint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs with a face each, one with two in a folder below, one without, one broken."""
    folder = tmp_path / "photos"
    paint(folder / "a.png", (200, 10, 10))
    paint(folder / "b.png", (10, 200, 10))
    paint(folder / "below" / "pair.png", (10, 10, 200), width=160)
    paint(folder / "black.png", (0, 0, 0))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff" + np.random.default_rng(0).bytes(500))
    return folder
