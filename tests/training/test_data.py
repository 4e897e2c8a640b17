from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lightface.crops import CropEntry
from lightface.errors import TrainingError
from lightface.records import ByteArray
from lightface.training.config import DataSettings, TrainingConfig
from lightface.training.data import load_crops, load_pixels, load_teachers, move_to_people
from lightface.training.synthetic import write_synthetic_set


def test_an_index_with_its_teacher(tiny_config: TrainingConfig) -> None:
    crops = load_crops(tiny_config.data, channels=1)
    assert len(crops) == 104
    assert crops.decoded.pixels.shape == (104, 1, 144, 144)
    assert crops.teacher is not None and crops.teacher.rows.shape == (104, 10)
    assert np.linalg.norm(crops.teacher.rows, axis=1) == pytest.approx(1, abs=1e-6)


def test_a_folder_of_people(tmp_path: Path, drawn_folder: Path) -> None:
    from lightface.images import save_image

    for person in ("Alice", "Bob"):
        (tmp_path / person).mkdir()
        save_image(np.full((144, 144, 3), len(person), np.uint8), tmp_path / person / "1.png")
    crops = load_crops(DataSettings(folder=tmp_path, cache=tmp_path / ".cache"), channels=1)
    assert [entry.identity for entry in crops.entries] == ["Alice", "Bob"]
    assert crops.decoded.pixels[:, 0, 0, 0].tolist() == [5, 3]


def test_several_teachers_are_averaged_in_their_cosines(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(5, 4)), generator.normal(size=(5, 3))
    np.save(tmp_path / "a.npy", np.round(first * 40).astype(np.int8))
    np.save(tmp_path / "b.npy", second)

    def load(*names: str, weights: Sequence[float] = ()) -> np.ndarray:
        teacher = load_teachers([[tmp_path / name] for name in names], [5], weights=weights)
        assert teacher is not None and teacher.complete
        return teacher.rows

    both, single = load("a.npy", "b.npy"), [load("a.npy"), load("b.npy")]
    assert both.shape == (5, 7)
    assert both @ both.T == pytest.approx((single[0] @ single[0].T + single[1] @ single[1].T) / 2, abs=1e-6)
    assert load_teachers([], [5]) is None
    weighed = load("a.npy", "b.npy", weights=[3, 1])
    assert weighed @ weighed.T == pytest.approx(
        0.75 * single[0] @ single[0].T + 0.25 * single[1] @ single[1].T, abs=1e-6
    )


def test_teachers_that_know_some_folders_only(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    everywhere, first = generator.normal(size=(5, 4)) + 3, generator.normal(size=(3, 2)) + 1
    np.save(tmp_path / "a-1.npy", everywhere[:3])
    np.save(tmp_path / "a-2.npy", everywhere[3:])
    np.save(tmp_path / "b-1.npy", first)
    files: list[list[Path | None]] = [[tmp_path / "a-1.npy", tmp_path / "a-2.npy"], [tmp_path / "b-1.npy", None]]
    teacher = load_teachers(files, [3, 2], weights=[3, 1])
    assert teacher is not None and not teacher.complete
    assert teacher.known.tolist() == [[True, True]] * 3 + [[True, False]] * 2
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (everywhere, first)]
    expected = np.concatenate([unit[0] * 0.75**0.5, np.vstack([unit[1] * 0.25**0.5, np.zeros((2, 2))])], axis=1)
    np.testing.assert_allclose(teacher.rows, expected, rtol=1e-5)

    centred = teacher.centre(teacher.find_mean())
    means = np.concatenate([expected[:, :4].mean(axis=0), expected[:3, 4:].mean(axis=0)])
    rest = (expected - means) * (expected != 0)
    np.testing.assert_allclose(centred, rest / np.linalg.norm(rest, axis=1, keepdims=True), rtol=1e-4, atol=1e-6)

    moved = teacher.move_to_people(np.array(["", "", "", "ann", "ann"]), share=1.0).rows
    np.testing.assert_allclose(moved[:3], teacher.rows[:3])
    np.testing.assert_allclose(moved[3], moved[4])
    assert np.linalg.norm(moved[3]) == pytest.approx(0.75**0.5)  # as long as it was
    assert not moved[3:, 4:].any()

    np.save(tmp_path / "a-2.npy", everywhere[3:, :2])
    with pytest.raises(TrainingError, match=r"have rows of \[2, 4\] numbers \(a-1.npy, a-2.npy\)"):
        load_teachers(files, [3, 2])


def test_a_teacher_can_keep_its_mean(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 4)) + 3
    np.save(tmp_path / "t.npy", rows)
    files = [[tmp_path / "t.npy"]] * 2
    both = load_teachers(files, [6], centred=[True, False])
    assert both is not None
    mean = both.find_mean()
    np.testing.assert_allclose(mean[:4], both.rows[:, :4].mean(axis=0), rtol=1e-5)
    assert not mean[4:].any()
    centred = both.centre(mean)
    assert np.linalg.norm(centred, axis=1) == pytest.approx(1, abs=1e-6)
    ratio = centred[:, 4:] / both.rows[:, 4:]  # the part that keeps its mean is only scaled
    np.testing.assert_allclose(ratio, np.repeat(ratio[:, :1], 4, axis=1), rtol=1e-5)


def test_several_folders_keep_their_people_and_their_rows(
    tmp_path: Path, drawn_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_synthetic_set(tmp_path / "more", people=4, dev_people=2, crops_per_person=3, seed=1)
    settings = DataSettings(
        folder=(drawn_folder, tmp_path / "more"),
        teachers=(Path("teacher.npy"), (Path("teacher.npy"), Path("teacher.npy"))),
        cache=tmp_path / "cache",
    )
    crops = load_crops(settings, channels=1)
    apart = [
        load_crops(replace(settings, folder=folder, teachers=(Path("teacher.npy"),)), channels=1)
        for folder in settings.folders
    ]
    assert len(crops) == 104 + 12 and crops.list_folders() == [drawn_folder.name, "more"]
    assert np.array_equal(crops.decoded.digests, np.concatenate([part.decoded.digests for part in apart]))
    assert crops.teacher is not None and apart[1].teacher is not None
    assert crops.teacher.known.sum(axis=0).tolist() == [104, 116]
    np.testing.assert_allclose(crops.teacher.rows[104:, 10:], apart[1].teacher.rows * 0.5**0.5, rtol=1e-6)
    first, last = crops.entries[0], crops.entries[-1]
    assert first.person == f"{drawn_folder.name}/{first.identity}" and last.person == f"more/{last.identity}"
    assert len({entry.person for entry in crops.entries}) == 26 + 4
    assert "4 names are in several data folders" in caplog.text

    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "more").symlink_to(tmp_path / "more")
    alike = load_crops(
        DataSettings(folder=(tmp_path / "more", tmp_path / "again" / "more"), cache=tmp_path), channels=1
    )
    assert alike.list_folders() == [str(tmp_path / "more"), str(tmp_path / "again" / "more")]


def test_crops_of_nobody_keep_the_teachers_view() -> None:
    teacher = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    moved = move_to_people(teacher, np.array(["ann", "", "ann"]), share=0.5)
    np.testing.assert_array_equal(moved[1], teacher[1])
    mean = np.array([1.6, 0.8]) / np.hypot(1.6, 0.8)
    halfway = teacher[[0, 2]] / 2 + mean / 2
    np.testing.assert_allclose(moved[[0, 2]], halfway / np.linalg.norm(halfway, axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 2)), r"has the shape \(3, 2\); expected a row for each of 4 crops"),
        (np.zeros((4, 2)), "rows that are zero or not finite"),
        (np.full((4, 2), np.nan), "rows that are zero or not finite"),
        (np.full((4, 2), 1e300), "rows that are zero or not finite"),  # in float32
        (np.array([object()] * 4), "cannot read the teacher's embeddings"),
        (np.array([["a", "b"]] * 4), "is no array of numbers"),
    ],
)
def test_teachers_that_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "t.npy", array, allow_pickle=True)
    with pytest.raises(TrainingError, match=message):
        load_teachers([[tmp_path / "t.npy"]], [4])


def test_an_archive_of_arrays_is_no_teacher(tmp_path: Path) -> None:
    with (tmp_path / "t.npy").open("wb") as file:
        np.savez(file, embeddings=np.ones((4, 2)))
    with pytest.raises(TrainingError, match="is no array of numbers"):
        load_teachers([[tmp_path / "t.npy"]], [4])


def test_folders_that_are_not_there(tmp_path: Path, tiny_config: TrainingConfig) -> None:
    with pytest.raises(TrainingError, match="no training data is named; give `folder`"):
        load_crops(DataSettings(), channels=1)
    with pytest.raises(TrainingError, match="there is no data folder"):
        load_crops(replace(tiny_config.data, folder=tmp_path / "nowhere"), channels=1)


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
