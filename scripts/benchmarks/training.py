"""A training step of LightCNN-9 as our training does it, against a plain loop in torch: SGD, softmax, float32.

With batch normalisation, which our recipes train with, against ourselves alone, without the fused layers of `compile`.

Each contender has a process of its own, since ours has the allocator of its process keep what is freed.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.figures import Context, Row, race
from benchmarks.plain_lightcnn import PlainLightCNN9
from lightface.machine import keep_freed_memory, multiplies_bf16
from lightface.training.config import NetworkSettings, TrainingConfig
from lightface.training.distributed import Processes
from lightface.training.learner import Learner
from lightface.training.objectives.objective import Targets

_CLASSES = 1000
_RATE = 1e-3


def measure(context: Context) -> list[Row]:
    rows: list[Row] = []
    for size_px, batch in [(64, 8)] if context.quick else [(64, 64), (128, 32)]:
        for norm in (False, True):
            contenders, layers = _contenders(norm), ", batch norm" if norm else ""
            workers = {name: _Worker(build, size_px, batch, context.threads) for name, build in contenders.items()}
            rows += race(
                {name: worker.start for name, worker in workers.items()},
                part="training",
                case=f"lightcnn9{layers}, {size_px} px, batch {batch}, {context.threads} threads",
                per="image",
                ours=next(iter(contenders)),
                context=context,
                units=batch,
                warm_up=1,
            )
            for worker in workers.values():
                worker.stop()
    return rows


def _contenders(norm: bool) -> dict[str, Callable[..., Callable[[], object]]]:
    """What takes turns, ours with the quickest settings of this machine first."""
    precisions = ["bf16", "fp32"] if multiplies_bf16() else ["fp32"]
    contenders: dict[str, Callable[..., Callable[[], object]]] = {}
    for precision in precisions:
        config = TrainingConfig(precision=precision, network=NetworkSettings(norm=norm))  # type: ignore[arg-type]
        if shutil.which("g++"):
            contenders[f"lightface {precision}, compile"] = partial(_train_ours, replace(config, compile=True))
        contenders[f"lightface {precision}"] = partial(_train_ours, config)
    if not norm:
        contenders["plain torch fp32"] = _train_plain
    return contenders


class _Worker:
    """A process that makes a call of its own, and makes it whenever it is asked to."""

    def __init__(self, build: Callable[..., Callable[[], object]], *arguments: Any) -> None:
        processes = multiprocessing.get_context("spawn")
        self._requests, theirs = processes.Pipe()
        self._process = processes.Process(target=_serve, args=(theirs, build, arguments), daemon=True)

    def start(self) -> Callable[[], object]:
        self._process.start()
        return self._ask

    def stop(self) -> None:
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _ask(self) -> None:
        self._requests.send(None)
        while not self._requests.poll(1):
            if not self._process.is_alive():
                raise RuntimeError(f"the process ended with exit code {self._process.exitcode}")
        self._requests.recv()


def _serve(requests: Connection, build: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> None:
    call = build(*arguments)
    while True:
        requests.recv()
        call()
        requests.send(None)


def _train_ours(config: TrainingConfig, size_px: int, batch: int, threads: int) -> Callable[[], object]:
    images, labels = _draw_batch(size_px, batch, threads)
    keep_freed_memory()
    learner = Learner(config, classes=_CLASSES, teacher_size=None, device=torch.device("cpu"), processes=Processes())
    return lambda: learner.learn(images, Targets(labels, None), learning_rate=_RATE, step=0)


class _PlainTrainee(nn.Module):
    """With dropout and classifier; the last map of a small image is resized as ours is."""

    def __init__(self) -> None:
        super().__init__()
        self.network = PlainLightCNN9()
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(256, _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        maps = nn.functional.interpolate(self.network.features(images), (8, 8), mode="bilinear")
        logits: Tensor = self.classifier(self.dropout(self.network.fc1(maps.flatten(1))))
        return logits


def _train_plain(size_px: int, batch: int, threads: int) -> Callable[[], object]:
    images, labels = _draw_batch(size_px, batch, threads)
    model = _PlainTrainee().train()
    optimiser = torch.optim.SGD(model.parameters(), lr=_RATE, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def _draw_batch(size_px: int, batch: int, threads: int) -> tuple[Tensor, Tensor]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch.rand(batch, 1, size_px, size_px), torch.randint(_CLASSES, (batch,))
