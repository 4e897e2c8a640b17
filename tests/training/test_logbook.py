from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lightface.errors import OutputError
from lightface.training.logbook import HISTORY, Logbook, read_history


def test_rows_are_kept_and_tensorboard_too(tmp_path: Path) -> None:
    book = Logbook(tmp_path, step=0)
    book.write("train", 5, {"loss": 1.5})
    book.write("validation at 128 px", 5, {"equal_error_rate": 0.2})
    book.close()
    assert list(read_history(tmp_path)) == [
        {"kind": "train", "step": 5, "loss": 1.5},
        {"kind": "validation at 128 px", "step": 5, "equal_error_rate": 0.2},
    ]
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    book = Logbook(tmp_path, step=0)
    for step in (5, 10, 15):
        book.write("train", step, {"loss": step})
    book.close()
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"kind": "train", "st')  # cut off by a crash
    book = Logbook(tmp_path, step=10)
    book.write("train", 15, {"loss": 0.5})
    book.close()
    assert [(row["step"], row["loss"]) for row in read_history(tmp_path)] == [(5, 5), (10, 10), (15, 0.5)]


def test_a_run_that_is_killed_as_it_resumes_keeps_its_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Logbook(tmp_path, step=0)
    book.write("train", 5, {"loss": 1.5})
    book.close()

    def die(source: str, target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        Logbook(tmp_path, step=5)
    assert [row["step"] for row in read_history(tmp_path)] == [5]


def test_tensorboard_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    book = Logbook(tmp_path, step=0)
    book.write("train", 1, {"loss": 2.0})
    book.close()
    assert "tensorboard is not installed" in caplog.text
    assert [row["loss"] for row in read_history(tmp_path)] == [2.0]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert list(read_history(tmp_path)) == []
    with pytest.raises(OutputError, match="choose another --output"):
        Logbook(tmp_path / "gone", step=0)
