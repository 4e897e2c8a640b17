from __future__ import annotations

import sys
from pathlib import Path

import cv2
import pytest

from lightface.training.curves import draw_curves
from lightface.training.logbook import Logbook


def test_a_picture_of_the_history(tmp_path: Path) -> None:
    book = Logbook(tmp_path, step=0)
    for step in range(1, 4):
        book.write("train", step, {"samples": 8 * step, "loss": 1 / step, "learning_rate": 0.1, "size_px": 64})
        book.write("validation at 128 px", step, {"samples": 8 * step, "tar_at_1e2": 0.5, "equal_error_rate": 0.1})
    book.close()
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    picture = cv2.imread(str(path))
    assert picture is not None and picture.shape[1] > 3 * 300
    assert picture.min() < 50 < 200 < picture.max()


def test_an_empty_history_is_drawn_too(tmp_path: Path) -> None:
    assert draw_curves(tmp_path) == tmp_path / "curves.png"


def test_matplotlib_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw_curves(tmp_path) is None
    assert "matplotlib is not installed" in caplog.text
