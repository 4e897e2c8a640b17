"""A disk that is full, at any byte: one line says so, nothing is lost, and with room the command comes to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from jobs import JOBS, Job, check_soundness, find_traces
from soaking import Soak
from spawning import Outcome, Spawner

pytestmark = pytest.mark.slow

DISK_KB, DISK_OF_TRAINING_KB = 512, 256 * 1024  # checkpoints are of 60 MB


@pytest.fixture
def disk(job: Job, tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder, size_kb = tmp_path / "disk", DISK_OF_TRAINING_KB if job.name == "train" else DISK_KB
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here ({mounted.stderr.decode().strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_full_disk(job: Job, disk: Path, spawner: Spawner, photos: Path, tmp_path: Path, soak: Soak) -> None:
    def run(state: Path, room: int) -> Outcome:
        fill(disk, room)
        outcome = spawner.run(*job.command(photos, state))
        (disk / "filler").unlink()
        return outcome

    inject("disk full", job, run, sum, disk, spawner, photos, tmp_path, soak)


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_file_that_cannot_grow(job: Job, spawner: Spawner, photos: Path, tmp_path: Path, soak: Soak) -> None:
    """As a disk that is full, for any user and of any size: no file may have more bytes than so many."""

    def run(state: Path, room: int) -> Outcome:
        return spawner.run(*job.command(photos, state), room=room)

    inject("file that cannot grow", job, run, max, tmp_path, spawner, photos, tmp_path, soak)


def inject(
    fault: str,
    job: Job,
    run: Callable[[Path, int], Outcome],
    most_room: Callable[[Iterable[int]], int],  # of the sizes of the files that are there in the end
    disk: Path,
    spawner: Spawner,
    photos: Path,
    tmp_path: Path,
    soak: Soak,
) -> None:
    """Run the job on `disk` with little room, and again with room."""
    times = soak.times(0, share=0.1) if job.name == "train" else soak.times(1, share=0.3)
    if not times:
        pytest.skip("takes long; scripts/soak runs it")
    before, after, state = tmp_path / "before", tmp_path / "after", disk / "state"
    before.mkdir()
    job.prepare(spawner, photos, before)
    shutil.copytree(before, after)
    assert spawner.run(*job.command(photos, after)).status == 0
    rows_before, rows_after = job.rows(before), job.rows(after)
    most = most_room(path.stat().st_size for path in after.rglob("*") if path.is_file())
    dice = soak.dice(f"{fault} {job}")
    wrong, hit = [], 0
    while hit < times:  # some have room enough
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(before, state)
        room = dice.randint(0, most)
        outcome = run(state, room)
        hit += outcome.status != 0
        try:
            check_soundness(state)
            complaint = find_fault(outcome) or job.halfway(job.rows(state), rows_before, rows_after)
            again = spawner.run(*(job.again or job.command)(photos, state))
            if job.rows(state) != rows_after:
                complaint = complaint or f"with room, it comes to another end: {again.stderr}"
            complaint = complaint or find_traces(state, before)
        except AssertionError as error:
            complaint = str(error)
        if complaint is not None:
            wrong.append(f"{room} bytes of room: {complaint}")
    soak.record(fault, job.name, injected=hit, wrong=len(wrong))
    assert not wrong


def fill(disk: Path, room: int) -> None:
    """Leave so much room."""
    free = shutil.disk_usage(disk).free
    with (disk / "filler").open("wb") as filler:
        if room < free:
            os.posix_fallocate(filler.fileno(), 0, free - room)


def find_fault(outcome: Outcome) -> str | None:
    """What is wrong with how a trouble was told."""
    last = outcome.stderr.splitlines()[-1:]
    if outcome.status == 0 or (outcome.status == 2 and last and last[0].startswith("lightface: ")):
        return None if "Traceback" not in outcome.stderr else outcome.stderr
    return f"exit code {outcome.status}: {outcome.stderr}"
