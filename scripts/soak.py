"""Run the tests of faults and of hostile files with many rounds, and put what they counted into docs/reliability.md.

Run by scripts/soak.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PAGE = Path("docs/reliability.md")
BEGIN, END = "<!-- The table is written by scripts/soak. -->", "<!-- End of the table. -->"
ROUNDS_AT_ONCE = 10  # of a soak that goes by minutes


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--rounds", type=int, default=50, metavar="N", help="inject each fault N times (default: 50)")
    length.add_argument("--minutes", type=float, metavar="M", help="go on for so long, by rounds of other seeds")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of the first rounds")
    arguments = parser.parse_args()

    started_s = time.monotonic()
    rounds = arguments.rounds if arguments.minutes is None else ROUNDS_AT_ONCE
    seed = arguments.seed
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.jsonl")
        while True:
            _inject(rounds, seed, record)
            minutes = (time.monotonic() - started_s) / 60
            if arguments.minutes is None or minutes >= arguments.minutes:
                break
            seed += 1
        figures = _add_up([json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()])
    _write(figures, _describe(minutes, range(arguments.seed, seed + 1)))


def _inject(rounds: int, seed: int, record: Path) -> None:
    print(f"soak: {rounds} rounds with seed {seed}", file=sys.stderr)
    options = ["--soak-rounds", str(rounds), "--soak-seed", str(seed), "--soak-record", str(record)]
    profile = ["--hypothesis-profile", "short-soak", "--hypothesis-seed", str(seed)]
    command = [sys.executable, "-m", "pytest", "tests/faults", "tests/hostile", "-x", *options, *profile]
    status = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode
    if status:
        sys.exit(f"soak: something was lost or wrong; again: scripts/soak --rounds {rounds} --seed {seed}")


def _add_up(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each fault and place, in the order of the tests."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        total = sums.setdefault((row["fault"], row["where"]), {**row, "injected": 0, "wrong": 0, "worst": {}})
        total["injected"] += row["injected"]
        total["wrong"] += row["wrong"]
        for what, value in row["worst"].items():
            total["worst"][what] = max(value, total["worst"].get(what, value))
    return sorted(sums.values(), key=lambda row: str(row["fault"]))  # stable


def _describe(minutes: float, seeds: range) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    day = datetime.now(UTC)
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    return (
        f"Measured on {day.day} {day:%B %Y} in {minutes:.0f} minutes, {seed}, at commit {commit.stdout.strip()}: "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores."
    )


def _write(figures: list[dict[str, Any]], described: str) -> None:
    lines = ["| fault | where | times | lost or wrong |", "|---|---|---:|---:|"]
    for row in figures:
        worst = ", ".join(f"{value:,.3g} {what}" for what, value in row["worst"].items())
        where = f"{row['where']} (at most {worst})" if worst else row["where"]
        lines.append(f"| {row['fault']} | {where} | {row['injected']:,} | {row['wrong']:,} |")
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}\n\n{described}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    print(f"soak: {sum(row['injected'] for row in figures):,} faults, figures are in {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
