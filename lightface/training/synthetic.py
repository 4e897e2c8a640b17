"""Drawn faces, to try a training set-up without photographs of anybody."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lightface.frame import CROP_PX, TRAINING_FRAME
from lightface.records import ByteArray

_FEATURES = 10
_EYE_ROW, _MOUTH_ROW, _MIDDLE = int(TRAINING_FRAME.eye_row_px), int(TRAINING_FRAME.mouth_row_px), CROP_PX // 2
_SUPERSAMPLING = 4


def write_synthetic_set(
    folder: Path, *, people: int = 24, dev_people: int = 6, crops_per_person: int = 12, seed: int = 0
) -> None:
    """Write a data folder as training reads it: crops.zip, index.csv with a split, teacher.npy.

    A person is a set of features (spacing of the eyes, width of the mouth, ...), a crop that face under other light,
    a little out of place, with noise. The teacher's embedding is the features, disturbed.
    """
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    teacher: list[npt.NDArray[np.float64]] = []
    with (
        zipfile.ZipFile(folder / "crops.zip", "w") as shard,
        (folder / "index.csv").open("w", newline="", encoding="utf-8") as index,
    ):
        rows = csv.writer(index)
        rows.writerow(["row", "shard", "name", "split", "identity"])
        for person in range(people):
            features = generator.uniform(-1, 1, _FEATURES)
            split = "dev" if person < dev_people else "train"
            for crop in range(crops_per_person):
                name = f"{person:03}/{crop:03}.png"
                _, png = cv2.imencode(".png", _draw_face(features, generator))
                shard.writestr(name, png.tobytes())
                rows.writerow([len(teacher), "crops.zip", name, split, f"person {person}"])
                teacher.append(features + generator.normal(0, 0.1, _FEATURES))
    np.save(folder / "teacher.npy", np.array(teacher, np.float32))


def _draw_face(features: npt.NDArray[np.float64], generator: np.random.Generator) -> ByteArray:
    """(144, 144) uint8 grey, with the eyes and the mouth where a training crop has them."""
    scale = _SUPERSAMPLING
    canvas = np.full((CROP_PX * scale, CROP_PX * scale), int(generator.uniform(0, 255)), np.uint8)
    sway_x, sway_y = generator.normal(0, 1.5, 2)

    def ellipse(x: float, y: float, width: float, height: float, grey: float) -> None:
        center = (round((_MIDDLE + x + sway_x) * scale), round((y + sway_y) * scale))
        axes = (max(1, round(width * scale)), max(1, round(height * scale)))
        cv2.ellipse(canvas, center, axes, 0, 0, 360, float(np.clip(grey, 0, 255)), -1, cv2.LINE_AA)

    spacing, eye, brow, nose, mouth, lips, head, skin, hair, iris = features
    ellipse(0, 60, 48 + 8 * head, 66, 120 + 60 * hair)  # hair
    ellipse(0, 74, 42 + 8 * head, 58, 150 + 40 * skin)
    for side in (-1, 1):
        x = side * (20 + 4 * spacing)
        ellipse(x, _EYE_ROW, 8 + 2 * eye, 4 + 1.5 * eye, 235)
        ellipse(x, _EYE_ROW, 3 + eye, 3 + eye, 50 + 40 * iris)
        ellipse(x, _EYE_ROW - 12, 10, 2 + brow, 60)
    ellipse(0, 72, 4 + 2 * nose, 10 + 4 * nose, 110 + 30 * skin)
    ellipse(0, _MOUTH_ROW, 16 + 6 * mouth, 4 + 2 * lips, 90)
    small = cv2.resize(canvas, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    lit = small * generator.uniform(0.7, 1.2) + generator.uniform(-20, 20) + generator.normal(0, 4, small.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)
