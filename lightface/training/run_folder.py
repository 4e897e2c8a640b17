"""The folder of a run: its state, what it reports as it goes, and the curves of that."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lightface.errors import OutputError, TrainingError
from lightface.files import read_regular, write_private
from lightface.frame import FRAME_PX
from lightface.models.weights import TORCH_ERRORS

# The files of a run folder.
CONFIG = "config.toml"  # the recipe
LAST = "last.pt"  # to go on from
BEST = "best.pt"  # the network that did best in validation


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; `path` is never half a file. OutputError when it cannot be written."""
    try:
        with write_private(path) as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        raise OutputError(f"cannot write the checkpoint {path} ({error}); free some space, then resume") from error


def load_checkpoint(path: Path, *, device: torch.device) -> dict[str, Any]:
    """What `save_checkpoint` wrote; nothing in the file is executed. TrainingError when it is not there or damaged."""
    if not path.is_file():
        raise TrainingError(f"there is no {path}; name the folder of a run, or its last.pt")
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except TORCH_ERRORS as error:
        raise TrainingError(f"{path} is damaged ({type(error).__name__}); start the run again") from error
    return content


# What a run reports as it goes: one JSON line a report, and the same for TensorBoard.


logger = logging.getLogger(__name__)

HISTORY = "history.jsonl"


class Logbook:
    """Appends to the history of a run folder. What it holds beyond `step` (of an interrupted run) is forgotten."""

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = folder / HISTORY
        kept = [json.dumps(row) for row in read_history(folder) if row["step"] <= step]
        try:
            with write_private(self._path) as file:
                file.write("".join(f"{line}\n" for line in kept).encode())
        except OSError as error:
            raise OutputError(f"cannot write {self._path} ({error.strerror}); choose another `output`") from error
        self._board = _open_board(folder / "tensorboard", step)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Note `values` of one kind ("train", "validation at 128 px") after `step` steps."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close the files."""
        if self._board is not None:
            self._board.close()


def read_history(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a run's history; none where there is none. A line that a crash cut off is passed over."""
    path = folder / HISTORY
    if not path.exists():
        return
    for line in read_regular(path).decode().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            logger.warning("%s has a damaged line, which is passed over", path)


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:  # an extra
        logger.warning("tensorboard is not installed (lightface's extra 'train'); %s alone is written", HISTORY)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


# Draw a run's history.


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
