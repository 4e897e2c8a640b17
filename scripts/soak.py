"""Inject every fault many times, feed many hostile files, and put what was counted into docs/reliability.md.

Run by scripts/soak. A part is a file of tests in tests/faults or tests/hostile; as many run at once as there are cores.
Parts that are run alone replace their own rows of the table.
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
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

PAGE = Path("docs/reliability.md")
BEGIN, END = "<!-- The table is written by scripts/soak. -->", "<!-- End of the table. -->"
RECORDS = Path("runs/soak")  # what each part has counted, a JSON line a test
PARTS = {
    path.stem.removeprefix("test_"): path
    for name in ("faults", "hostile")
    for path in Path("tests", name).glob("test_*.py")
}
ROUNDS_AT_ONCE = 10  # of a soak that goes by minutes


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"of {', '.join(sorted(PARTS))}")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--rounds", type=int, default=50, metavar="N", help="inject each fault N times (default: 50)")
    length.add_argument("--minutes", type=float, metavar="M", help="go on for so long, by rounds of other seeds")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of the first rounds")
    arguments = parser.parse_args()

    RECORDS.mkdir(parents=True, exist_ok=True)
    parts = arguments.parts or sorted(PARTS)
    for part in parts:
        _record_of(part).unlink(missing_ok=True)
    ends_s = time.monotonic() + 60 * (arguments.minutes or 0)
    rounds, seed = arguments.rounds if arguments.minutes is None else ROUNDS_AT_ONCE, arguments.seed
    while True:
        with ThreadPoolExecutor(os.cpu_count()) as executor:
            failed = [part for part in executor.map(partial(_inject, rounds=rounds, seed=seed), parts) if part]
        if failed:
            again = f"scripts/soak {' '.join(failed)} --rounds {rounds} --seed {seed}"
            sys.exit(f"soak: something was lost or wrong, see {RECORDS}/*.log; again: {again}")
        if time.monotonic() >= ends_s:
            break
        seed += 1
    _write()


def _record_of(part: str) -> Path:
    return RECORDS / f"{part}.jsonl"


def _inject(part: str, *, rounds: int, seed: int) -> str | None:
    """Run one part; its name if it failed."""
    options = ["--soak-rounds", str(rounds), "--soak-seed", str(seed), "--soak-record", str(_record_of(part))]
    if PARTS[part].parent.name == "hostile":  # where the profiles are
        options += ["--hypothesis-profile", "short-soak", "--hypothesis-seed", str(seed)]
    command = [sys.executable, "-m", "pytest", str(PARTS[part]), *options]
    started_s = time.monotonic()
    with (RECORDS / f"{part}.log").open("w") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    outcome = "failed" if status else "done"
    print(f"soak: {part} {outcome} in {(time.monotonic() - started_s) / 60:.1f} minutes", file=sys.stderr)
    with _record_of(part).open("a", encoding="utf-8") as record:
        record.write(json.dumps({"measured": _describe(rounds, seed)}) + "\n")
    return part if status else None


def _describe(rounds: int, seed: int) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    day = datetime.now(UTC)
    return f"{day.day} {day:%B %Y}, {rounds} rounds, seed {seed}, commit {commit.stdout.strip()}"


def _write() -> None:
    lines = [json.loads(line) for path in sorted(RECORDS.glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    measured = dict.fromkeys(line["measured"] for line in lines if "measured" in line)
    figures = _add_up([line for line in lines if "fault" in line])
    table = ["| fault | where | times | lost or wrong |", "|---|---|---:|---:|"]
    for row in figures:
        worst = ", ".join(f"{value:,.3g} {what}" for what, value in row["worst"].items())
        where = f"{row['where']} (at most {worst})" if worst else row["where"]
        table.append(f"| {row['fault']} | {where} | {row['injected']:,} | {row['wrong']:,} |")
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    described = (
        f"Measured with {system}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores: {'; '.join(measured)}."
    )
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    text = "\n".join([f"{before}{BEGIN}", "", described, "", *table, "", f"{END}{after}"])
    PAGE.write_text(text, encoding="utf-8")
    print(f"soak: {sum(row['injected'] for row in figures):,} faults; the figures are in {PAGE}", file=sys.stderr)


def _add_up(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each fault and place."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        total = sums.setdefault((row["fault"], row["where"]), {**row, "injected": 0, "wrong": 0, "worst": {}})
        total["injected"] += row["injected"]
        total["wrong"] += row["wrong"]
        for what, value in row["worst"].items():
            total["worst"][what] = max(value, total["worst"].get(what, value))
    return [sums[key] for key in sorted(sums)]


if __name__ == "__main__":
    main()
