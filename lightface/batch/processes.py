"""Embed photographs in several processes, each with a pipeline and a thread of its own.

Small convolutions gain little from a second thread and detection nothing, so that on a CPU two processes of one thread
do more than one of two. A process that dies takes no photograph with it: those it may have had in hand are tried again
one by one, and only one that ends its process once more is given up.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

from lightface.errors import ImageError
from lightface.faces import FaceSelection
from lightface.pipeline import FacePipeline, PhotoFaces
from lightface.processor import count_cores

_log = logging.getLogger(__name__)

_Results = list[PhotoFaces]


def embed_in_processes(
    pipeline: FacePipeline, paths: Sequence[Path], *, selection: FaceSelection, batch_size: int, workers: int
) -> Iterator[PhotoFaces]:
    """One result a path, in their order, as `FacePipeline.embed_paths` gives them, by `workers` processes.

    The pipeline is pickled for them. Where that cannot be, or no process comes up, this one does the work.
    """
    crew = _hire(pipeline, selection, workers)
    if crew is None:
        _log.warning("no worker process can be started; photographs are embedded in this process")
        yield from pipeline.embed_paths(paths, selection=selection, batch_size=batch_size)
        return
    todo = deque(paths[start : start + batch_size] for start in range(0, len(paths), batch_size))
    given: deque[tuple[Sequence[Path], Future[_Results]]] = deque()
    try:
        while todo or given:
            while todo and len(given) < 2 * workers:  # what is given and not yet taken back is all that is in memory
                batch = todo.popleft()
                given.append((batch, crew.embed(batch)))
            batch, future = given.popleft()
            try:
                results = future.result()
            except BrokenProcessPool:
                crew.renew()
                results = _embed_one_by_one(crew, batch)
                # Of the others, what was not finished is lost with the pool.
                given = deque((other, _resume(crew, other, done)) for other, done in given)
            yield from results
    finally:
        crew.dismiss()


class _Crew:
    """A pool of processes that can be renewed."""

    def __init__(self, pickled: bytes, selection: FaceSelection, workers: int) -> None:
        self._arguments = (pickled, selection, max(1, count_cores() // workers))
        self._workers = workers
        self._pool = self._start()

    def embed(self, paths: Sequence[Path]) -> Future[_Results]:
        try:
            return self._pool.submit(_embed, paths)
        except BrokenProcessPool as error:  # a process has just died: told when the result is asked for
            future: Future[_Results] = Future()
            future.set_exception(error)
            return future

    def renew(self) -> None:
        self.dismiss()
        self._pool = self._start()

    def dismiss(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        # spawn, for torch does not survive a fork once it has threads.
        return ProcessPoolExecutor(self._workers, get_context("spawn"), initializer=_begin, initargs=self._arguments)


def _hire(pipeline: FacePipeline, selection: FaceSelection, workers: int) -> _Crew | None:
    try:
        crew = _Crew(pickle.dumps(pipeline), selection, workers)
    except (pickle.PicklingError, TypeError, AttributeError):  # a library user's own detector, perhaps
        return None
    try:
        crew.embed([]).result()
    except BrokenProcessPool:
        crew.dismiss()
        return None
    return crew


def _resume(crew: _Crew, paths: Sequence[Path], done: Future[_Results]) -> Future[_Results]:
    return crew.embed(paths) if done.cancelled() or done.exception() is not None else done


def _embed_one_by_one(crew: _Crew, paths: Sequence[Path]) -> _Results:
    results: _Results = []
    for path in paths:
        try:
            results += crew.embed([path]).result()
        except BrokenProcessPool:
            crew.renew()
            results.append(PhotoFaces(path, None, error=ImageError(describe_crash(path))))
    return results


def describe_crash(path: Path) -> str:
    """What is wrong with a photograph that ends whoever looks at it."""
    return (
        f"{str(path)!r} ended the process that had it (no memory left, or a fault in a decoder); "
        "leave it out, or save it again from a photo viewer"
    )


# What follows happens in a worker process.

_pipeline: FacePipeline
_selection: FaceSelection


def _begin(pickled: bytes, selection: FaceSelection, threads: int) -> None:
    import torch

    global _pipeline, _selection
    logging.getLogger("concurrent.futures").disabled = True  # it prints tracebacks; who gave the work says what failed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who gave the work decides
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _pipeline, _selection = pickle.loads(pickled), selection


def _follow_parent() -> None:
    """Come to an end with the process that gives the work, also where that is killed."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _embed(paths: Sequence[Path]) -> _Results:
    return list(_pipeline.embed_paths(paths, selection=_selection, batch_size=max(1, len(paths)), workers=1))
