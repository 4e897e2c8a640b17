"""Embed folders of photographs into one table, by whichever engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from lightface.batch.job import EmbedProgress, EmbedSummary, open_job
from lightface.batch.local import LocalEngine
from lightface.errors import check_count
from lightface.faces import FaceSelection
from lightface.pipeline import FacePipeline, PhotoFaces
from lightface.sources import find_sources


class Engine(Protocol):
    """Whatever turns photographs into faces: `LocalEngine`, or `lightface.batch.ray_engine.RayEngine`."""

    def embed(
        self,
        pipeline: FacePipeline,
        paths: Sequence[Path],
        *,
        selection: FaceSelection,
        batch_size: int,
        workers: int | None,
    ) -> Generator[Sequence[PhotoFaces], None, None]:
        """One result a path, in any order, as they are ready."""
        ...


def embed_folder(
    pipeline: FacePipeline,
    paths: Iterable[Path | str],
    output: Path | str,
    *,
    selection: FaceSelection = FaceSelection.ALL,
    recursive: bool = True,
    drop_others: bool = False,
    batch_size: int = 8,
    workers: int | None = None,
    engine: Engine = LocalEngine(),
    progress: Callable[[EmbedProgress], None] | None = None,
) -> EmbedSummary:
    """Embed the photographs in `paths`, files and folders, into one table: Parquet, CSV, JSONL or NPZ by suffix.

    The table has a row for each face and one for each photograph without; its paths are absolute. Whatever stops a
    run, what it has finished lies in the journal beside the output, and the next run goes on from there; it does only
    what is new, has changed or was made by another model or other settings. Rows of photographs that are gone leave;
    of photographs that are still there, but not in `paths`, with `drop_others` only.

    Paths and output may be texts, and these URLs of any kind that fsspec has a driver for. An output that ends in a
    slash becomes a folder of Parquet parts. The journal of a URL lies in the user's data folder: see `journal_path`.

    `workers` is how many processes share the work, each with its own copy of the networks; on a GPU, which one process
    keeps busy, how many threads decode for it. None: one for fewer than 500 photographs, else as many as there are
    cores and memory for; of `RayEngine`, as many as the cluster has room for. Batches of `batch_size` photographs are
    handed out, so that neither memory nor the table depend on it.
    `progress` hears of each batch, and once before the first.

    Processes import the program that called: keep the call under `if __name__ == "__main__":`, or set `workers=1`.

    Raises ImageError for a path that is missing or no photograph at all, OutputError where the output cannot be
    written, another run is writing it or it has rows that may not be dropped, RemoteError where another machine does
    not do what is asked of it, ConfigError where `batch_size` or `workers` is no whole number of 1 or more.
    """
    check_count("batch_size", batch_size)
    if workers is not None:
        check_count("workers", workers)
    with open_job(output, pipeline, selection=selection) as job:
        plan = job.plan(find_sources(paths, recursive=recursive), drop_others=drop_others)
        report = progress or _ignore
        report(job.progress())
        with closing(
            engine.embed(pipeline, plan.todo, selection=selection, batch_size=batch_size, workers=workers)
        ) as batches:
            for batch in batches:
                job.record(batch)
                report(job.progress())
        return job.finish()


def _ignore(progress: EmbedProgress) -> None:
    """For a caller who does not ask."""
