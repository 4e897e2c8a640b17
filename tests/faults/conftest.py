"""What the tests of faults share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import paint_photos
from spawning import Spawner, start_spawner


@pytest.fixture(scope="session")
def spawner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawner]:
    if sys.platform != "linux":
        pytest.skip("runs are forked, counted and limited as on Linux")
    with start_spawner(tmp_path_factory.mktemp("home")) as spawner:
        yield spawner


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    paint_photos(folder)
    return folder
