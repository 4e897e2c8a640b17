from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from lightface.training.config import DataSettings
from lightface.training.data import load_crops
from lightface.training.synthetic import write_synthetic_set


def test_the_set_is_one_that_training_reads(tmp_path: Path) -> None:
    write_synthetic_set(tmp_path, people=3, dev_people=1, crops_per_person=2)
    with (tmp_path / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["dev"] * 2 + ["train"] * 4
    assert len({row["identity"] for row in rows}) == 3
    settings = DataSettings(folder=tmp_path, teachers=(Path("teacher.npy"),), cache=tmp_path / "cache")
    crops = load_crops(settings, channels=1)
    assert not crops.decoded.unreadable
    assert len(set(crops.decoded.digests.tolist())) == 6


def test_the_eyes_and_the_mouth_are_where_a_training_crop_has_them(tmp_path: Path) -> None:
    write_synthetic_set(tmp_path, people=4, dev_people=1, crops_per_person=4)
    crops = load_crops(DataSettings(folder=tmp_path, cache=tmp_path / "cache"), channels=1)
    mean = crops.decoded.pixels[:, 0].astype(float).mean(axis=0)
    whites = mean[30:66, 40:104].sum(axis=1)
    assert abs(int(np.argmax(whites)) + 30 - 48) <= 4
    mouth = mean[84:110, 66:78].mean(axis=1)
    assert abs(int(np.argmin(mouth)) + 84 - 96) <= 4


def test_the_same_seed_draws_the_same_faces(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_synthetic_set(tmp_path / name, people=2, dev_people=1, crops_per_person=2, seed=5)
    first, second = (np.load(tmp_path / name / "teacher.npy") for name in ("a", "b"))
    assert np.array_equal(first, second)
