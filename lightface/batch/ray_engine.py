"""Embed photographs on a Ray cluster, or where none is named on one that lives on this machine for as long as a run.

The workers are plain Ray actors. Ray Data has actors too, but three answers to a photograph that ends its worker, none
of which says what is missing (Ray 2.60, 32 rows in blocks of 4, one of them deadly): as it comes, the block is tried
again for ever; with `max_restarts=0` and `max_errored_blocks=-1` it finished with 16 of the rows, with `max_restarts=2`
and `max_task_retries=1` with 28. It also wants pandas.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError

from lightface.batch.job import describe_rows
from lightface.batch.local import BYTES_A_PROCESS, count_memory, describe_crash, pack_pipeline, unpack_pipeline
from lightface.errors import ConfigError, ImageError, LightfaceError, RemoteError
from lightface.machine import count_cores
from lightface.pipeline import FacePipeline, PhotoFaces

_log = logging.getLogger(__name__)

_BATCHES_A_BLOCK: Final = 4  # while a worker embeds one batch it reads the next
_DECODERS: Final = {"cpu": 1, "cuda": 4}  # beside the networks
_STORE_BYTES: Final = 100 << 20  # of a cluster of our own: what travels is small
_TOKEN: Final = secrets.token_hex(32)  # one a process: Ray remembers the first. Else it lies in ~/.ray for all to read
_PATIENCE_S: Final = 60.0
_MOST_FAILED_STARTS: Final = 3  # workers in a row that never began


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Workers on a Ray cluster, each with a pipeline of its own.

    `address`: of the cluster; None: what RAY_ADDRESS says, else a cluster on this machine. `gpus`: the share of a GPU
    that a worker takes; None: a whole one where the cluster has any, else none.

    Photographs are read by the workers: a path must mean the same on each machine, or be a URL. The weights must be
    registered on each, and all must make the rows that the pipeline here would make.

    Raises ConfigError for a share of more than one GPU.
    """

    address: str | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.gpus is not None and not (0 <= self.gpus <= 1 or (self.gpus > 1 and self.gpus.is_integer())):
            raise ConfigError(f"a worker cannot take {self.gpus:g} GPUs; give it a share of one, or whole ones")

    def embed(
        self, pipeline: FacePipeline, paths: Sequence[Path], *, batch_size: int, workers: int | None
    ) -> Generator[Sequence[PhotoFaces], None, None]:
        """One result a path, in blocks, as they are ready.

        A worker that dies takes no photograph with it: those it had in hand are tried again one by one, and only one
        that ends its worker once more is given up. RemoteError where there is no cluster, or no worker comes up.
        """
        if not paths:
            return
        with _connected(self.address, workers):
            resources = ray.cluster_resources()
            gpus = self.gpus if self.gpus is not None else float(resources.get("GPU", 0) >= 1)
            room = int(resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1))
            count = max(1, min(workers or room, -(-len(paths) // batch_size)))
            size = batch_size * min(_BATCHES_A_BLOCK, -(-len(paths) // (batch_size * count)))
            crew = _Crew(pipeline, batch_size, gpus)
            try:
                yield from crew.embed(deque(paths[start : start + size] for start in range(0, len(paths), size)), count)
            finally:
                crew.dismiss()


class _Crew:
    """Workers, one block in the hands of each: so it is known what a worker that died was doing."""

    def __init__(self, pipeline: FacePipeline, batch_size: int, gpus: float) -> None:
        self._rows = describe_rows(pipeline)
        self._arguments = (pack_pipeline(pipeline), batch_size, _DECODERS["cuda" if gpus else "cpu"])
        # A worker that dies is replaced here, where it is known why. One processor each: networks gain little by more.
        self._worker = ray.remote(_Worker).options(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        self._beginning: dict[Any, Any] = {}  # what it is waited for -> the worker
        self._busy: dict[Any, tuple[Any, Sequence[Path]]] = {}
        self._idle: list[Any] = []
        self._failed_starts = 0

    def embed(self, todo: deque[Sequence[Path]], count: int) -> Iterator[Sequence[PhotoFaces]]:
        for _ in range(count):
            self._hire()
        while todo or self._busy:
            while todo and self._idle:
                worker, block = self._idle.pop(), todo.popleft()
                self._busy[worker.embed.remote(block)] = worker, block
            for answer in self._wait():
                if answer in self._beginning:
                    self._welcome(answer)
                    continue
                worker, block = self._busy.pop(answer)
                try:
                    results = _get(answer)
                except RayError:
                    _log.warning("a worker on the Ray cluster died; another takes its place")
                    self._replace(worker)
                    if len(block) == 1:
                        yield [PhotoFaces(block[0], None, error=ImageError(describe_crash(block[0])))]
                    else:
                        todo.extendleft([path] for path in reversed(block))
                else:
                    self._idle.append(worker)
                    yield results

    def dismiss(self) -> None:
        workers = [*self._idle, *self._beginning.values(), *(worker for worker, _ in self._busy.values())]
        for worker in workers:
            ray.kill(worker)

    def _hire(self) -> None:
        worker = self._worker.remote(*self._arguments)
        self._beginning[worker.begin.remote()] = worker

    def _replace(self, worker: Any) -> None:
        ray.kill(worker)  # it may be out of reach rather than dead
        self._hire()

    def _welcome(self, answer: Any) -> None:
        worker = self._beginning.pop(answer)
        try:
            rows = _get(answer)
        except RayError as error:
            self._failed_starts += 1
            if self._failed_starts == _MOST_FAILED_STARTS:
                raise RemoteError(
                    f"no worker comes up on the Ray cluster ({_reason(error)}); each of its machines needs this "
                    "lightface, its weights, and memory for the workers"
                ) from error
            self._replace(worker)
            return
        if rows != self._rows:
            theirs, ours = json.loads(rows), json.loads(self._rows)
            what = next(name for name in sorted({*ours, *theirs}) if theirs.get(name) != ours.get(name))
            raise RemoteError(
                f"a machine of the Ray cluster would make other rows: its {what} is {theirs.get(what)!r}, here it is "
                f"{ours.get(what)!r}; give them the same lightface and weights"
            )
        self._failed_starts = 0
        self._idle.append(worker)

    def _wait(self) -> list[Any]:
        waiting = [*self._busy, *self._beginning]
        while True:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=_PATIENCE_S)
            if ready:
                return list(ready)
            if not self._busy:
                _log.warning("the Ray cluster has no room for a worker yet; waiting")


@contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Ray for the time of the block, unless the caller has it already."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {}
    if address == "local":
        own = {
            "num_cpus": workers or max(1, min(count_cores(), count_memory() // BYTES_A_PROCESS)),
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",  # it stays, whatever becomes of the network
        }
    else:
        _check_address(address)
    try:
        with _private() if own else nullcontext():
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except Exception as error:  # Ray raises a bare one where a machine is too busy to start a cluster within 30 s
        raise _describe(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise RemoteError where nobody listens: Ray itself would knock for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise _describe(address, error) from error


def _describe(address: str, error: Exception) -> RemoteError:
    remedy = "check the address, and that Ray and Python are of its versions; what was finished is kept"
    return RemoteError(f"cannot use the Ray cluster at {address!r} ({_reason(error)}); {remedy}")


@contextmanager
def _private() -> Iterator[None]:
    """The environment to start a cluster of our own in: no reports of use, and work from nobody else."""
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": _TOKEN}
    earlier = {name: os.environ.pop(name, None) for name in (*wanted, "RAY_AUTH_MODE")}  # unset, it means by token
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _get(answer: Any) -> Any:
    """What a worker answered. What went wrong within it is raised as there; RayError where it did not answer."""
    try:
        return ray.get(answer)
    except RayTaskError as error:
        if isinstance(error.cause, LightfaceError):
            raise error.cause from error
        raise RuntimeError(f"a worker on the Ray cluster failed: {error}") from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class _Worker:
    """What happens in a process of the cluster."""

    def __init__(self, packed: bytes, batch_size: int, decoders: int) -> None:
        self._packed = packed
        self._batch_size = batch_size
        self._decoders = decoders

    def begin(self) -> str:
        """Load the pipeline; which rows it makes."""
        import torch

        torch.set_num_threads(1)
        self._pipeline = unpack_pipeline(self._packed)
        return describe_rows(self._pipeline)

    def embed(self, paths: Sequence[Path]) -> list[PhotoFaces]:
        """One result a path, in their order."""
        return list(self._pipeline.embed_paths(paths, batch_size=self._batch_size, workers=self._decoders, videos=True))
