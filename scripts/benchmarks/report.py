"""Results on the disk: JSON, from which the table (Markdown) and the plot are made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.figures import OURS, Row
from benchmarks.machine import Machine

JSON_FILE, TABLE_FILE, PLOT_FILE = "results.json", "results.md", "results.png"


@dataclass(frozen=True, slots=True)
class PartResult:
    """What one part measured, when, and on which machine."""

    title: str
    measured_on: str  # ISO date
    repetitions: int
    machine: Machine
    rows: tuple[Row, ...]


def read_results(folder: Path) -> dict[str, PartResult]:
    """By the name of the part; {} where nothing has been measured yet."""
    file = folder / JSON_FILE
    if not file.exists():
        return {}
    parts = json.loads(file.read_text(encoding="utf-8"))
    return {
        name: PartResult(
            **{**part, "machine": Machine(**part["machine"]), "rows": tuple(Row(**row) for row in part["rows"])}
        )
        for name, part in parts.items()
    }


def write_results(folder: Path, results: Mapping[str, PartResult]) -> None:
    """The three files."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: asdict(part) for name, part in results.items()}, indent=1)
    (folder / JSON_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / TABLE_FILE).write_text(format_results(results), encoding="utf-8")
    plot_results(folder / PLOT_FILE, results)


def format_results(results: Mapping[str, PartResult]) -> str:
    """A table for each part, in Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `scripts/bench`. Contenders take turns; a time is the median of the rounds, a ratio the median of the",
        "ratios within each round: how many times as long as our default setting, the row without one.",
    ]
    for part in results.values():
        lines += ["", f"## {part.title}", "", *_format_rows(part.rows), ""]
        lines += [f"{part.measured_on}, {part.repetitions} rounds: {part.machine.describe()}."]
    return "\n".join(lines) + "\n"


def plot_results(file: Path, results: Mapping[str, PartResult]) -> None:
    """A panel for each part: the time of each row, ours in another colour."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = {part.title: [row for row in part.rows if row.seconds is not None] for part in results.values()}
    shown = {title: rows for title, rows in shown.items() if rows}
    heights = [len(rows) + 2 for rows in shown.values()]
    figure, axes = pyplot.subplots(
        max(1, len(shown)), 1, figsize=(9, 1 + 0.22 * sum(heights)), height_ratios=heights or None, squeeze=False
    )
    for axis, (title, rows) in zip(axes[:, 0], shown.items(), strict=False):
        seconds = [row.seconds or 0.0 for row in rows]
        axis.barh(
            range(len(rows)),
            seconds,
            color=["tab:orange" if row.contender.startswith(OURS) else "tab:grey" for row in rows],
        )
        axis.set_yticks(range(len(rows)), [f"{row.case}: {row.contender}" for row in rows], fontsize=7)
        for index, row in enumerate(rows):
            ratio = "" if row.ratio is None else f", {row.ratio:.2g} x"
            axis.text(
                seconds[index], index, f" {format_time(seconds[index])} per {row.per}{ratio}", va="center", fontsize=7
            )
        axis.set_xscale("log")
        axis.set_xlim(min(seconds) / 2, max(seconds) * 6)
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontsize=9)
        axis.set_xlabel("seconds", fontsize=7)
        axis.tick_params(axis="x", which="both", labelsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def format_time(seconds: float) -> str:
    """Three digits, in the unit that suits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _format_rows(rows: Iterable[Row]) -> list[str]:
    lines = ["| case | contender | time | low to high | ratio | more |", "|---|---|---|---|---|---|"]
    for row in rows:
        time = "" if row.seconds is None else f"{format_time(row.seconds)} per {row.per}"
        spread = "" if row.low is None or row.high is None else f"{format_time(row.low)} to {format_time(row.high)}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        more = [f"{name} {value:.6g}" for name, value in row.extra.items()] + ([row.note] if row.note else [])
        cells = (row.case, row.contender, time, spread, ratio, "; ".join(more))
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return lines
