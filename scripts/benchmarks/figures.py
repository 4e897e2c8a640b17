"""The rows that every part gives, and the way from contenders to rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.timing import compare

_PATH = re.compile(r"(/[^/\s'\"]+){2,}/?")

OURS = "lightface"  # what the names of our own contenders begin with


@dataclass(frozen=True, slots=True)
class Context:
    """What a part may use."""

    photos: list[Path]
    repetitions: int
    quick: bool  # small cases, to see that the part works
    threads: int  # processor cores that this process may use
    work: Path  # an empty folder of the part's own


@dataclass(frozen=True, slots=True)
class Row:
    """One contender in one case."""

    part: str
    case: str  # "batch 32, 1 thread"
    contender: str  # ours begin with "lightface"
    seconds: float | None  # the median, for one unit of `per`; None where it could not be measured
    per: str  # "face", "photo", "query", "start", "image"
    ratio: float | None = None  # its time over that of our own (the default setting): above 1, we are faster
    low: float | None = None  # seconds of the fastest and the slowest round
    high: float | None = None
    note: str = ""
    extra: Mapping[str, float] = field(default_factory=dict)  # other figures by name: {"cosine": 0.9998}


def race(
    contenders: Mapping[str, Callable[[], Callable[[], object]]],
    *,
    part: str,
    case: str,
    per: str,
    ours: str,
    context: Context,
    units: int = 1,
    warm_up: int = 1,
) -> list[Row]:
    """Time contenders side by side. `ours` is the one that ratios refer to; a call does `units` of `per`.

    A contender is a function that makes the call to be timed; there it imports the peer. One that is not installed
    or fails becomes a row with a note.
    """
    calls: dict[str, Callable[[], object]] = {}
    notes: dict[str, str] = {}
    for name, build in contenders.items():
        try:
            call = build()
            call()
        except Exception as error:  # a peer may fail in any way; the others are measured all the same
            notes[name] = describe_failure(error)
        else:
            calls[name] = call
    timings = compare(calls, repetitions=context.repetitions, warm_up=warm_up)
    rows = []
    for name in contenders:
        if name in notes:
            rows.append(Row(part, case, name, None, per, note=notes[name]))
            continue
        timing = timings[name]
        rows.append(
            Row(
                part,
                case,
                name,
                timing.median_s / units,
                per,
                ratio=timing.ratio_to(timings[ours]) if ours in timings and name != ours else None,
                low=timing.low_s / units,
                high=timing.high_s / units,
            )
        )
    return rows


def describe_failure(error: Exception) -> str:
    """A note of one line, which goes into the results: paths of the machine are left out."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    first_line = next(iter(str(error).splitlines()), "")
    return f"failed: {type(error).__name__} {_PATH.sub('...', first_line)}".rstrip()
