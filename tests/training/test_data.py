from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightface.errors import TrainingError
from lightface.training.config import DataSettings, TrainingConfig
from lightface.training.data import load_crops, load_teachers, move_to_people


def test_an_index_with_its_teacher(tiny_config: TrainingConfig) -> None:
    crops = load_crops(tiny_config.data, channels=1)
    assert len(crops) == 104
    assert crops.decoded.pixels.shape == (104, 1, 144, 144)
    assert crops.teacher is not None and crops.teacher.shape == (104, 10)
    assert np.linalg.norm(crops.teacher, axis=1) == pytest.approx(1, abs=1e-6)


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
    both = load_teachers([tmp_path / "a.npy", tmp_path / "b.npy"], 5)
    single = [load_teachers([tmp_path / name], 5) for name in ("a.npy", "b.npy")]
    assert both is not None and single[0] is not None and single[1] is not None
    assert both.shape == (5, 7)
    assert both @ both.T == pytest.approx((single[0] @ single[0].T + single[1] @ single[1].T) / 2, abs=1e-6)
    assert load_teachers([], 5) is None
    weighed = load_teachers([tmp_path / "a.npy", tmp_path / "b.npy"], 5, weights=[3, 1])
    assert weighed is not None
    assert weighed @ weighed.T == pytest.approx(
        0.75 * single[0] @ single[0].T + 0.25 * single[1] @ single[1].T, abs=1e-6
    )


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
        load_teachers([tmp_path / "t.npy"], 4)


def test_an_archive_of_arrays_is_no_teacher(tmp_path: Path) -> None:
    with (tmp_path / "t.npy").open("wb") as file:
        np.savez(file, embeddings=np.ones((4, 2)))
    with pytest.raises(TrainingError, match="is no array of numbers"):
        load_teachers([tmp_path / "t.npy"], 4)


def test_folders_that_are_not_there(tmp_path: Path, tiny_config: TrainingConfig) -> None:
    with pytest.raises(TrainingError, match="no training data is named; give --data"):
        load_crops(DataSettings(), channels=1)
    with pytest.raises(TrainingError, match="there is no data folder"):
        load_crops(replace(tiny_config.data, folder=tmp_path / "nowhere"), channels=1)
