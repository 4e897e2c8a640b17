"""How often a fault is injected, and the record of what was: a few times in CI, as often as asked for in a soak.

`scripts/soak` gives the options; the record of a soak becomes the table in docs/reliability.md.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Soak:
    """What a test asks before it injects faults, and tells when it has."""

    rounds: int | None  # None: a few
    seed: int
    record_path: Path | None

    def times(self, few: int, *, share: float = 1.0) -> int:
        """How often: `few` times in CI, in a soak its rounds, or a share of them for what takes long."""
        return few if self.rounds is None else max(few, round(self.rounds * share))

    def dice(self, name: str) -> random.Random:
        """The same draws for the same test, in CI always, in a soak by its seed."""
        return random.Random(f"{self.seed} {name}")

    def record(self, fault: str, where: str, *, injected: int, wrong: int = 0, **worst: float) -> None:
        """Tell how often a fault was injected and how often something was lost or wrong then, and the worst figures."""
        if self.record_path is not None:
            row = {"fault": fault, "where": where, "injected": injected, "wrong": wrong, "worst": worst}
            with self.record_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("soak")
    group.addoption("--soak-rounds", type=int, metavar="N", help="inject each fault N times (default: a few)")
    group.addoption("--soak-seed", type=int, default=0, metavar="N", help="other moments and places for another seed")
    group.addoption("--soak-record", type=Path, metavar="FILE", help="append what was injected to FILE, as JSON lines")


def read_options(config: pytest.Config) -> Soak:
    return Soak(*(config.getoption(f"--soak-{name}") for name in ("rounds", "seed", "record")))
