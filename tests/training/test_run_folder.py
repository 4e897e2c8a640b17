from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import pytest
import torch

from lightface.errors import OutputError, TrainingError
from lightface.training.run_folder import HISTORY, Logbook, draw_curves, load_checkpoint, read_history, save_checkpoint


def test_what_is_saved_comes_back(tmp_path: Path, cpu: torch.device) -> None:
    content = {"weights": {"a": torch.arange(3)}, "at": {"step": 4, "data": {"epoch": 1}}, "best": None}
    save_checkpoint(tmp_path / "last.pt", content)
    loaded = load_checkpoint(tmp_path / "last.pt", device=cpu)
    assert torch.equal(loaded["weights"]["a"], torch.arange(3))
    assert loaded["at"] == content["at"] and loaded["best"] is None


def test_a_failed_write_leaves_the_old_one(tmp_path: Path, cpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def fill_the_disk(content: object, file: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(OutputError, match="cannot write the checkpoint"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path, device=cpu) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_what_cannot_be_loaded(tmp_path: Path, cpu: torch.device) -> None:
    with pytest.raises(TrainingError, match="name the folder of a run"):
        load_checkpoint(tmp_path / "last.pt", device=cpu)
    (tmp_path / "last.pt").write_bytes(b"half a file")
    with pytest.raises(TrainingError, match="is damaged"):
        load_checkpoint(tmp_path / "last.pt", device=cpu)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, cpu: torch.device) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "touched",)  # type: ignore[return-value]

    torch.save({"step": Evil()}, tmp_path / "last.pt")
    with pytest.raises(TrainingError, match="is damaged"):
        load_checkpoint(tmp_path / "last.pt", device=cpu)
    assert not (tmp_path / "touched").exists()


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
    with pytest.raises(OutputError, match="choose another `output`"):
        Logbook(tmp_path / "gone", step=0)


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
