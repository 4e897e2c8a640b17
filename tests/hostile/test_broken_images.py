"""Whatever a picture file holds, it is read or refused with one line, in bounded time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from broken_images import MAX_PIXELS, broken_images
from soaking import Soak

pytestmark = pytest.mark.slow

# Beyond what a process has that reads pictures of 48 pixels. Seven bytes a pixel in the decoder and the array, twice
# for one that is turned, and the largest file.
MEMORY = 120 << 20
CPU_SECONDS = 5.0  # a picture; of the whole corpus all but a handful take milliseconds


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as on Linux")
def test_they_are_refused_in_bounded_time_and_memory(tmp_path: Path, soak: Soak) -> None:
    cases = list(broken_images(1000 if soak.rounds is None else 400 * soak.rounds, soak.dice("images")))
    for number, case in enumerate(cases):
        (tmp_path / f"{number:06}").write_bytes(case.data)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("read_pictures.py"), tmp_path, str(MAX_PIXELS)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases), f"{cases[len(answers)].kind}: {done.stderr[-2000:]}"
    wrong = []
    before = answers[0]["peak_bytes"]
    for case, answer in zip(cases, answers, strict=True):
        error, grown = answer["error"], answer["peak_bytes"] - before
        before = max(before, answer["peak_bytes"])
        if error is not None and ("\n" in error or not error.strip()):
            wrong.append(f"{case.kind}, {answer['name']}: {error!r}")
        if case.refused is not None and case.refused != (error is not None):
            wrong.append(f"{case.kind}, {answer['name']} ({len(case.data)} bytes): {error or 'it was read'}")
        if answer["seconds"] > CPU_SECONDS:
            wrong.append(f"{case.kind}, {answer['name']}: {answer['seconds']:.1f} s")
        if grown > MEMORY:
            wrong.append(f"{case.kind}, {answer['name']}: {grown >> 20} MB")
    slowest = max(answer["seconds"] for answer in answers)
    grown = (answers[-1]["peak_bytes"] - answers[0]["peak_bytes"]) >> 20
    worst = {"CPU seconds a picture": slowest, "MB of memory beyond a good one's": float(grown)}
    soak.record("broken picture", "the reader of pictures", injected=len(cases), wrong=len(wrong), **worst)
    assert not wrong, Counter(wrong)
    assert grown << 20 <= MEMORY
