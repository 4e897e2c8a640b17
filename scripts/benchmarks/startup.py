"""What a user waits for before anything happens: the help, and one whole `verify` of two photographs.

The measure is the time that importing the peer takes, which has not looked at a photograph by then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from benchmarks.figures import Context, Row, race
from benchmarks.photos import draw_one_person

_LIGHTFACE = ("-c", "from lightface.cli.main import run; run()")  # what the installed script does


def measure(context: Context) -> list[Row]:
    pictures = draw_one_person(context.work / "pictures")
    home = {f"XDG_{kind}_HOME": str(context.work / kind) for kind in ("DATA", "CONFIG", "CACHE")}
    environment = {**os.environ, **home}

    def start(*arguments: object) -> Callable[[], Callable[[], object]]:
        command = [sys.executable, *map(str, arguments)]

        def run() -> None:
            done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
            if done.returncode:
                raise RuntimeError(next(reversed(done.stderr.splitlines()), f"exit code {done.returncode}"))

        return lambda: run

    return race(
        {
            "lightface verify A B": start(*_LIGHTFACE, "verify", *pictures),
            "lightface --help": start(*_LIGHTFACE, "--help"),
            "import torch, facenet_pytorch": start("-c", "import torch, facenet_pytorch"),
            "import torch": start("-c", "import torch"),
        },
        part="startup",
        case="cold start",
        per="start",
        ours="lightface verify A B",
        context=context,
        warm_up=0,  # the first call, which does not count, has put the files into the cache
    )
