"""Decode photographs ahead of the networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from lightface.errors import PhotoError
from lightface.images import Photo, load_photo


def load_in_background(
    paths: Iterable[Path], *, max_pixels: int, workers: int, ahead: int
) -> Iterator[tuple[Path, Photo | PhotoError]]:
    """Each path with its photograph, or with the error that it met, in order.

    Decoders release Python's lock, so threads decode while the networks work. No more than `workers` + `ahead`
    photographs are held at once, however many paths there are.
    """

    def load(path: Path) -> Photo | PhotoError:
        try:
            return load_photo(path, max_pixels=max_pixels)
        except PhotoError as error:
            return error

    pending: deque[tuple[Path, Future[Photo | PhotoError]]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for path in paths:
            pending.append((path, executor.submit(load, path)))
            if len(pending) >= workers + ahead:
                done, photo = pending.popleft()
                yield done, photo.result()
        while pending:
            done, photo = pending.popleft()
            yield done, photo.result()
    finally:
        # Also when the consumer stops half-way, by Ctrl-C for one.
        executor.shutdown(wait=True, cancel_futures=True)
