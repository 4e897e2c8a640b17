"""A clock that goes back, or far ahead: nothing in a gallery or a table depends on the order of times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from jobs import JOBS, Job, check_soundness
from PIL import Image, ImageOps
from soaking import Soak
from spawning import Spawner

pytestmark = pytest.mark.slow

DAY = 86_400
CLOCKS = {"a day back": -DAY, "back to 1990": -36 * 365 * DAY, "thirty years ahead": 30 * 365 * DAY}


@pytest.mark.parametrize("job", [job for job in JOBS if job.name != "train"], ids=str)
def test_the_same_comes_of_it(job: Job, spawner: Spawner, photos: Path, tmp_path: Path, soak: Soak) -> None:
    before = tmp_path / "before"
    before.mkdir()
    job.prepare(spawner, photos, before)
    ends = []
    for number, clock_s in enumerate([0, *CLOCKS.values()]):
        state = tmp_path / str(number)
        shutil.copytree(before, state)
        outcome = spawner.run(*job.command(photos, state), clock_s=clock_s)
        assert outcome.status == 0, outcome.stderr
        check_soundness(state)
        ends.append(job.rows(state))
    wrong = sum(end != ends[0] for end in ends[1:])
    soak.record("clock wrong by a day to 36 years", job.name, injected=len(CLOCKS), wrong=wrong)
    assert not wrong


def test_a_photograph_that_is_older_than_before_is_noticed(spawner: Spawner, photos: Path, tmp_path: Path) -> None:
    folder, table = tmp_path / "photos", tmp_path / "faces.csv"
    shutil.copytree(photos / "known", folder)
    assert spawner.run("embed", folder, "-o", table).status == 0
    one, other = folder / "person 1" / "1.png", folder / "person 2" / "1.png"
    ImageOps.crop(Image.open(other), 1).save(one)
    os.utime(one, (0, 0))  # put back from a backup, say
    again = spawner.run("embed", folder, "-o", table, clock_s=-DAY)
    assert "embedded 1 photograph" in again.stderr and "11 unchanged" in again.stderr
