"""One gallery and many threads: any of them may call anything, close it, or be the child of a fork."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest
from made_up import make_sample, make_vector

from lightface.errors import DuplicateFaceError, GalleryError
from lightface.gallery import Gallery, StoredThreshold, open_gallery
from lightface.matching import DecisionBands

THREADS = 8

CALLS: list[Callable[[Gallery], object]] = [
    Gallery.people,
    Gallery.samples,
    Gallery.matrix,
    Gallery.stats,
    Gallery.thresholds,
    lambda gallery: gallery.log.entries(),
    lambda gallery: gallery.retention.expired(),
    lambda gallery: gallery.model_id,
    lambda gallery: gallery.is_empty,
    lambda gallery: gallery.find_person("ada"),
    lambda gallery: gallery.find_enrolled(make_sample(1).image_sha256),
    lambda gallery: gallery.matrix_near(make_vector(1)[np.newaxis], 1),
    lambda gallery: gallery.search(make_vector(1)[np.newaxis], bands=DecisionBands(0.4)),
    lambda gallery: gallery.log.set_days(7),
    lambda gallery: gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv")),
    lambda gallery: gallery.enroll("Bob", [make_sample(2)]),
    lambda gallery: gallery.remove_person("Bob"),
]


def test_any_call_from_any_thread(gallery: Gallery) -> None:
    gallery.enroll("Ada", [make_sample(1)])
    for call in CALLS:
        with ThreadPoolExecutor(1) as pool:  # a new thread for each
            pool.submit(call, gallery).result(timeout=600)
    assert [person.name for person in gallery.people()] == ["Ada"]


def test_opened_in_one_thread_and_closed_in_another(place: Path | str) -> None:
    with ThreadPoolExecutor(1) as pool:
        gallery = pool.submit(open_gallery, place, create=True).result(timeout=600)
    gallery.enroll("Ada", [make_sample(1)])
    with ThreadPoolExecutor(1) as pool:
        pool.submit(gallery.close).result(timeout=600)
    for call in CALLS:
        with pytest.raises(GalleryError, match=r"is closed; open it again"), ThreadPoolExecutor(1) as pool:
            pool.submit(call, gallery).result(timeout=600)
    gallery.close()  # once more, as `with` does


def test_threads_at_once_see_whole_changes(gallery: Gallery) -> None:
    """Writers enroll pairs, readers never see half of one."""
    rounds = 6
    watching = threading.Event()
    watching.set()

    def write(worker: int) -> int:
        refused = 0
        for number in range(rounds):
            first = 1000 * worker + 2 * number
            gallery.enroll(f"Person {worker}", [make_sample(first), make_sample(first + 1)])
            try:
                gallery.enroll("Everybody's", [make_sample(900_000 + 2 * number), make_sample(900_001 + 2 * number)])
            except DuplicateFaceError:
                refused += 1
        return refused

    def watch(_: int) -> int:
        seen = looks = 0
        while watching.is_set() or not looks:
            matrix = gallery.matrix()
            assert len(matrix.vectors) % 2 == 0 and len(matrix.vectors) >= seen
            assert len(matrix.people) == (matrix.person_index[-1] + 1 if len(matrix.vectors) else 0)
            assert sum(gallery.stats().samples_per_person.values()) % 2 == 0
            seen, looks = len(matrix.vectors), looks + 1
        return looks

    with ThreadPoolExecutor(THREADS) as pool:
        watchers = [pool.submit(watch, number) for number in range(2)]
        refused = sum(pool.map(write, range(1, THREADS - 1)))
        watching.clear()
        assert all(watcher.result(timeout=600) > 0 for watcher in watchers)
    assert refused == rounds * (THREADS - 3)
    assert len(gallery.samples()) == 2 * rounds * (THREADS - 1)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Gallery, Gallery]]:
    with (
        open_gallery(tmp_path / "a.sqlite", create=True) as one,
        open_gallery(tmp_path / "b.sqlite", create=True) as other,
    ):
        one.enroll("Ada", [make_sample(number) for number in range(50)])
        one.copy_to(other)
        yield one, other


def test_copies_there_and_back_do_not_wait_for_each_other(two: tuple[Gallery, Gallery]) -> None:
    one, other = two
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            copies = [pool.submit(one.copy_to, other), pool.submit(other.copy_to, one)]
            assert all(copy.result(timeout=600).was_there for copy in copies)


def test_a_change_that_takes_long_holds_up_the_others_and_fails_none(gallery: Gallery) -> None:
    gallery.enroll("Ada", [make_sample(1)])
    inside = threading.Event()

    def slowly() -> None:
        with gallery._store.writing():
            inside.set()
            time.sleep(0.3)
            gallery._store.set_setting("retention_days", "7")

    with ThreadPoolExecutor(2) as pool:
        writer = pool.submit(slowly)
        inside.wait(timeout=600)
        assert gallery.retention.days == 7  # of after the change, not of its middle
        writer.result(timeout=600)


@contextmanager
def held_by_another_thread(gallery: Gallery) -> Iterator[None]:
    """As while a fork happens in the middle of another thread's work."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with gallery._store.alone():
            taken.set()
            done.wait(timeout=600)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        taken.wait(timeout=600)
        try:
            yield
        finally:
            done.set()


def use_in_child(gallery: Gallery, said: Queue[str]) -> None:
    try:
        gallery.people()
    except GalleryError as error:
        said.put(str(error))
    gallery.close()  # must not touch what is the parent's
    said.close()


def test_a_forked_process_is_told_and_harms_nothing(gallery: Gallery, place: Path | str) -> None:
    gallery.enroll("Ada", [make_sample(1)])
    context = multiprocessing.get_context("fork")
    said: Queue[str] = context.Queue()
    with held_by_another_thread(gallery):
        child = context.Process(target=use_in_child, args=(gallery, said))
        child.start()
    try:
        assert "was opened before this process was forked; open it in this process" in said.get(timeout=600)
        child.join(timeout=600)
        assert child.exitcode == 0
    finally:
        child.kill()
    gallery.enroll("Bob", [make_sample(2)])
    with open_gallery(place) as opened:
        assert [person.name for person in opened.people()] == ["Ada", "Bob"]
