"""The frame of scripts/bench: contenders take turns, a peer's failure is a note, results can be read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs the extra 'demo'")
pytest.importorskip("skimage", reason="needs the extra 'demo'")

from benchmarks import main
from benchmarks.figures import Context, Row, describe_failure, race
from benchmarks.machine import Machine, describe_machine
from benchmarks.report import PartResult, format_results, format_time, read_results, write_results
from benchmarks.timing import Timing, compare

MACHINE = Machine("Some CPU", 2, "", "3.12.0", {"torch": "2.9.0"})


class FakeClock:
    """Time that passes only where a contender says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contender(self, name: str, *seconds: float) -> Callable[[], None]:
        left = list(seconds)

        def call() -> None:
            self.calls.append(name)
            self.now += left.pop(0)

        return call


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context([], repetitions=3, quick=True, threads=1, work=tmp_path)


def test_contenders_take_turns_and_another_one_begins_each_round() -> None:
    clock = FakeClock()
    contenders = {name: clock.contender(name, 9, 1, 2, 3) for name in "abc"}
    timings = compare(contenders, repetitions=3, warm_up=1, clock=clock)
    assert "".join(clock.calls) == "cab" + "abc" + "bca" + "cab"
    assert timings["a"].rounds_s == (1, 2, 3)  # without the warm-up
    assert compare({}, repetitions=3) == {}


def test_a_ratio_is_taken_within_each_round() -> None:
    # Everything takes ten times as long in the second round, which must not count.
    ours, theirs = Timing((1.0, 10.0, 1.0)), Timing((3.0, 30.0, 2.0))
    assert theirs.ratio_to(ours) == 3
    assert (theirs.median_s, theirs.low_s, theirs.high_s) == (3, 2, 30)


def test_a_race_gives_rows_per_unit_and_notes_for_those_that_fail(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("benchmarks.figures.compare", lambda *args, **named: compare(*args, **named, clock=clock))

    def missing() -> Callable[[], object]:
        import no_such_peer  # type: ignore[import-not-found]

        return no_such_peer.run  # type: ignore[no-any-return]

    def broken() -> Callable[[], object]:
        return lambda: 1 / 0

    rows = race(
        {
            "lightface bf16": lambda: clock.contender("ours", *[2.0] * 9),
            "peer": lambda: clock.contender("peer", *[8.0] * 9),
            "missing": missing,
            "broken": broken,
        },
        part="embedding",
        case="batch 4",
        per="face",
        ours="lightface bf16",
        context=context,
        units=4,
    )
    assert [(row.contender, row.seconds, row.ratio) for row in rows] == [
        ("lightface bf16", 0.5, None),
        ("peer", 2.0, 4.0),
        ("missing", None, None),
        ("broken", None, None),
    ]
    assert rows[2].note == "no_such_peer is not installed"
    assert rows[3].note == "failed: ZeroDivisionError division by zero"


def test_a_note_names_no_path_of_the_machine() -> None:
    assert (
        describe_failure(OSError("cannot open /home/ada/models/x.dat: gone")) == "failed: OSError cannot open ... gone"
    )


def make_result(*rows: Row) -> PartResult:
    return PartResult("Embedding", "2026-11-24", 9, MACHINE, rows)


def test_the_table_says_what_was_measured_and_where() -> None:
    rows = (
        Row("embedding", "batch 1", "lightface bf16", 0.0123, "face", low=0.012, high=0.02, extra={"cosine": 0.9998}),
        Row("embedding", "batch 1", "plain | torch", 0.041, "face", ratio=3.3333, low=0.04, high=0.05),
        Row("embedding", "batch 1", "peer", None, "face", note="peer is not installed"),
    )
    text = format_results({"embedding": make_result(*rows)})
    assert "| batch 1 | lightface bf16 | 12.3 ms per face | 12 ms to 20 ms |  | cosine 0.9998 |" in text
    assert "| batch 1 | plain / torch | 41 ms per face | 40 ms to 50 ms | 3.33 |  |" in text
    assert "| batch 1 | peer |  |  |  | peer is not installed |" in text
    assert "2026-11-24, 9 rounds: Some CPU, 2 cores, Python 3.12.0, torch 2.9.0." in text


@pytest.mark.parametrize(("seconds", "text"), [(12.345, "12.3 s"), (0.0205, "20.5 ms"), (4.2e-05, "42 us")])
def test_times_are_in_the_unit_that_suits(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


def test_results_are_read_again_as_they_were_written(tmp_path: Path) -> None:
    assert read_results(tmp_path) == {}
    measured = Row("embedding", "a", "lightface", 0.5, "face", extra={"cosine": 1.0})
    results = {"embedding": make_result(measured, Row("embedding", "a", "peer", None, "face", note="failed"))}
    write_results(tmp_path / "bench", results)
    assert read_results(tmp_path / "bench") == results
    assert (tmp_path / "bench" / "results.png").read_bytes().startswith(b"\x89PNG")
    write_results(tmp_path / "bench", {"search": make_result()})  # nothing to plot
    assert read_results(tmp_path / "bench").keys() == {"search"}


def test_the_machine_is_described_without_its_name() -> None:
    machine = describe_machine()
    assert machine.cores >= 1 and machine.processor
    assert f"torch {machine.versions['torch']}" in machine.describe()


def test_a_part_replaces_its_own_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "find_photographs", lambda folder, drawn: [])
    seconds = iter([1.0, 2.0])

    def measure(name: str, context: Context) -> list[Row]:
        return [Row(name, "all", "lightface", next(seconds), "query")]

    monkeypatch.setattr(main, "_measure", measure)
    write_results(tmp_path, {"embedding": make_result(Row("embedding", "a", "lightface", 0.5, "face"))})
    for expected in (1.0, 2.0):
        assert main.main(["search", "--output", str(tmp_path)]) == 0
        results = read_results(tmp_path)
        assert list(results) == ["embedding", "search"]
        assert results["embedding"].rows[0].seconds == 0.5
        assert results["search"].rows[0].seconds == expected


def test_a_part_that_fails_is_a_row_with_a_note(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.embedding.measure", lambda context: 1 / 0)
    (row,) = main._measure("embedding", context)
    assert row.note == "failed: ZeroDivisionError division by zero"


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["speed"])
    assert "unknown part speed; choose from embedding, detection" in capsys.readouterr().err


def test_the_embedding_part_holds_every_contender_to_fp32(tmp_path: Path) -> None:
    assert main.main(["embedding", "--quick", "--repetitions", "1", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["embedding"]["rows"]
    ours = [row for row in rows if row["contender"].startswith("lightface")]
    assert {row["contender"] for row in ours} == {"lightface bf16", "lightface fp32"}
    for row in rows:
        assert row["seconds"] is not None or "installed" in row["note"], row
        if row["seconds"] is not None:
            assert row["extra"]["cosine"] >= (0.999 if "bf16" in row["contender"] else 0.99999), row
