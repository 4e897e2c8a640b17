"""The records by which a run says how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lightface.training.batches import DataPosition
from lightface.training.validation import Figures


@dataclass(frozen=True, slots=True)
class RunPosition:
    """How far a run has come."""

    step: int = 0
    samples: int = 0  # crops seen
    elapsed_s: float = 0.0  # over all its parts, where it was resumed
    data: DataPosition = field(default_factory=DataPosition)


@dataclass(frozen=True, slots=True)
class Progress:
    """A report of a running run."""

    at: RunPosition
    share: float  # 0..1 of the run
    seconds_left: float
    images_per_second: float
    size_px: int
    losses: Mapping[str, float]  # mean since the last report, unweighted; "loss" is their weighted sum
    figures: Mapping[int, Figures]  # of the last validation, by image size; empty before the first


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What came of a run."""

    output: Path
    at: RunPosition
    finished: bool  # False when it was asked to stop; resume it
    best: Figures | None
    leads: bool  # whether this process is the one to report and to export
