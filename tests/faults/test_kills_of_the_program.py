"""The program itself, with the real networks, killed again and again: what one run has finished, the next goes on from.

In the end there is what one undisturbed run makes of the same photographs, to the last row; embeddings agree as closely
as `lightface doctor` demands, since what is left over fills other batches.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from jobs import check_soundness
from soaking import Soak

from lightface.gallery import open_gallery
from lightface.records import FloatArray
from lightface.tables import read_faces

pytestmark = pytest.mark.slow

PHOTOS = 8
LEAST_COSINE = 0.99999  # doctor's, of one face in different batches

Faces = dict[str, FloatArray]  # by photograph


@dataclass(frozen=True)
class Program:
    """A command, and the faces that it leaves in a folder."""

    name: str
    arguments: Callable[[Path, Path], list[object]]  # of photos, state
    faces: Callable[[Path], Faces]
    few: int  # kills in CI

    def __str__(self) -> str:
        return self.name


def enrolled_faces(state: Path) -> Faces:
    with open_gallery(state / "people.sqlite", create=True) as gallery:
        samples = gallery.samples()
    faces = {sample.source_path: sample.vector for sample in samples}
    assert len(faces) == len(samples), "a photograph is enrolled twice"
    return faces


def embedded_faces(state: Path) -> Faces:
    if not (state / "faces.parquet").exists():
        return {}
    rows = read_faces(state / "faces.parquet")
    faces = {str(row.image_path): row.embedding for row in rows if row.embedding is not None}
    assert len(faces) == len(rows) == PHOTOS, "the table is not whole"
    return faces


PROGRAMS = [
    Program("embed", lambda photos, state: ["embed", photos, "-o", state / "faces.parquet"], embedded_faces, few=1),
    Program(
        "enroll",
        lambda photos, state: ["enroll", "Grace", photos, "--gallery", state / "people.sqlite"],
        enrolled_faces,
        few=0,
    ),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_killed_again_and_again(program: Program, tmp_path: Path, grace_hopper_path: Path, soak: Soak) -> None:
    kills = soak.times(program.few, share=0.3)
    if not kills:
        pytest.skip("takes long; scripts/soak runs it")
    photos, undisturbed, state = (tmp_path / name for name in ("photos", "undisturbed", "state"))
    for folder in (photos, undisturbed, state):
        folder.mkdir()
    for number in range(PHOTOS):  # one picture, told apart by a byte at the end
        (photos / f"{number}.jpg").write_bytes(grace_hopper_path.read_bytes() + bytes([number]))
    started_s = time.monotonic()
    run(program, photos, undisturbed)
    length_s = time.monotonic() - started_s
    expected = program.faces(undisturbed)
    assert len(expected) == PHOTOS

    dice = soak.dice(f"program {program}")
    killed = finished = 0
    while killed < kills:
        try:
            run(program, photos, state, timeout_s=dice.uniform(0.2, 1.1) * length_s)
        except subprocess.TimeoutExpired:
            killed += 1
            check_soundness(state)
            assert program.faces(state).keys() <= expected.keys()
        else:
            finished += 1
            compare(program.faces(state), expected)
            shutil.rmtree(state)
            state.mkdir()
    run(program, photos, state)
    compare(program.faces(state), expected)
    soak.record("program killed again and again", program.name, injected=killed)


def run(program: Program, photos: Path, state: Path, *, timeout_s: float | None = None) -> None:
    """To the end; or TimeoutExpired, once it is killed."""
    command = [sys.executable, "-m", "lightface.cli.main", *map(str, program.arguments(photos, state))]
    subprocess.run(
        command, check=True, capture_output=True, timeout=timeout_s, env={**os.environ, "LIGHTFACE_DEVICE": "cpu"}
    )


def compare(faces: Faces, expected: Faces) -> None:
    assert faces.keys() == expected.keys()
    assert min(float(np.dot(faces[photo], expected[photo])) for photo in expected) >= LEAST_COSINE
