"""Galleries that were made to do harm: whatever is asked of one, the answer is right or one line, and comes soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from harmful_galleries import HARM, make_gallery, use
from soaking import Soak

SOON_S = 30.0  # for a dozen calls; a call that does not end would be killed by nobody here


@pytest.mark.parametrize("kind", HARM)
def test_harm_is_refused_soon(kind: str, tmp_path: Path, soak: Soak) -> None:
    dice = soak.dice(kind)
    make_gallery(tmp_path / "sound.sqlite")
    sound = (tmp_path / "sound.sqlite").read_bytes()
    slowest_s, times = 0.0, soak.times(4)
    for number in range(times):
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(sound)
        HARM[kind](path, dice)
        started_s = time.process_time()
        said = use(path)
        slowest_s = max(slowest_s, time.process_time() - started_s)
        assert said or kind.startswith("pages"), path  # a page may have been one that nobody reads
    soak.record("gallery made to do harm", kind, injected=times, wrong=0, **{"CPU seconds": slowest_s})
    assert slowest_s < SOON_S


def test_a_sound_one_is_used_without_a_complaint(tmp_path: Path) -> None:
    make_gallery(tmp_path / "sound.sqlite")
    assert use(tmp_path / "sound.sqlite") == []
