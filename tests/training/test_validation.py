from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightface.errors import TrainingError
from lightface.measurement.pairs import pair_for_training
from lightface.training.preparation import TrainingData
from lightface.training.validation import Figures, embed_crops, measure, read_validation_pairs


class Mean(nn.Module):
    """Images -> (mean, 1, image size)."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([mean, torch.ones_like(mean), torch.full_like(mean, images.shape[-1])], dim=1)


def test_the_network_sees_the_frame_of_recognition(cpu: torch.device) -> None:
    pixels = np.zeros((3, 1, 144, 144), np.uint8)
    pixels[1:, :, 8:136, 8:136] = 255  # the frame; the margin stays black
    at_128 = embed_crops(Mean(), pixels, device=cpu, precision="fp32")
    assert at_128 == pytest.approx(np.array([[0, 1, 128], [1, 1, 128], [1, 1, 128]]) / 128, abs=2e-3)
    at_64 = embed_crops(Mean(), pixels, device=cpu, precision="fp32", size_px=64)
    assert at_64[0] == pytest.approx([0, 1 / 64, 1], abs=2e-4)


def test_a_network_that_knows_people_is_measured_so(cpu: torch.device) -> None:
    pixels = np.zeros((8, 1, 144, 144), np.uint8)
    people = np.repeat([0, 1], 4)
    pixels[people == 1] = 255

    class Two(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            mean = images.mean((1, 2, 3))
            return torch.stack([mean, 1 - mean], dim=1)

    figures = measure(Two(), pixels, pair_for_training(people), device=cpu, precision="fp32")
    assert figures == Figures(tar_at_1e2=None, tar_at_1e3=None, equal_error_rate=0.0)  # of 16 impostor pairs
    many, of = np.repeat(pixels, 8, axis=0), np.repeat(people, 8)  # 1,024
    figures = measure(Two(), many, pair_for_training(of), device=cpu, precision="fp32")
    assert figures == Figures(tar_at_1e2=1.0, tar_at_1e3=None, equal_error_rate=0.0)


def test_better_is_by_tar_and_then_by_equal_error_rate() -> None:
    good, same_tar, worse = Figures(0.9, 0.5, 0.1), Figures(0.9, 0.9, 0.2), Figures(0.8, 0.9, 0.01)
    assert good.is_better_than(None)
    assert good.is_better_than(same_tar) and not same_tar.is_better_than(good)
    assert good.is_better_than(worse) and not worse.is_better_than(good)
    assert not good.is_better_than(good)
    unknown, better = Figures(None, None, 0.2), Figures(None, None, 0.1)
    assert better.is_better_than(unknown) and not unknown.is_better_than(better)


def test_pairs_of_a_file(tiny_data: TrainingData, tmp_path: Path) -> None:
    first, second, third = tiny_data.split.dev_rows[[0, 3, 5]]
    path = tmp_path / "pairs.csv"
    path.write_text(f"row_a,row_b,same\n{first},{second},1\n{third},{first},0\n")
    pairs = read_validation_pairs(path, tiny_data.split)
    assert (pairs.a.tolist(), pairs.b.tolist(), pairs.same.tolist()) == ([0, 5], [3, 0], [True, False])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row_a,row_b,same\n0,100,1\n", "row 100, which is no readable validation crop"),
        ("row_a,row_b,same\nx,1,1\n", "expected columns row_a, row_b and same"),
        ("row_a,row_b,same\n1,2,True\n", "same, which is 1 or 0"),
        ("row_a,row_b,same\n1,2,1\n", r"pairs of two \(same = 0\)"),
        ("row_a,row_b,same\n", "needs pairs of one person"),
        ("a,b\n1,2\n", "expected columns row_a, row_b and same"),
    ],
)
def test_pairs_that_are_refused(tiny_data: TrainingData, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_validation_pairs(tmp_path / "pairs.csv", tiny_data.split)
