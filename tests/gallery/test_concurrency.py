"""Several processes on one gallery, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from made_up import make_sample

from lightface.errors import DuplicateFaceError, IdentityConflictError, LightfaceError
from lightface.gallery import Gallery, open_gallery

PROCESSES = 6
ROUNDS = 15


@pytest.fixture(params=["gallery_path", "postgres_url"])  # other processes would have to be told a key
def place(request: pytest.FixtureRequest) -> Path | str:
    found: Path | str = request.getfixturevalue(request.param)
    return found


def enroll_many(path: Path | str, worker: int, outcomes: Queue[str]) -> None:
    """Enroll photographs of one's own and ones that every worker wants, from the creation of the file on."""
    for round_number in range(ROUNDS):
        try:
            with open_gallery(path, model_id="model-a", create=True) as gallery:
                gallery.enroll(f"Person {worker}", [make_sample(1000 * worker + round_number)])
                gallery.enroll("Everybody's", [make_sample(round_number)])
        except DuplicateFaceError:
            outcomes.put("duplicate")
        except LightfaceError as error:
            outcomes.put(f"worker {worker}, round {round_number}: {error}")
        else:
            outcomes.put("first")
    outcomes.close()


def claim_all(path: Path | str, worker: int, outcomes: Queue[str]) -> None:
    """Everybody claims the same photographs for a person of their own."""
    with open_gallery(path, model_id="model-a", create=True) as gallery:
        for photo in range(ROUNDS):
            try:
                gallery.enroll(f"Person {worker}", [make_sample(photo)])
                outcomes.put("first")
            except IdentityConflictError:
                outcomes.put("conflict")
    outcomes.close()


def watch(path: Path | str, worker: int, outcomes: Queue[str]) -> None:
    """Read until all have been enrolled; never fewer samples than before, and every one with its person."""
    seen = 0
    try:
        with open_gallery(path, create=True) as gallery:
            while seen < PROCESSES * ROUNDS:
                matrix = gallery.matrix()
                if len(matrix.vectors) < seen or len(matrix.person_index) != len(matrix.vectors):
                    outcomes.put(f"{len(matrix.vectors)} samples after {seen}")
                    return
                seen = len(matrix.vectors)
        outcomes.put("watched")
    except LightfaceError as error:
        outcomes.put(f"watcher: {error}")
    outcomes.close()


def enroll_remove(path: Path | str, worker: int, outcomes: Queue[str]) -> None:
    """Every removal rewrites the file and empties the log, in the middle of the others' work."""
    try:
        with open_gallery(path, model_id="model-a", create=True) as gallery:
            for round_number in range(5):
                gallery.enroll(f"Passing {worker}", [make_sample(5000 + 100 * worker + round_number)])
                gallery.remove_person(f"Passing {worker}")
                gallery.enroll(f"Staying {worker}", [make_sample(7000 + 100 * worker + round_number)])
        outcomes.put("done")
    except LightfaceError as error:
        outcomes.put(f"worker {worker}: {error}")
    outcomes.close()


def outcomes_of(path: Path | str, *targets: object) -> list[str]:
    """Run one process a target at the same time and collect what they report."""
    context = multiprocessing.get_context("spawn")
    outcomes: Queue[str] = context.Queue()
    processes = [
        context.Process(target=target, args=(path, worker, outcomes))  # type: ignore[arg-type]
        for worker, target in enumerate(targets, start=1)
    ]
    for process in processes:
        process.start()
    collected = []
    while any(process.is_alive() for process in processes) or not outcomes.empty():
        if outcomes.empty():
            time.sleep(0.01)
        else:
            collected.append(outcomes.get())
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return sorted(collected)


def check_soundness(path: Path | str) -> None:
    if isinstance(path, str):  # a server sees to it by itself
        return
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_who_opens_while_the_first_is_enrolled_is_not_told_of_damage(
    place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model and the embeddings are read one after the other: as of one moment."""
    with open_gallery(place, model_id="model-a", create=True) as opened, open_gallery(place) as other:
        model_of = opened._store.setting

        def read_and_wait(name: str) -> str | None:
            model_id = model_of(name)
            if other.is_empty:
                other.enroll("Ada", [make_sample(0)])
            return model_id

        monkeypatch.setattr(opened._store, "setting", read_and_wait)
        opened.check_model()
        assert not other.is_empty


def test_many_enroll_while_others_watch(place: Path | str) -> None:
    path = place
    targets = [enroll_many] * PROCESSES + [watch] * 2
    outcomes = outcomes_of(path, *targets)
    assert Counter(outcomes) == {"duplicate": (PROCESSES - 1) * ROUNDS, "first": ROUNDS, "watched": 2}
    with open_gallery(path) as gallery:
        assert len(gallery.samples("Everybody's")) == ROUNDS
        for worker in range(1, PROCESSES + 1):
            assert len(gallery.samples(f"Person {worker}")) == ROUNDS
    check_soundness(path)


def test_a_photograph_claimed_by_all_goes_to_one(place: Path | str) -> None:
    path = place
    outcomes = outcomes_of(path, *[claim_all] * 4)
    assert outcomes == ["conflict"] * 3 * ROUNDS + ["first"] * ROUNDS
    with open_gallery(path) as gallery:
        assert len(gallery.samples()) == ROUNDS


def test_removing_does_not_disturb_others(place: Path | str) -> None:
    path = place
    assert outcomes_of(path, *[enroll_remove] * 4) == ["done"] * 4
    with open_gallery(path) as gallery:
        assert [person.name for person in gallery.people()] == [f"Staying {worker}" for worker in (1, 2, 3, 4)]
        assert gallery.stats().sample_count == 20
    if isinstance(path, Path):
        assert b"assing" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


class TestKill:
    """A process killed at any moment: whatever it had reported stays, nothing stands half done."""

    script = """
import sys
sys.path.insert(0, sys.argv[2])
from made_up import make_sample
from lightface.gallery import open_gallery
with open_gallery(sys.argv[1], model_id="model-a", create=True) as gallery:
    start = gallery.stats().person_count
    for number in range(start, start + 10_000):
        gallery.enroll(f"Person {number}", [make_sample(number * 3 + n) for n in range(3)])
        print(number, flush=True)
        if number % 4 == 3:
            gallery.merge_people(f"Person {number - 1}", f"Person {number}")
            gallery.rename_person(f"Person {number}", f"Merged {number}")
            gallery.enroll(f"Person {number - 1}", [make_sample(900_000 + number * 3 + n) for n in range(3)])
"""

    def run_and_kill(self, path: Path | str, delay: float) -> list[int]:
        """The numbers that were reported before the kill, `delay` seconds after the first."""
        process = subprocess.Popen(
            [sys.executable, "-c", self.script, path, Path(__file__).parent], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(delay)
        process.kill()
        rest, _ = process.communicate()
        return [int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]

    @pytest.mark.parametrize("seed", range(6))
    def test_nothing_reported_is_lost_and_nothing_is_half_done(self, tmp_path: Path, seed: int) -> None:
        self.kill_twice(tmp_path / "g.sqlite", seed)

    @pytest.mark.parametrize("seed", range(2))
    def test_nor_on_a_server(self, postgres_url: str, seed: int) -> None:
        self.kill_twice(postgres_url, seed)

    def kill_twice(self, path: Path | str, seed: int) -> None:
        delays = random.Random(seed)
        for _ in range(2):  # the second process carries on with what the first one left
            reported = self.run_and_kill(path, delays.uniform(0, 0.3))
            check_soundness(path)
            with open_gallery(path, model_id="model-a") as gallery:
                self.check_contents(gallery, reported)

    def check_contents(self, gallery: Gallery, reported: list[int]) -> None:
        counts = gallery.stats().samples_per_person
        names = {person.name: counts[person.id] for person in gallery.people()}
        assert set(names.values()) <= {3, 6}
        for number in reported:
            kept = names.get(f"Person {number}") or names.get(f"Merged {number}")
            merged = names.get(f"Person {number + 1}") == 6 or f"Merged {number + 1}" in names
            assert kept or merged, f"person {number} is lost"
        hashes = [sample.image_sha256 for sample in gallery.samples()]
        assert len(hashes) == len(set(hashes))
