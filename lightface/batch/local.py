"""Embed a folder on this machine: from this process, or a large folder on the CPU from several."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from lightface.batch.processes import embed_in_processes
from lightface.faces import FaceSelection
from lightface.pipeline import FacePipeline, PhotoFaces
from lightface.processor import count_cores

# Fewer photographs are done by one process of many threads before others have started and loaded their networks. On
# two cores, 205 take 4.3 s by one and 6.7 s by two (`scripts/bench folder`, 24 November 2026), 1,230 30.1 s and 26.1 s
# (`lightface embed --workers`).
_MANY_PHOTOS: Final = 500
BYTES_A_PROCESS: Final = 2 << 30  # with photographs from a telephone in hand
_MOST_DECODERS: Final = 8  # beside one GPU


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """This process, or several: see `embed_folder`."""

    def embed(
        self,
        pipeline: FacePipeline,
        paths: Sequence[Path],
        *,
        selection: FaceSelection,
        batch_size: int,
        workers: int | None,
    ) -> Generator[Sequence[PhotoFaces], None, None]:
        """One result a path, in their order."""
        with closing(_embed(pipeline, paths, selection, batch_size, workers)) as photos:
            while batch := list(islice(photos, batch_size)):
                yield batch


def _embed(
    pipeline: FacePipeline, paths: Sequence[Path], selection: FaceSelection, batch_size: int, workers: int | None
) -> Generator[PhotoFaces, None, None]:
    cores = count_cores()
    if pipeline.embedder.device.type != "cpu":
        decoders = min(cores, _MOST_DECODERS) if workers is None else workers
        yield from pipeline.embed_paths(paths, selection=selection, batch_size=batch_size, workers=decoders)
        return
    if workers is None:
        workers = min(cores, count_memory() // BYTES_A_PROCESS) if len(paths) >= _MANY_PHOTOS else 1
    workers = min(workers, -(-len(paths) // batch_size))
    if workers > 1:
        yield from embed_in_processes(pipeline, paths, selection=selection, batch_size=batch_size, workers=workers)
    else:
        yield from pipeline.embed_paths(paths, selection=selection, batch_size=batch_size)


def count_memory() -> int:
    """Bytes of this machine; no limit where it does not tell."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62
