"""What a run reports as it goes: one JSON line a report, and the same for TensorBoard."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightface.errors import OutputError
from lightface.files import read_regular, write_private

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
            raise OutputError(f"cannot write {self._path} ({error.strerror}); choose another --output") from error
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
