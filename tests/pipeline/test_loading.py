"""Photographs are decoded ahead, and never more than fit."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path

import pytest
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.errors import ImageError
from lightface.images import Photo, load_photo
from lightface.pipeline import loading
from lightface.pipeline.loading import load_in_batches

SIDE = 80  # of a painted picture


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [paint(tmp_path / f"{n:02}.png", (10 * n, 9, 9), width=SIDE) for n in range(20)]


def sizes_of(paths: list[Path], *, batch_size: int = 8) -> list[int]:
    batches = list(load_in_batches(paths, max_pixels=10**9, batch_size=batch_size, workers=2))
    assert [path for batch in batches for path, _ in batch] == paths
    return [len(batch) for batch in batches]


def test_a_batch_is_bounded_by_its_photographs(paths: list[Path]) -> None:
    assert sizes_of(paths) == [8, 8, 4]
    assert sizes_of([]) == []


@pytest.mark.parametrize(("pixels", "size"), [(3 * SIDE**2, 3), (3 * SIDE**2 - 1, 2), (1, 1)])
def test_a_batch_is_bounded_by_its_pixels_and_never_empty(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, pixels: int, size: int
) -> None:
    monkeypatch.setattr(loading, "_PIXELS_AT_ONCE", pixels)
    assert set(sizes_of(paths[:18], batch_size=18)[:-1]) == {size}


def test_batches_are_the_same_for_runs_that_are_taken_apart(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_PIXELS_AT_ONCE", 3 * SIDE**2)
    together = sizes_of(paths)
    apart = [size for start in range(0, len(paths), 8) for size in sizes_of(paths[start : start + 8])]
    assert together == apart == [3, 3, 2, 3, 3, 2, 3, 1]


def test_what_cannot_be_read_has_its_place(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    named = [paths[0], tmp_path / "missing.jpg", tmp_path / "text.jpg", tmp_path, paths[1]]
    ((_, first), *failed, (_, last)) = next(load_in_batches(named, max_pixels=10**9, batch_size=8, workers=2))
    assert isinstance(first, Photo) and isinstance(last, Photo)
    assert all(isinstance(error, ImageError) for _, error in failed) and len(failed) == 3


def test_no_more_than_two_batches_are_in_memory(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lock, alive, most = threading.Lock(), 0, 0

    def forget() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    def load(path: Path, *, max_pixels: int, enough_px: int | None, allow_truncated: bool) -> Photo:
        nonlocal alive, most
        photo = load_photo(path, max_pixels=max_pixels, enough_px=enough_px)
        weakref.finalize(photo.image_rgb, forget)
        with lock:
            alive += 1
            most = max(most, alive)
        return photo

    monkeypatch.setattr(loading, "load_photo", load)
    monkeypatch.setattr(loading, "_PIXELS_AT_ONCE", 3 * SIDE**2)
    results = list(make_pipeline(MeanEmbedder()).embed_paths(paths))
    assert [result.path for result in results] == paths
    assert most <= 6
    assert alive == 0


def test_freed_memory_is_given_back_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [paint(tmp_path / f"{number}.png", (number, 9, 9)) for number in range(40)]
    given_back: list[int] = []
    loaded = 0
    monkeypatch.setattr(loading, "return_unused_memory", lambda: given_back.append(loaded))
    for batch in load_in_batches(photos, max_pixels=10**6, batch_size=1, workers=1):
        loaded += len(batch)
    assert given_back == [0, 15, 31]  # while a batch is ahead
