"""A training run, killed again and again: what resumes and comes to its end is the run that nobody disturbed.

Each kill is at a random moment or in the middle of a write; the next run goes on from what is left of it. Weights and
history must come out the same to the last bit.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from jobs import TRAIN, check_soundness
from soaking import Soak
from spawning import Spawner

from lightface.training.run_folder import CONFIG

pytestmark = pytest.mark.slow


def test_killed_again_and_again(spawner: Spawner, tmp_path: Path, soak: Soak) -> None:
    before, undisturbed, state = (tmp_path / name for name in ("before", "undisturbed", "state"))
    before.mkdir()
    TRAIN.prepare(spawner, tmp_path, before)
    shutil.copytree(before, undisturbed)
    shutil.copytree(before, state)
    whole = spawner.run(*TRAIN.command(tmp_path, undisturbed))
    assert whole.status == 0, whole.stderr
    expected = TRAIN.rows(undisturbed)
    recipe = (undisturbed / "run" / CONFIG).read_text().replace(str(undisturbed), str(state))
    largest = max(path.stat().st_size for path in (undisturbed / "run").iterdir())

    dice = soak.dice("train")
    kills, killed, finished = soak.times(2), 0, 0
    while killed < kills:
        moment, byte = dice.uniform(0.1, 1.1) * whole.seconds, dice.randint(1, largest)
        faults: list[dict[str, Any]] = [{"kill_after_s": moment}, {"kill_at_byte": byte}]
        fault = dice.choice(faults)
        outcome = spawner.run(*again(state), **fault)
        check_soundness(state)
        saved = state / "run" / CONFIG
        assert not saved.exists() or saved.read_text() == recipe, f"{fault} damaged the recipe"
        if outcome.was_killed:
            killed += 1
            continue
        assert outcome.status == 0, f"after {fault}: {outcome.stderr}"
        finished += 1
        assert TRAIN.rows(state) == expected, f"{killed} kills changed what comes of it"
        shutil.rmtree(state)
        shutil.copytree(before, state)
    last = spawner.run(*again(state))
    assert last.status == 0, last.stderr
    assert TRAIN.rows(state) == expected
    left = [path.name for path in state.rglob(".lightface-*")]
    assert not left
    soak.record("killed again and again", f"train (came to its end {finished + 1} times)", injected=killed)


def again(state: Path) -> list[object]:
    """What a user types: to go on, where there is something to go on from."""
    assert TRAIN.again is not None
    return list(TRAIN.again(state, state))
