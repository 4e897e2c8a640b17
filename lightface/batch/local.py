"""Embed a folder on this machine: from this process, or a large folder on the CPU from several."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final

from lightface.batch.job import EmbedProgress, EmbedSummary, open_job
from lightface.batch.processes import embed_in_processes
from lightface.faces import FaceSelection
from lightface.images import find_photos
from lightface.pipeline import FacePipeline, PhotoFaces
from lightface.processor import count_cores

# Fewer photographs are done by one process of many threads before others have started and loaded their networks. On
# two cores, 205 take 4.3 s by one and 6.7 s by two (`scripts/bench folder`, 24 November 2026), 1,230 30.1 s and 26.1 s
# (`lightface embed --workers`).
_MANY_PHOTOS: Final = 500
_BYTES_A_PROCESS: Final = 2 << 30  # with photographs from a telephone in hand
_MOST_DECODERS: Final = 8  # beside one GPU


def embed_folder(
    pipeline: FacePipeline,
    paths: Iterable[Path],
    output: Path,
    *,
    selection: FaceSelection = FaceSelection.ALL,
    recursive: bool = True,
    batch_size: int = 8,
    workers: int | None = None,
    progress: Callable[[EmbedProgress], None] | None = None,
) -> EmbedSummary:
    """Embed the photographs in `paths`, files and folders, into one table: Parquet, CSV, JSONL or NPZ by suffix.

    The table has a row for each face and one for each photograph without; its paths are absolute. Whatever stops a
    run, what it has finished lies in the journal beside the output, and the next run goes on from there; it does only
    what is new, has changed or was made by another model or other settings. Rows of photographs that are gone leave.

    `workers` is how many processes share the work, each with its own copy of the networks; on a GPU, which one process
    keeps busy, how many threads decode for it. None: one for fewer than 500 photographs, else as many as there are
    cores and memory for. Batches of `batch_size` photographs are handed out, and recorded in order, so that neither
    memory nor the table depend on it.
    `progress` hears of each batch, and once before the first.

    Processes import the program that called: keep the call under `if __name__ == "__main__":`, or set `workers=1`.

    Raises ImageError for a path that is missing or no photograph at all, and OutputError where the output cannot be
    written or another run is writing it.
    """
    with open_job(output, pipeline, selection=selection) as job:
        plan = job.plan(find_photos(paths, recursive=recursive))
        report = progress or _ignore
        report(job.progress())
        with closing(_embed(pipeline, plan.todo, selection, batch_size, workers)) as photos:
            while batch := list(islice(photos, batch_size)):
                job.record(batch)
                report(job.progress())
        return job.finish()


def _embed(
    pipeline: FacePipeline, paths: Sequence[Path], selection: FaceSelection, batch_size: int, workers: int | None
) -> Generator[PhotoFaces, None, None]:
    cores = count_cores()
    if pipeline.embedder.device.type != "cpu":
        decoders = min(cores, _MOST_DECODERS) if workers is None else workers
        yield from pipeline.embed_paths(paths, selection=selection, batch_size=batch_size, workers=decoders)
        return
    if workers is None:
        workers = min(cores, _count_memory() // _BYTES_A_PROCESS) if len(paths) >= _MANY_PHOTOS else 1
    workers = min(workers, -(-len(paths) // batch_size))
    if workers > 1:
        yield from embed_in_processes(pipeline, paths, selection=selection, batch_size=batch_size, workers=workers)
    else:
        yield from pipeline.embed_paths(paths, selection=selection, batch_size=batch_size)


def _count_memory() -> int:
    """Bytes of this machine; no limit where it does not tell."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62


def _ignore(progress: EmbedProgress) -> None:
    """For a caller who does not ask."""
