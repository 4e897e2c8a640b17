"""The state of a run in one file, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lightface.errors import OutputError, TrainingError
from lightface.files import write_private
from lightface.models.checkpoints import TORCH_ERRORS

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
