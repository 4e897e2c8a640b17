"""Embed a folder on this machine, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from lightface.batch.job import EmbedProgress, EmbedSummary, open_job
from lightface.faces import FaceSelection
from lightface.images import find_photos
from lightface.pipeline import FacePipeline


def embed_folder(
    pipeline: FacePipeline,
    paths: Iterable[Path],
    output: Path,
    *,
    selection: FaceSelection = FaceSelection.ALL,
    recursive: bool = True,
    batch_size: int = 8,
    workers: int = 2,
    progress: Callable[[EmbedProgress], None] | None = None,
) -> EmbedSummary:
    """Embed the photographs in `paths`, files and folders, into one table: Parquet, CSV, JSONL or NPZ by suffix.

    The table has a row for each face and one for each photograph without; its paths are absolute. Whatever stops a
    run, what it has finished lies in the journal beside the output, and the next run goes on from there; it does only
    what is new, has changed or was made by another model or other settings. Rows of photographs that are gone leave.

    `workers` threads read and decode ahead while `batch_size` photographs at a time are embedded and recorded, so
    that memory does not grow with the folder. `progress` hears of each batch, and once before the first.

    Raises ImageError for a path that is missing or no photograph at all, and OutputError where the output cannot be
    written or another run is writing it.
    """
    with open_job(output, pipeline, selection=selection) as job:
        plan = job.plan(find_photos(paths, recursive=recursive))
        photos = pipeline.embed_paths(plan.todo, selection=selection, batch_size=batch_size, workers=workers)
        report = progress or _ignore
        report(job.progress())
        while batch := list(islice(photos, batch_size)):
            job.record(batch)
            report(job.progress())
        return job.finish()


def _ignore(progress: EmbedProgress) -> None:
    """For a caller who does not ask."""
