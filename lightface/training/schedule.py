"""Where a run stands decides its learning rate, its resolution and its batches."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from lightface.errors import ConfigError
from lightface.training.augmentation import FRAME_PX
from lightface.training.config import ScheduleSettings, Stage, TrainingConfig

logger = logging.getLogger(__name__)

_CELL_PX = 16  # of the frame, to a cell of the last map


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the frame, about in its middle."""

    top_px: int
    left_px: int
    height_px: int
    width_px: int

    @property
    def corner_px(self) -> tuple[int, int]:
        """Row and column of the first pixel."""
        return self.top_px, self.left_px

    def cut(self, images: Tensor) -> Tensor:
        """(N, C, 128, 128) -> (N, C, height, width)."""
        bottom_px, right_px = self.top_px + self.height_px, self.left_px + self.width_px
        return images[..., self.top_px : bottom_px, self.left_px : right_px]


def fit_batches(config: TrainingConfig, *, processes: int, crops: int) -> tuple[Stage, ...]:
    """The stages, with smaller batches where there are fewer crops than fill one.

    ConfigError unless every stage's batch divides into equal parts of two crops or more.
    """
    parts = processes * config.accumulate
    most = crops - crops % parts
    stages = tuple(replace(stage, batch_size=min(stage.batch_size, most)) for stage in config.stages)
    if stages != config.stages:
        logger.info("a batch is all %s crops, which are fewer than the recipe's batches", f"{most:,}")
    for stage in stages:
        if stage.batch_size % parts or stage.batch_size < 2 * parts:
            raise ConfigError(
                f"batch_size {stage.batch_size} does not divide into {parts} parts of two or more crops "
                f"({processes} processes, accumulate = {config.accumulate}); change one of them"
            )
    return stages


def learning_rate_share(settings: ScheduleSettings, *, progress: float, step: int) -> float:
    """The share, 0..1, of the recipe's learning rate at `progress` (0..1 of the run), in the step after `step`."""
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.kind == "cosine":
        cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return warm * (settings.final_rate + (1 - settings.final_rate) * cosine)
    falls = math.floor(progress * settings.epochs / settings.step_epochs + 1e-9)
    return warm * float(settings.step_factor**falls)


def find_stage(stages: Sequence[Stage], *, progress: float) -> Stage:
    """The stage at `progress`, 0..1 of the run."""
    end = 0.0
    for stage in stages:
        end += stage.share
        if progress < end - 1e-9:
            return stage
    return stages[-1]


def find_window(stage: Stage, *, step: int) -> Window | None:
    """The part of the frame that a step looks at; None for all of it."""
    if not stage.windows_px:
        return None
    height_px, width_px = stage.windows_px[step % len(stage.windows_px)]
    top_px, left_px = ((FRAME_PX - side) // (2 * _CELL_PX) * _CELL_PX for side in (height_px, width_px))
    return Window(top_px, left_px, height_px, width_px)
