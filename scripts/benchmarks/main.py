"""Measure the parts that are asked for, all by default, and write the results.

A part that is run alone replaces its own rows only.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Context, Row, describe_failure
from benchmarks.machine import describe_machine
from benchmarks.photos import find_photographs
from benchmarks.report import PartResult, read_results, write_results
from lightface.machine import count_cores

ROOT = Path(__file__).parents[2]
PARTS = {  # a file each, with `measure(context) -> list[Row]`
    "embedding": "Embedding: aligned face to network output",
    "detection": "Detection: photograph to faces",
    "folder": "Folder: photographs to Parquet",
    "memory": "Memory: folders of hard links, by the command",
    "search": "Search: identify in an enrolled gallery",
    "startup": "Start-up",
    "training": "Training step",
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    folder: Path = options.output or ROOT / ("runs/bench-quick" if options.quick else "bench")
    repetitions: int = options.repetitions or (2 if options.quick else 9)
    results = read_results(folder)
    for name in options.parts or PARTS:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="lightface-bench-") as work:
            photos = find_photographs(options.photos, Path(work) / "photographs")
            own = Path(work) / "work"
            own.mkdir()
            rows = _measure(name, Context(photos, repetitions, options.quick, count_cores(), own))
        today = datetime.now(UTC).date().isoformat()
        results[name] = PartResult(PARTS[name], today, repetitions, describe_machine(), tuple(rows))
        results = {part: results[part] for part in PARTS if part in results}
        write_results(folder, results)
    print(f"bench: results in {folder}", file=sys.stderr)
    return 0


def _measure(name: str, context: Context) -> list[Row]:
    try:
        rows: list[Row] = importlib.import_module(f"benchmarks.{name}").measure(context)
    except Exception as error:
        logging.exception("the part %s failed", name)
        return [Row(name, "all", "all", None, "", note=describe_failure(error))]
    return rows


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small cases, to see that all works; to runs/bench-quick")
    parser.add_argument("--repetitions", type=int, metavar="N", help="rounds that count (default 9)")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photographs to use instead of the project's own")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the results go (default: bench)")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - PARTS.keys()
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
