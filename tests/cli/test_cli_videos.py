"""Videos by the command line: a clip of two people, one of whom leaves and comes back."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, assert_one_line
from PIL import Image

from lightface.records import ByteArray

av = pytest.importorskip("av", reason="videos need PyAV, the extra 'video'")


@pytest.fixture(scope="module")
def clip(grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds, five frames each; Eileen Collins is away from the third to the sixth."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    hopper = Image.fromarray(grace_hopper_rgb).resize((260, 300))
    collins = Image.fromarray(astronaut_rgb[:300, 120:340])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 800, 320, "yuv420p", 8_000_000
        for number in range(40):
            picture = Image.new("RGB", (800, 320), (90, 110, 90))
            picture.paste(hopper, (3 * number, 10))
            if not 10 <= number < 30:
                picture.paste(collins, (550 - 3 * number, 10))
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_embed_writes_a_row_for_each_appearance(cli: Cli, clip: Path, tmp_path: Path) -> None:
    result = cli("embed", clip, "-o", tmp_path / "faces.csv", "--every", "1")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader((tmp_path / "faces.csv").open()))
    assert sorted((float(row["time_start"]), float(row["time_end"])) for row in rows) == [(0, 1), (0, 7), (6, 7)]


def test_identify_names_who_comes_back_both_times(cli: Cli, clip: Path, portrait_gallery: Path, tmp_path: Path) -> None:
    table = tmp_path / "named.jsonl"
    result = cli("identify", clip, "--gallery", portrait_gallery, "-o", table, "--every", "1", "--draw", tmp_path / "d")
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    named = sorted((row["time_start"], row["person_name"].split()[-1]) for row in rows)
    assert named == [(0, "Collins"), (0, "Hopper"), (6, "Collins")]
    assert "is a video, and is not drawn" in result.stderr


def test_a_file_that_is_no_video_is_told_in_one_line(cli: Cli, portrait_gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    result = cli("identify", tmp_path / "a.mp4", "--gallery", portrait_gallery)
    assert result.exit_code == 2
    assert_one_line(result, "a.mp4", "no video that can be read")
