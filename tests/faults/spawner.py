"""A process that has everything imported, and forks runs of the command line when it is told to.

Starting Python and torch takes two seconds, a fork some milliseconds: so a run can be killed at many moments. The runs
are `lightface.cli.main.app` itself, with a detector and an embedder that need no network. One JSON line in is a list of
runs to be started at once, one JSON line out is what became of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any

# What changes files; the question mark is for machines that lack one of them.
_CALLS = ",".join(
    f"?{call}"
    for call in (
        *("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "fallocate", "rename", "renameat"),
        *("renameat2", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat"),
    )
)


_command: Callable[[list[str]], None]  # the command line


def main() -> None:
    _import_everything()
    for line in sys.stdin:
        runs = [_Run(order) for order in json.loads(line)]
        while [run for run in runs if not run.look()]:
            time.sleep(0.0005)
        print(json.dumps([run.outcome() for run in runs]), flush=True)


class _Run:
    """One fork, from its start to its end.

    An order has `arguments`, `environment`, and perhaps one of: `kill_after_s`; `kill_at_call`, the number of a system
    call of `_CALLS` that is not made any more; `kill_at_byte`, of any file, in the middle of whose write it dies;
    `room`, bytes that a file may grow to; `clock_s`, by which its clock is wrong; `count_calls`.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  # for as long as this lives
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self._status: int | None = None
        self._tracer: subprocess.Popen[bytes] | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _work(order, *(file.fileno() for file in self._files))
        if _is_traced(order):
            self._trace()
        self._started_s = time.monotonic()

    def look(self) -> bool:
        """Whether it has ended; kills it when its time has come."""
        if self._status is None:
            after = time.monotonic() - self._started_s
            if after > self._order.get("kill_after_s", float("inf")):
                os.kill(self._pid, signal.SIGKILL)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status, self._seconds = os.waitstatus_to_exitcode(status), after
        return self._status is not None

    def outcome(self) -> dict[str, Any]:
        if self._tracer is not None:
            self._tracer.wait()
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        own = [line for line in self._log.read().decode(errors="replace").splitlines() if f"{self._pid} " in line]
        calls = sum("(" in line for line in own)
        return {
            "status": self._status,
            "seconds": self._seconds,
            "stdout": texts[0],
            "stderr": texts[1],
            "calls": calls,
        }

    def _trace(self) -> None:
        os.waitpid(self._pid, os.WUNTRACED)  # it stops itself
        command = ["strace", "-f", "-q", "-p", str(self._pid), "-o", self._log.name, "-e", f"trace={_CALLS}"]
        if "kill_at_call" in self._order:
            command += ["-e", f"inject={_CALLS}:signal=SIGKILL:when={self._order['kill_at_call']}"]
        self._tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while _tracer_of(self._pid) == 0 and self._tracer.poll() is None:
            time.sleep(0.001)
        os.kill(self._pid, signal.SIGCONT)


def _is_traced(order: dict[str, Any]) -> bool:
    return "kill_at_call" in order or order.get("count_calls", False)


def _tracer_of(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("TracerPid:"))


# What follows happens in the fork.


def _work(order: dict[str, Any], stdout: int, stderr: int) -> None:
    status = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.environ.update(order["environment"])
        if "clock_s" in order:
            _set_clock(timedelta(seconds=order["clock_s"]))
        if _is_traced(order):
            os.kill(os.getpid(), signal.SIGSTOP)
        for limit, what_then in (("room", signal.SIG_IGN), ("kill_at_byte", signal.SIG_DFL)):
            if limit in order:
                signal.signal(signal.SIGXFSZ, what_then)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (order[limit], order[limit]))
        _command(order["arguments"])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _set_clock(by: timedelta) -> None:
    """Put `datetime.now` forward or back in all of lightface, and `time.time` everywhere."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(clock(), tz)

    real = time.time

    def clock() -> float:
        return real() + by.total_seconds()

    time.time = clock
    for name, module in list(sys.modules.items()):
        if name.startswith("lightface") and getattr(module, "datetime", None) is datetime:
            module.datetime = Clock  # type: ignore[attr-defined]
    assert abs(Clock.now(UTC).timestamp() - datetime.now(UTC).timestamp() - by.total_seconds()) < 1


def _import_everything() -> None:
    global _command
    import pkgutil
    from importlib import import_module

    import torch
    import typer.main
    from faces_of_colour import ColourEmbedder
    from stand_ins import MiddleDetector

    import lightface
    from lightface.pipeline import FaceGates, FacePipeline

    def load_pipeline(*, gates: FaceGates, model: str = "colours", **_: object) -> FacePipeline:
        embedder = ColourEmbedder()
        embedder.name = model
        return FacePipeline(MiddleDetector(), embedder, gates=replace(gates, min_quality=0))

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(lightface.__path__, "lightface."):
        _import_if_installed(import_module, module.name)
    pipeline: ModuleType = sys.modules["lightface.pipeline"]
    pipeline.load_pipeline = load_pipeline  # type: ignore[attr-defined]
    drawing = "matplotlib.figure", "matplotlib.backends.backend_agg"
    for name in ("torch._dynamo", "torch.utils.tensorboard.writer", *drawing):  # of torch, what optimisers import
        _import_if_installed(import_module, name)
    _command = typer.main.get_command(sys.modules["lightface.cli.main"].app)  # as calling the app does, each time
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        _command(["gallery", "list", "--gallery", os.devnull])  # typer imports as it runs


def _import_if_installed(import_module: Any, name: str) -> None:
    try:
        import_module(name)
    except ImportError as error:  # of an extra
        assert not (error.name or "").startswith("lightface")


if __name__ == "__main__":
    main()
