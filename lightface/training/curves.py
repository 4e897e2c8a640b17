"""Draw a run's history."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lightface.errors import OutputError
from lightface.training.augmentation import FRAME_PX
from lightface.training.logbook import read_history

logger = logging.getLogger(__name__)

_NOT_LOSSES = {"kind", "step", "samples", "epoch", "size_px", "learning_rate", "images_per_second", "elapsed_s"}


def draw_curves(folder: Path) -> Path | None:
    """`curves.png` in a run folder: losses, validation and learning rate over the samples seen.

    None when matplotlib, an extra, is not installed. OutputError when the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("matplotlib is not installed (lightface's extra 'train'), so there is no curves.png")
        return None
    rows = list(read_history(folder))
    figure = Figure(figsize=(13, 4), layout="constrained")
    losses, validation, rate = figure.subplots(1, 3)
    training = [row for row in rows if row["kind"] == "train"]
    for name in sorted({key for row in training for key in row} - _NOT_LOSSES):
        _draw(losses, training, name)
    losses.set(title="training loss", yscale="log")
    validated = [row for row in rows if row["kind"] == f"validation at {FRAME_PX} px"]
    for name in ("tar_at_1e2", "tar_at_1e3", "equal_error_rate"):
        _draw(validation, validated, name, marker=".")
    validation.set(title=f"people not trained on, at {FRAME_PX} px", ylim=(0, 1))
    _draw(rate, training, "learning_rate")
    rate.set(title="learning rate")
    for axes in (losses, validation, rate):
        axes.set_xlabel("samples seen")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
    path = folder / "curves.png"
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror})") from error
    return path


def _draw(axes: Any, rows: list[dict[str, Any]], name: str, **style: Any) -> None:
    points = [(row["samples"], row[name]) for row in rows if name in row]
    if points:
        axes.plot(*zip(*points, strict=True), label=name, **style)
