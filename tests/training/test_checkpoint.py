from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightface.errors import OutputError, TrainingError
from lightface.training.checkpoint import load_checkpoint, save_checkpoint


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
