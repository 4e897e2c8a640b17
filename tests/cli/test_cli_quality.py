"""Gates on quality: what is refused, why, and what a user can do about it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import Cli, assert_one_line
from PIL import Image

from lightface.alignment import align_face
from lightface.detection import MtcnnDetector
from lightface.gallery import open_gallery
from lightface.records import ByteArray


@pytest.fixture(scope="module")
def spoiled(grace_hopper_rgb: ByteArray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Grace Hopper's portrait made worse: reduced, reduced and blurred, darkened."""
    folder = tmp_path_factory.mktemp("spoiled")
    pictures = {
        "too small": reduce(grace_hopper_rgb, 96),
        "blurred": cv2.GaussianBlur(reduce(grace_hopper_rgb, 96), (0, 0), 1.5),
        "too dark": grace_hopper_rgb * 0.2,
    }
    for name, image_rgb in pictures.items():
        Image.fromarray(image_rgb.astype(np.uint8)).save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in pictures}


def reduce(image_rgb: ByteArray, width: int) -> ByteArray:
    """The photograph so wide, in the midst of a larger black one."""
    height = round(width * image_rgb.shape[0] / image_rgb.shape[1])
    canvas = np.zeros((300, 300, 3), np.uint8)
    canvas[100 : 100 + height, 100 : 100 + width] = cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_AREA)
    return canvas


@pytest.mark.parametrize(
    ("flaw", "gate", "minimum", "remedy"),
    [
        ("blurred", (), "0.10", "use a sharper photograph"),
        ("too small", ("--min-quality", "0.5"), "0.50", "use a larger photograph"),
        ("too dark", ("--min-quality", "0.5"), "0.50", "use a photograph with more light on the face"),
    ],
)
def test_enroll_refuses_a_bad_face_and_says_what_to_do(
    cli: Cli,
    spoiled: dict[str, Path],
    grace_hopper_path: Path,
    tmp_path: Path,
    flaw: str,
    gate: tuple[str, ...],
    minimum: str,
    remedy: str,
) -> None:
    gallery = tmp_path / "gallery.sqlite"
    result = cli("enroll", "Grace Hopper", grace_hopper_path, spoiled[flaw], "--gallery", gallery, *gate)
    assert result.exit_code == 0
    assert f"{spoiled[flaw]}: the face is {flaw}: its quality is 0." in result.stderr
    assert f"under the minimum of {minimum}; {remedy}, or lower --min-quality" in result.stderr
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith("rejected")]
    assert row[-1] == "low_quality"
    with open_gallery(gallery) as opened:
        (sample,) = opened.samples("Grace Hopper")
    assert sample.source_path == str(grace_hopper_path) and sample.quality is not None and sample.quality > 0.9


def test_embed_refuses_it_as_well_unless_told_not_to(
    cli: Cli, spoiled: dict[str, Path], grace_hopper_path: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("embed", grace_hopper_path, spoiled["blurred"], "-o", "-").stdout)))
    assert {row["image_path"]: (row["status"], row["error"]) for row in rows} == {
        str(grace_hopper_path): ("embedded", ""),
        str(spoiled["blurred"]): ("error", "low_quality"),
    }
    told = cli("embed", spoiled["blurred"], "-o", "-", "--min-quality", "0")
    (row,) = csv.DictReader(io.StringIO(told.stdout))
    assert row["status"] == "embedded" and float(row["quality"]) < 0.1


def test_verify_does_not_guess_from_a_bad_face(cli: Cli, spoiled: dict[str, Path], grace_hopper_path: Path) -> None:
    assert_one_line(
        cli("verify", grace_hopper_path, spoiled["blurred"], "--threshold", "0.4"),
        *("blurred.png", "the face is blurred", "use a sharper photograph"),
    )


def test_detect_shows_the_quality_that_the_gate_goes_by(cli: Cli, spoiled: dict[str, Path]) -> None:
    (face,) = json.loads(cli("detect", spoiled["blurred"], "--json").stdout)
    assert face["quality"] < 0.1
    header, row = cli("detect", spoiled["blurred"]).stdout.splitlines()
    assert "quality  lowered most by" in header and f"{face['quality']:.2f}     blurred " in row


def test_aligned_crops_that_say_nothing_are_not_the_same_person(
    cli: Cli, grace_hopper_rgb: ByteArray, astronaut_rgb: ByteArray, detector: MtcnnDetector, tmp_path: Path
) -> None:
    """A black square and a grey one were `same`, and so were any two people upside down."""
    squares = [tmp_path / "black.png", tmp_path / "grey.png"]
    for path, level in zip(squares, (0, 120), strict=True):
        Image.new("RGB", (128, 128), (level,) * 3).save(path)
    assert_one_line(cli("verify", *squares, "--already-aligned"), "black.png", "the face is ")
    turned = []
    for number, image_rgb in enumerate((grace_hopper_rgb, astronaut_rgb)):
        crop = align_face(image_rgb, detector.detect(image_rgb)[0])
        turned.append(tmp_path / f"{number}.png")
        Image.fromarray(crop.pixels[::-1, ::-1]).save(turned[-1])
    assert_one_line(
        cli("verify", *turned, "--already-aligned"), "0.png", "the face is unrecognisable", "or lower --min-quality"
    )
    told = cli("verify", *turned, "--already-aligned", "--min-quality", "0")
    assert told.exit_code in (0, 1)
