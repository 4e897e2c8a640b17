from __future__ import annotations

import pytest
import torch

from lightface.errors import ConfigError
from lightface.training.config import ScheduleSettings, Stage, TrainingConfig
from lightface.training.schedule import find_stage, find_window, fit_batches, learning_rate_share


def test_the_authors_steps() -> None:
    settings = ScheduleSettings()  # 80 epochs, every ten
    shares = [learning_rate_share(settings, progress=epoch / 80, step=0) for epoch in (0, 9.9, 10, 19, 20, 79)]
    factor = 0.457305051927326
    assert shares == pytest.approx([1, 1, factor, factor, factor**2, factor**7])


def test_cosine_with_warm_up_and_an_end() -> None:
    settings = ScheduleSettings(kind="cosine", warmup_steps=10, final_rate=0.1)
    assert learning_rate_share(settings, progress=0, step=0) == pytest.approx(0.1)
    assert learning_rate_share(settings, progress=0, step=4) == pytest.approx(0.5)
    assert learning_rate_share(settings, progress=0, step=9) == pytest.approx(1)
    assert learning_rate_share(settings, progress=0.5, step=100) == pytest.approx(0.55)
    assert learning_rate_share(settings, progress=1, step=100) == pytest.approx(0.1)
    assert learning_rate_share(settings, progress=1.2, step=100) == pytest.approx(0.1)


def test_stages_follow_each_other() -> None:
    stages = (Stage(0.4, 64, 8), Stage(0.3, 96, 8), Stage(0.3, 128, 8))
    sizes = [find_stage(stages, progress=progress).size_px for progress in (0, 0.39, 0.4, 0.69, 0.7, 1, 1.5)]
    assert sizes == [64, 64, 96, 96, 128, 128, 128]


def test_windows_take_turns_about_the_middle() -> None:
    stage = Stage(windows_px=((96, 96), (112, 96), (128, 128)))
    images = torch.arange(128 * 128).reshape(1, 1, 128, 128)
    expected = [(16, 16, 96, 96), (0, 16, 112, 96), (0, 0, 128, 128), (16, 16, 96, 96)]
    for step, (top, left, height, width) in enumerate(expected):
        window = find_window(stage, step=step)
        assert window is not None and window.corner_px == (top, left)
        part = window.cut(images)
        assert part.shape == (1, 1, height, width) and part[0, 0, 0, 0] == top * 128 + left
    assert find_window(Stage(), step=3) is None


def test_batches_shrink_to_what_there_is_and_must_divide() -> None:
    config = TrainingConfig(stages=(Stage(0.5, 64, 32), Stage(0.5, 128, 8)), accumulate=2)
    assert fit_batches(config, processes=2, crops=100) == config.stages
    assert [stage.batch_size for stage in fit_batches(config, processes=2, crops=23)] == [20, 8]
    with pytest.raises(
        ConfigError, match=r"batch_size 4 does not divide into 4 parts of two or more crops \(2 processes"
    ):
        fit_batches(config, processes=2, crops=7)
