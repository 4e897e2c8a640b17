"""Runs of the command line in forks of a process of their own; see spawner.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    status: int  # negative: killed by that signal
    seconds: float
    stdout: str
    stderr: str
    calls: int  # that change files; 0 where they were not counted

    @property
    def was_killed(self) -> bool:
        return self.status < 0


class Spawner:
    """Runs the command line in forks of a process of its own; see spawner.py."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self._process = process
        self._environment = {name: str(home) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}

    def run(self, *arguments: object, **fault: Any) -> Outcome:
        (outcome,) = self.run_together([arguments], **fault)
        return outcome

    def run_together(self, commands: Sequence[Sequence[object]], **fault: Any) -> list[Outcome]:
        orders = [
            {"arguments": list(map(str, command)), "environment": self._environment, **fault} for command in commands
        ]
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(orders)}\n")
        self._process.stdin.flush()
        return [Outcome(**outcome) for outcome in json.loads(self._process.stdout.readline())]


@contextmanager
def start_spawner(home: Path) -> Iterator[Spawner]:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **one_thread, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("spawner.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Spawner(process, home)
        assert process.stdin is not None
        process.stdin.close()
