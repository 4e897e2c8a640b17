"""Every command that changes something, killed at many moments: nothing is lost, doubled or half done.

Killed by SIGKILL at a random moment of its time; before a random one of its system calls that change files, so that
moments are hit in which nothing but a file changes; and in the middle of a write, which leaves a torn file. After each,
what lies there must be sound and must be what an undisturbed run has on its way or at its end; and the command, typed
again, must come to the same end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from jobs import JOBS, Job, Rows, check_soundness, find_traces
from soaking import Soak
from spawning import Outcome, Spawner

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Ground:
    """A job with its photographs, what lies there before, and an undisturbed run."""

    job: Job
    photos: Path
    folder: Path
    undisturbed: Outcome
    before: Rows
    after: Rows

    def lay_out(self) -> Path:
        """A new `state`, as it is before."""
        state = self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(self.folder / "before", state)
        return state


@pytest.fixture(scope="module", params=[job for job in JOBS if job.name != "train"], ids=str)
def ground(
    request: pytest.FixtureRequest, spawner: Spawner, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ground:
    job: Job = request.param
    folder = tmp_path_factory.mktemp("ground")
    (folder / "before").mkdir()
    job.prepare(spawner, photos, folder / "before")
    shutil.copytree(folder / "before", folder / "after")
    undisturbed = spawner.run(*job.command(photos, folder / "after"))
    assert undisturbed.status == 0, undisturbed.stderr
    return Ground(job, photos, folder, undisturbed, job.rows(folder / "before"), job.rows(folder / "after"))


def test_at_a_random_moment(ground: Ground, spawner: Spawner, soak: Soak) -> None:
    def draw(dice: Random) -> dict[str, float]:
        return {"kill_after_s": dice.uniform(0, ground.undisturbed.seconds)}

    kill_often("killed at a random moment", draw, soak.times(2), ground, spawner, soak)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace, which can kill at a system call, is not installed")
def test_at_a_system_call(ground: Ground, spawner: Spawner, soak: Soak) -> None:
    calls = spawner.run(*ground.job.command(ground.photos, ground.lay_out()), count_calls=True).calls
    assert calls > 10

    def draw(dice: Random) -> dict[str, float]:
        return {"kill_at_call": dice.randint(1, calls)}

    kill_often("killed before a system call", draw, soak.times(3, share=0.5), ground, spawner, soak)


def test_in_the_middle_of_a_write(ground: Ground, spawner: Spawner, soak: Soak) -> None:
    largest = max(path.stat().st_size for path in (ground.folder / "after").rglob("*") if path.is_file())

    def draw(dice: Random) -> dict[str, float]:
        return {"kill_at_byte": dice.randint(1, largest)}

    kill_often("killed in the middle of a write", draw, soak.times(2, share=0.3), ground, spawner, soak)


def kill_often(
    fault: str,
    draw: Callable[[Random], dict[str, float]],
    kills: int,
    ground: Ground,
    spawner: Spawner,
    soak: Soak,
) -> None:
    dice = soak.dice(f"{fault} {ground.job}")
    complaints = []
    killed = 0
    while killed < kills:  # some runs come to their end before it is their turn
        drawn = draw(dice)
        outcome, complaint = kill_once(ground, spawner, drawn)
        killed += outcome.was_killed
        if complaint is not None:
            complaints.append(f"{drawn}: {complaint}")
    soak.record(fault, ground.job.name, injected=killed, wrong=len(complaints))
    assert not complaints


def kill_once(ground: Ground, spawner: Spawner, fault: dict[str, float]) -> tuple[Outcome, str | None]:
    """What became of the run, and what is wrong after it."""
    job, state = ground.job, ground.lay_out()
    outcome = spawner.run(*job.command(ground.photos, state), **fault)
    try:
        check_soundness(state)
        complaint = job.halfway(job.rows(state), ground.before, ground.after)
        if complaint is not None:
            return outcome, complaint
        again = spawner.run(*(job.again or job.command)(ground.photos, state))
        if again.status != 0 and job.done_before not in again.stderr:
            return outcome, f"run again, it says {again.stderr}"
        check_soundness(state)
        if job.rows(state) != ground.after:
            return outcome, "run again, it comes to another end"
        return outcome, compare_files(state, ground.folder / "after") or find_traces(state, ground.folder / "before")
    except AssertionError as error:
        return outcome, str(error)


def compare_files(state: Path, after: Path) -> str | None:
    """What is left over, or missing."""
    there, expected = (
        {str(path.relative_to(folder)) for path in folder.rglob("*") if not is_log(path)} for folder in (state, after)
    )
    return None if there == expected else f"files are there, or missing: {sorted(there ^ expected)}"


def is_log(path: Path) -> bool:
    """TensorBoard's, of which each part of a run has its own; SQLite's, which the next opening takes in."""
    return path.name.startswith("events.out") or path.name.endswith(("-wal", "-shm"))
