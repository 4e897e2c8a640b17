from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lightface.errors import TrainingError
from lightface.faces import ByteArray
from lightface.training.crop_cache import load_pixels
from lightface.training.crop_index import CropEntry

RED = np.zeros((144, 144, 3), np.uint8) + np.array([0, 0, 200], np.uint8)  # BGR, as OpenCV writes


def png(image_bgr: ByteArray) -> bytes:
    return cv2.imencode(".png", image_bgr)[1].tobytes()


@pytest.fixture
def entries(tmp_path: Path) -> list[CropEntry]:
    grey = np.tile(np.arange(144, dtype=np.uint8), (144, 1))
    pictures = {"grey.png": png(grey), "red.png": png(RED), "again.png": png(grey), "small.png": png(grey[:100])}
    pictures["broken.png"] = b"no picture"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as shard:
        for name, data in pictures.items():
            shard.writestr(name, data)
    return [CropEntry(tmp_path / "a.zip", name) for name in (*pictures, "missing.png")]


def test_grey_pixels_in_the_order_of_the_index(entries: list[CropEntry], tmp_path: Path) -> None:
    crops = load_pixels(entries, channels=1, cache=tmp_path / "cache")
    assert crops.pixels.shape == (6, 1, 144, 144)
    assert crops.pixels[0, 0, 5].tolist() == list(range(144))
    assert np.unique(crops.pixels[1]).tolist() == [60]  # 0.299 * 200
    assert crops.digests[0] == crops.digests[2] != crops.digests[1]


def test_unreadable_crops_are_named_and_black(entries: list[CropEntry], tmp_path: Path) -> None:
    crops = load_pixels(entries, channels=1, cache=tmp_path / "cache")
    assert set(crops.unreadable) == {3, 4, 5}
    assert "144x100; crops are 144x144" in crops.unreadable[3]
    assert "not a picture" in crops.unreadable[4]
    assert "no member 'missing.png'" in crops.unreadable[5]
    assert not crops.pixels[3:].any()


def test_colour_is_bgr(entries: list[CropEntry], tmp_path: Path) -> None:
    crops = load_pixels(entries, channels=3, cache=tmp_path / "cache")
    assert crops.pixels.shape == (6, 3, 144, 144)
    assert crops.pixels[1, :, 0, 0].tolist() == [0, 0, 200]


def test_crops_are_decoded_once(entries: list[CropEntry], tmp_path: Path) -> None:
    first = load_pixels(entries, channels=1, cache=tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    again = load_pixels(entries, channels=1, cache=tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == files
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.digests, again.digests)
    assert first.unreadable == again.unreadable


def test_a_changed_shard_is_decoded_anew(entries: list[CropEntry], tmp_path: Path) -> None:
    load_pixels(entries[:1], channels=1, cache=tmp_path / "cache")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as shard:
        shard.writestr("grey.png", png(RED))
    assert load_pixels(entries[:1], channels=1, cache=tmp_path / "cache").pixels[0, 0, 0, 0] == 60


def test_a_missing_shard(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"cannot find .*gone.zip"):
        load_pixels([CropEntry(tmp_path / "gone.zip", "1.png")], channels=1, cache=tmp_path)


def test_a_full_disk_is_seen_before(entries: list[CropEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=100, used=100, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(TrainingError, match=r"decoded crops take .* choose another folder as 'cache'"):
        load_pixels(entries, channels=1, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written(entries: list[CropEntry], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot keep decoded crops"):
        load_pixels(entries, channels=1, cache=tmp_path / "file")
