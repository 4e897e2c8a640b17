"""Who is nearest, among 10^4 to 10^6 people: a gallery's search against FAISS and numpy, which have all rows in memory.

Ours is what `identify` does for each face once it is embedded, on a gallery in SQLite. Either all templates are in
memory, or the index tells who can be near, and their samples are read and compared. Rows are drawn with the mean and
the covariance of real embeddings. Also the way from a closed gallery to the first answer, with the index's file and
without.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle
from operator import itemgetter
from pathlib import Path

import numpy as np

from benchmarks.figures import Context, Row, race
from lightface.alignment import accept_aligned
from lightface.embedding import Embedder
from lightface.gallery import Gallery, Person, StoredSample, open_gallery, search_index
from lightface.gallery.sqlite import open_sqlite_store
from lightface.images import decode_photo
from lightface.matching import DecisionBands, rank_people
from lightface.models.weights import load_model
from lightface.records import FloatArray, IntArray

RESEARCH_CROPS = Path(__file__).parents[3] / "shared" / "data" / "dev-00.zip"  # beside a maintainer's checkout
MODEL_ID = "benchmark"
NEAREST = 5
PROBES = 32
SIZE = 256

Query = Callable[[FloatArray], IntArray]  # (1, 256) -> positions of the nearest, best first


def measure(context: Context) -> list[Row]:
    draw = _learn_rows(crops=100 if context.quick else 2000)
    rows: list[Row] = []
    for count in [2_000, 30_000] if context.quick else [10_000, 100_000, 1_000_000]:
        case = _Case.make(draw, count, context.work / f"{count}.sqlite")
        rows += case.measure_queries(context)
        rows += case.measure_starts(context)
        case.path.unlink()
    return rows


@dataclass(frozen=True, slots=True)
class _Rows:
    """Draws unit rows like real embeddings."""

    mean: FloatArray
    spread: FloatArray  # (256, 256); times a standard normal row
    source: str

    def __call__(self, rng: np.random.Generator, count: int) -> FloatArray:
        rows = np.empty((count, SIZE), np.float32)
        for start in range(0, count, 50_000):
            part = rows[start : start + 50_000]
            part[:] = self.mean + rng.standard_normal(part.shape, np.float32) @ self.spread
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        return rows


@dataclass(frozen=True, slots=True)
class _Case:
    rows: FloatArray
    probes: FloatArray  # half of them of people who are enrolled, half of strangers
    source: str
    path: Path

    @classmethod
    def make(cls, draw: _Rows, count: int, path: Path) -> _Case:
        rng = np.random.default_rng(0)
        rows = draw(rng, count)
        known = rows[rng.choice(count, PROBES // 2)] + 0.6 * draw(rng, PROBES // 2)
        known /= np.linalg.norm(known, axis=1, keepdims=True)
        _enroll(rows, path)
        return cls(rows, np.concatenate([known, draw(rng, PROBES // 2)]), draw.source, path)

    def measure_queries(self, context: Context) -> list[Row]:
        made: dict[str, Query] = {}

        def timed(name: str, build: Callable[[], Query]) -> Callable[[], Callable[[], object]]:
            def prepare() -> Callable[[], object]:
                made[name], turn = build(), cycle(self.probes)
                return lambda: made[name](next(turn)[None])

            return prepare

        with _open(self.path, codes_from=1) as indexed, _open(self.path, codes_from=10**9) as whole:
            builders: dict[str, Callable[[], Query]] = {
                "lightface index": lambda: lambda probe: _ask(indexed, probe),
                "lightface templates": lambda: lambda probe: _ask(whole, probe),
                "FAISS flat": lambda: _faiss(self.rows, "Flat"),
                "FAISS fp16": lambda: _faiss(self.rows, "SQfp16"),
                "numpy": lambda: lambda probe: rank_people((probe @ self.rows.T)[0], NEAREST),
            }
            measured = race(
                {name: timed(name, build) for name, build in builders.items()},
                part="search",
                case=f"{len(self.rows):,} people",
                per="query",
                ours="lightface index",
                context=replace(context, repetitions=3 * context.repetitions),
                warm_up=2,
            )
            exact = [set(np.argsort(-(self.rows @ probe), kind="stable")[:NEAREST]) for probe in self.probes]
            recalls = {
                name: np.mean([len(exact[n] & set(made[name](probe[None]))) for n, probe in enumerate(self.probes)])
                for name in made
            }
        return [
            replace(row, note=row.note or self.source, extra={"recall": float(recalls[row.contender]) / NEAREST})
            if row.seconds is not None
            else row
            for row in measured
        ]

    def measure_starts(self, context: Context) -> list[Row]:
        """Each in processes of its own, in turns; a row is the median one of them."""
        index = Path(f"{self.path}.index")
        ways = {"lightface index": "index", "lightface, index made anew": "made", "lightface, all samples read": "all"}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(min(3, context.repetitions)):
            for name, way in ways.items():
                if way == "made":
                    index.unlink(missing_ok=True)
                command = [sys.executable, "-c", _START, str(self.path), way]
                found[name].append(json.loads(subprocess.check_output(command)))
        starts = {name: sorted(runs, key=itemgetter("seconds"))[len(runs) // 2] for name, runs in found.items()}
        ours = starts["lightface index"]["seconds"]
        case = f"{len(self.rows):,} people, first answer of a new process"
        rows = []
        for name, start in starts.items():
            seconds = start.pop("seconds")
            rows.append(Row("search", case, name, seconds, "start", ratio=seconds / ours, extra=start))
        return rows


# Imports are left out of the time, for `identify` has torch by then. Memory in megabytes: own, and mapped from files.
_START = """if True:
    import json, sys, time
    from pathlib import Path
    import numpy as np, torch
    from lightface.gallery import open_gallery
    from lightface.gallery import search_index
    from lightface.matching import DecisionBands

    def memory():
        lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return [int(lines[name].split()[0]) / 1000 for name in ("RssAnon", "RssFile", "VmHWM")]

    path, way = sys.argv[1:]
    probe = np.zeros((1, 256), np.float32)
    probe[0, 0] = 1
    before, began = memory(), time.perf_counter()
    with open_gallery(Path(path)) as gallery:
        search_index.PAYS_FROM = 10**9 if way == "all" else 1
        gallery.search(probe, bands=DecisionBands(0.4))
        seconds, after = time.perf_counter() - began, memory()
    names = ("MB", "mapped MB", "peak MB")
    print(json.dumps({"seconds": seconds, **{name: b - a for name, a, b in zip(names, before, after)}}))
"""


@contextmanager
def _open(path: Path, *, codes_from: int) -> Iterator[Gallery]:
    """A gallery that is searched by codes if it has so many people, and otherwise by all templates."""
    usual = search_index.PAYS_FROM
    with open_gallery(path) as gallery:
        search_index.PAYS_FROM = codes_from  # type: ignore[misc]
        gallery.search(np.eye(1, SIZE, dtype=np.float32), bands=DecisionBands(0.4))
        search_index.PAYS_FROM = usual  # type: ignore[misc]
        yield gallery


def _ask(gallery: Gallery, probe: FloatArray) -> IntArray:
    (found,) = gallery.search(probe, bands=DecisionBands(0.4), limit=NEAREST)
    return np.array([one.person_id - 1 for one in found.candidates])


def _faiss(rows: FloatArray, description: str) -> Query:
    import faiss

    index = faiss.index_factory(SIZE, description, faiss.METRIC_INNER_PRODUCT)
    index.train(rows[:10_000])
    index.add(rows)
    return lambda probe: np.asarray(index.search(probe, NEAREST)[1][0])


def _enroll(rows: FloatArray, path: Path) -> None:
    """A person for each row, whose id is its position plus 1. By a gallery's own rules a million would take an hour."""
    store, now = open_sqlite_store(path, create=True), datetime.now(UTC)
    for start in range(0, len(rows), 20_000):
        people = [
            Person(start + n + 1, f"Person {start + n}", {}, now) for n in range(len(rows[start : start + 20_000]))
        ]
        with store.writing():
            store.insert_people(people)
            store.insert_samples(
                StoredSample(
                    vector=rows[person.id - 1],
                    model_id=MODEL_ID,
                    source_path=f"/photos/{person.id}.jpg",
                    image_sha256=hashlib.sha256(person.name.encode()).hexdigest(),
                    id=person.id,
                    person_id=person.id,
                )
                for person in people
            )
            store.set_setting("model_id", MODEL_ID)
    store.close()


def _learn_rows(crops: int) -> _Rows:
    if not RESEARCH_CROPS.exists():
        # Of the weights shipped in November 2026, on research crops: variances fall about as 1 / (1 + i / 20).
        variances = 1 / (1 + np.arange(SIZE) / 20)
        return _Rows(np.zeros(SIZE, np.float32), np.diag(np.sqrt(variances)).astype(np.float32), "made-up spectrum")
    vectors = _embed_crops(crops)
    covariance = np.cov(vectors.T.astype(np.float64))
    spread = np.linalg.cholesky(covariance + 1e-6 * np.trace(covariance) / SIZE * np.eye(SIZE)).T
    return _Rows(vectors.mean(axis=0), spread.astype(np.float32), f"rows as of {len(vectors)} real crops")


def _embed_crops(count: int) -> FloatArray:
    with zipfile.ZipFile(RESEARCH_CROPS) as archive:
        names = archive.namelist()
        chosen: Sequence[str] = names[:: max(1, len(names) // count)][:count]
        crops = [accept_aligned(decode_photo(archive.read(name), name=name)) for name in chosen]
    return Embedder(load_model(), device="cpu").embed(crops)
