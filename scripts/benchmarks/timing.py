"""Timing side by side: contenders take turns, so that whatever else the machine does burdens them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one contender, one of each round, in the order of the rounds."""

    rounds_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.rounds_s)

    @property
    def low_s(self) -> float:
        return min(self.rounds_s)

    @property
    def high_s(self) -> float:
        return max(self.rounds_s)

    def ratio_to(self, ours: Timing) -> float:
        """How many times as long as `ours` this one took: the median over the rounds, each compared within itself."""
        return statistics.median(a / b for a, b in zip(self.rounds_s, ours.rounds_s, strict=True))


def compare(
    contenders: Mapping[str, Callable[[], object]],
    *,
    repetitions: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Call each contender once a round, in turn; the first of a round is another one each time.

    `warm_up` rounds go before the first that counts. Garbage is collected between the calls only.
    """
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(-warm_up, repetitions):
            first = turn % len(names) if names else 0
            for name in names[first:] + names[:first]:
                gc.collect()
                started = clock()
                contenders[name]()
                elapsed = clock() - started
                if turn >= 0:
                    times[name].append(elapsed)
    finally:
        if was_enabled:
            gc.enable()
    return {name: Timing(tuple(rounds)) for name, rounds in times.items()}
