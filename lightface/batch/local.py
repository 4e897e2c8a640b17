"""Embed a folder on this machine: from this process, or a large folder on the CPU from several."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from lightface.errors import ConfigError, DeviceError, ImageError, LightfaceError
from lightface.machine import count_cores
from lightface.pipeline import FacePipeline, PhotoFaces, PipelineSpec, build_pipeline

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
        self, pipeline: FacePipeline, paths: Sequence[Path], *, batch_size: int, workers: int | None
    ) -> Generator[Sequence[PhotoFaces], None, None]:
        """One result a path, in their order."""
        with closing(_embed(pipeline, paths, batch_size, workers)) as photos:
            while batch := list(islice(photos, batch_size)):
                yield batch


def _embed(
    pipeline: FacePipeline, paths: Sequence[Path], batch_size: int, workers: int | None
) -> Generator[PhotoFaces, None, None]:
    cores = count_cores()
    if pipeline.embedder.device.type != "cpu":
        decoders = min(cores, _MOST_DECODERS) if workers is None else workers
        yield from pipeline.embed_paths(paths, batch_size=batch_size, workers=decoders, videos=True)
        return
    if workers is None:
        workers = min(cores, count_memory() // BYTES_A_PROCESS) if len(paths) >= _MANY_PHOTOS else 1
    workers = min(workers, -(-len(paths) // batch_size))
    if workers > 1:
        yield from embed_in_processes(pipeline, paths, batch_size=batch_size, workers=workers)
    else:
        yield from pipeline.embed_paths(paths, batch_size=batch_size, videos=True)


def count_memory() -> int:
    """Bytes of this machine; no limit where it does not tell."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62


# Embed photographs in several processes, each with a pipeline and a thread of its own.
#
# Small convolutions gain little from a second thread and detection nothing, so that on a CPU two processes of one
# thread do more than one of two. A process that dies takes no photograph with it: those that it had in hand are tried
# again one by one, and only one that ends its process once more is given up.
#
# Work and results go by pipes, which need no room in shared memory, and of which nothing is left when all are killed.


_log = logging.getLogger(__name__)

_Results = list[PhotoFaces]
_Remark = tuple[str, int, str]  # logger, level, message


def embed_in_processes(
    pipeline: FacePipeline, paths: Sequence[Path], *, batch_size: int, workers: int
) -> Iterator[PhotoFaces]:
    """One result a path, in their order, as `FacePipeline.embed_paths` gives them, by `workers` processes.

    Each loads the pipeline anew, see `pack_pipeline`. Where that cannot be, or no process comes up, this one does the
    work. Raises DeviceError where one has died and no other can be started.
    """
    crew = _hire(pipeline, workers)
    if crew is None:
        _log.warning("no worker process can be started; photographs are embedded in this process")
        yield from pipeline.embed_paths(paths, batch_size=batch_size, videos=True)
        return
    todo = deque(paths[start : start + batch_size] for start in range(0, len(paths), batch_size))
    given: deque[Future[_Results]] = deque()
    threads = ThreadPoolExecutor(workers, thread_name_prefix="worker")  # one waits for each process
    try:
        while todo or given:
            while todo and len(given) < 2 * workers:  # what is given and not yet taken back is all that is in memory
                given.append(threads.submit(crew.embed, todo.popleft()))
            yield from given.popleft().result()
    finally:
        crew.dismiss()
        threads.shutdown(wait=True, cancel_futures=True)


class _Died(Exception):
    """A process that was to embed photographs is no more."""


class _Worker:
    """A process, and the pipe to it. OSError where none can be started."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        context = get_context("spawn")  # for torch does not survive a fork once it has threads
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, *arguments), daemon=True)
        try:
            self._process.start()
        except OSError:
            self._pipe.close()
            raise
        finally:
            there.close()  # so that its end is heard here

    def embed(self, paths: Sequence[Path]) -> _Results:
        """One result a path. _Died where the process does."""
        try:
            self._pipe.send(paths)
            answer, remarks = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise _Died from error
        for name, level, message in remarks:
            logging.getLogger(name).log(level, "%s", message)
        if isinstance(answer, LightfaceError):
            raise answer
        return list(answer)

    def end(self) -> None:
        """At once; there is nothing that it would leave behind."""
        self._process.kill()
        self._process.join()


class _Crew:
    """Processes, of which one that dies is replaced. `embed` may be called from as many threads as there are."""

    def __init__(self, workers: Sequence[_Worker], arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments
        self._all = list(workers)
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in workers:
            self._idle.put(worker)
        self._lock = threading.Lock()
        self._is_dismissed = False

    def embed(self, paths: Sequence[Path]) -> _Results:
        worker = self._idle.get()
        try:
            return worker.embed(paths)
        except _Died:
            worker = self._replace(worker)
            results: _Results = []
            for path in paths:
                try:
                    results += worker.embed([path])
                except _Died:
                    results.append(PhotoFaces(path, None, error=ImageError(describe_crash(path))))
                    worker = self._replace(worker)
            return results
        finally:
            self._idle.put(worker)

    def dismiss(self) -> None:
        with self._lock:
            self._is_dismissed = True
            for worker in self._all:
                worker.end()

    def _replace(self, dead: _Worker) -> _Worker:
        dead.end()
        remedy = "free some memory, or set fewer workers, and run it again: what was finished is kept"
        try:
            with self._lock:
                if self._is_dismissed:
                    raise _Died
                worker = _Worker(self._arguments)
                self._all[self._all.index(dead)] = worker
            worker.embed([])
        except (OSError, _Died) as error:
            raise DeviceError(f"a worker process has ended, and no other can be started; {remedy}") from error
        return worker


def _hire(pipeline: FacePipeline, count: int) -> _Crew | None:
    try:
        packed = pack_pipeline(pipeline)
    except ConfigError:
        return None
    level = logging.getLogger("lightface").getEffectiveLevel()
    arguments = (packed, max(1, count_cores() // count), level)
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            workers.append(_Worker(arguments))
    except OSError:  # no more processes: those that there are will do
        _log.info("%s of %s worker processes could be started", len(workers), count)
    if not workers:
        return None
    crew = _Crew(workers, arguments)
    try:
        workers[0].embed([])
    except _Died:
        crew.dismiss()
        return None
    return crew


def pack_pipeline(pipeline: FacePipeline) -> bytes:
    """What `unpack_pipeline` makes the same pipeline of, in another process: a spec, or where there is none the parts.

    ConfigError for parts that cannot travel.
    """
    try:
        return pickle.dumps(pipeline if pipeline.spec is None else pipeline.spec)
    # The last is torch's, for networks that it has prepared for a CPU.
    except (pickle.PicklingError, TypeError, AttributeError, NotImplementedError) as error:
        raise ConfigError(
            f"the parts of this pipeline cannot be sent to another process ({error}); use one that was loaded whole"
        ) from error


def unpack_pipeline(packed: bytes) -> FacePipeline:
    """The pipeline, loaded here. Errors as in `load_pipeline`."""
    found: FacePipeline | PipelineSpec = pickle.loads(packed)
    return build_pipeline(found) if isinstance(found, PipelineSpec) else found


def describe_crash(path: Path) -> str:
    """What is wrong with a photograph that ends whoever looks at it."""
    return (
        f"{str(path)!r} ended the process that had it (no memory left, or a fault in a decoder); "
        "leave it out, or save it again from a photo viewer"
    )


# What follows happens in a worker process.


def _work(pipe: connection.Connection, packed: bytes, threads: int, log_level: int) -> None:
    """Answer each list of paths with its results, and with what was logged, which only the first process can show."""
    import torch

    # No tracebacks: who waits for the answer tells what failed.
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who gave the work decides
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(threads)
    remarks: list[_Remark] = []
    logger = logging.getLogger("lightface")
    logger.setLevel(log_level)
    logger.addHandler(_Collector(remarks))
    logger.propagate = False
    try:
        pipeline = unpack_pipeline(packed)
        while True:
            paths: Sequence[Path] = pipe.recv()
            batch_size = max(1, len(paths))
            results = list(pipeline.embed_paths(paths, batch_size=batch_size, workers=1, videos=True))
            pipe.send((results, remarks))
            remarks.clear()
    except LightfaceError as error:
        pipe.send((error, remarks))
    except (MemoryError, EOFError, OSError):
        os._exit(1)  # without a word: it is told where the answer is waited for


class _Collector(logging.Handler):
    def __init__(self, remarks: list[_Remark]) -> None:
        super().__init__()
        self._remarks = remarks

    def emit(self, record: logging.LogRecord) -> None:
        self._remarks.append((record.name, record.levelno, record.getMessage()))


def _follow_parent() -> None:
    """Come to an end with the process that gives the work, also where that is killed."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
