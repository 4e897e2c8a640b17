"""The way into training: from a recipe and a folder to a finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from lightface.allocator import keep_freed_memory
from lightface.errors import TrainingError
from lightface.stopping import StopRequest, stop_on_signals
from lightface.training.checkpoint import LAST
from lightface.training.config import TrainingConfig
from lightface.training.distributed import join_processes
from lightface.training.loop import TrainingRun
from lightface.training.preflight import Preflight
from lightface.training.preparation import prepare_data
from lightface.training.progress import Progress, TrainingReport


def train(
    config: TrainingConfig,
    output: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    max_minutes: float | None = None,
    stop: StopRequest | None = None,
    on_preflight: Callable[[Preflight], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingReport:
    """Train as `config` says, into the run folder `output`, or go on with the run that is there.

    A run of more than `max_minutes` (over all its parts) is shortened to that: its schedule and stages then follow the
    clock. A run that is resumed keeps those that it had, unless others are given. Ctrl-C, SIGTERM and `stop` save the
    run and return. Under torchrun, every process calls this.

    Raises TrainingError when the data cannot train, when a loss is no longer finite (its batch is saved), or when there
    is no run to resume; ConfigError, DeviceError, WeightsError and OutputError as their names say.
    """
    if not resume and (output / LAST).exists():  # before the data is prepared, which can take long
        raise TrainingError(f"{output} holds a run already; resume it, or choose another --output")
    keep_freed_memory()
    stop = stop or StopRequest()
    with join_processes(device) as (processes, chosen):
        data = prepare_data(config, processes)
        if on_preflight is not None and processes.leads:
            on_preflight(data.preflight)
        run = TrainingRun(
            config, data, output, device=chosen, processes=processes, max_minutes=max_minutes, resume=resume
        )
        run.open()
        # Images come in few sizes, so that trying cuDNN's algorithms once for each pays.
        with stop_on_signals(stop), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            report = run.work(stop, on_progress)
        del run  # and with it what refers to the processes' group
        return report
