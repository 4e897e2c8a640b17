"""A disk that is read-only: one line says so, and not a byte is changed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import JOBS, Job
from soaking import Soak
from spawning import Spawner


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here ({mounted.stderr.decode().strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_nothing_is_changed(job: Job, disk: Path, spawner: Spawner, photos: Path, soak: Soak) -> None:
    job.prepare(spawner, photos, disk)
    before = contents(disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    outcome = spawner.run(*job.command(photos, disk))
    assert outcome.status == 2
    lines = outcome.stderr.splitlines()
    assert lines[-1].startswith("lightface: "), outcome.stderr
    assert job.name == "train" or len(lines) == 1, outcome.stderr
    assert contents(disk) == before
    soak.record("disk read-only", job.name, injected=1)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
