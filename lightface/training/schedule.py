"""Where a run stands decides its learning rate and its resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightface.training.config import ScheduleSettings, Stage


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
