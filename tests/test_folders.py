"""On Windows some folders lay deeper than others; platformdirs makes the same folders here for any system."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from lightface import folders
from lightface.frame import CROP_PX, EMBEDDING_SIZE, FRAME_PX, TRAINING_FRAME
from lightface.records import Frame


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have platformdirs answer as it does on Windows, where an author's folder lies around that of the program."""

    def answer(name: str, appauthor: str | bool | None = None, *, deeper: str = "") -> Path:
        root = tmp_path / name if appauthor is False else tmp_path / name / name
        return root / deeper if deeper else root

    monkeypatch.setattr("platformdirs.user_data_path", answer)
    monkeypatch.setattr(
        "platformdirs.user_cache_path", lambda name, appauthor=None: answer(name, appauthor, deeper="Cache")
    )
    monkeypatch.setattr("platformdirs.user_config_path", answer)
    return tmp_path


def test_one_folder_a_kind(windows: Path) -> None:
    assert folders.data_folder() == folders.config_folder() == windows / "lightface"
    assert folders.cache_folder() == windows / "lightface" / "Cache"
    assert not (windows / "lightface").exists()  # asking makes nothing


def test_what_an_earlier_lightface_kept_deeper_is_moved_once(windows: Path) -> None:
    old = windows / "lightface" / "lightface"
    for place in ("models/registry.toml", "Cache/training/crops-1.npy", "Cache/kernels/a.so"):
        (old / place).parent.mkdir(parents=True, exist_ok=True)
        (old / place).write_text(place)
    assert (folders.data_folder() / "models" / "registry.toml").read_text() == "models/registry.toml"
    assert (folders.cache_folder() / "training" / "crops-1.npy").exists()
    assert (folders.cache_folder() / "kernels" / "a.so").exists()
    assert not (old / "models").exists() and not (old / "Cache" / "training").exists()


def test_face_tables_that_cluster_kept_are_found_by_all_commands(windows: Path) -> None:
    kept = folders.cache_folder() / "cluster" / "0123.parquet"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert (folders.cache_folder() / "faces" / "0123.parquet").exists() and not kept.exists()


def test_nothing_is_moved_over_what_is_there(windows: Path) -> None:
    old, new = (windows / "lightface" / place / "models" for place in ("lightface", "."))
    for folder, text in ((old, "old"), (new, "new")):
        folder.mkdir(parents=True)
        (folder / "registry.toml").write_text(text)
    folders.data_folder()
    assert (old / "registry.toml").read_text() == "old" and (new / "registry.toml").read_text() == "new"


def test_what_cannot_be_moved_stays_and_is_told(
    windows: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = windows / "lightface" / "lightface" / "models"
    old.mkdir(parents=True)

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with caplog.at_level(logging.WARNING):
        folders.data_folder()
    assert old.is_dir() and "cannot be moved" in caplog.text and "move it there yourself" in caplog.text


def test_the_frame_is_said_once() -> None:
    assert (FRAME_PX, CROP_PX, EMBEDDING_SIZE) == (128, 144, 256)
    assert Frame(size_px=144, eye_row_px=48, mouth_row_px=96) == TRAINING_FRAME
