"""Several processes on one run, as torchrun starts them; a run of one process costs nothing."""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from lightface.embedding import resolve_device
from lightface.errors import DeviceError

# Others wait this long for the first one to align and decode the data.
_PATIENCE = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    local_rank: int = 0  # on this machine
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one writes files and reports."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is raised in some process; all must call it together."""
        return flag if self.count == 1 else any(self._gather(flag))

    def from_leader(self, number: float) -> float:
        """The leader's number; all must call it together."""
        return number if self.count == 1 else float(self._gather(number)[0])

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            dist.barrier()

    def _gather(self, value: float) -> list[float]:
        values = [value] * self.count
        dist.all_gather_object(values, value)
        return values


@contextmanager
def join_processes(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the run that torchrun describes in the environment, or be alone; with the device of this process.

    `device` is auto, cpu, cuda or mps. DeviceError when it is not there, or for several processes on mps.
    """
    chosen = resolve_device(device)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), chosen
        return
    processes = Processes(int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]), count)
    if chosen.type == "mps":
        raise DeviceError("several processes can train on cuda or cpu only; choose another `device`, such as cpu")
    if chosen.type == "cuda":
        chosen = resolve_device(f"cuda:{processes.local_rank}")
        torch.cuda.set_device(chosen)
    # Its functions' defaults are the group that there is when it is imported. DDP imports it, too late: they would keep
    # the group, and threads of it that are still there when Python ends can abort the process.
    importlib.import_module("torch.distributed.nn")
    on_cuda = chosen.type == "cuda"
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=_PATIENCE, device_id=chosen if on_cuda else None)
    try:
        yield processes, chosen
    finally:
        gc.collect()  # what refers to the group keeps its threads
        dist.destroy_process_group()
