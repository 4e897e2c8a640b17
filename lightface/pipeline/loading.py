"""Decode photographs ahead of the networks, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lightface.allocator import return_unused_memory
from lightface.errors import PhotoError
from lightface.images import GivenPicture, Photo, count_pixels, load_photo
from lightface.remote import RemotePath

Loaded = tuple[Path, Photo | PhotoError]

# Of a batch, unless one photograph alone has more: two from a telephone, 75 MB. More would not speed up detection,
# which takes two such photographs at once, reduced as it sees them.
_PIXELS_AT_ONCE = 25_000_000

# Of photographs on other machines, whose headers are not at hand: in JPEGs of good quality, a byte holds some 3.
_PIXELS_A_BYTE = 4

# What is kept of each photograph, be it little, lies between large blocks that were freed, so that these cannot be
# given back, and do not fit the next photograph: the heap grows, though nothing is held.
_BATCHES_BETWEEN_TRIMS = 16

_READERS = 8  # at once, of what comes from other machines: most of the time they wait


def load_in_batches(
    paths: Iterable[Path],
    *,
    max_pixels: int,
    batch_size: int,
    workers: int,
    enough_px: int | None = None,
    allow_truncated: bool = False,
) -> Iterator[list[Loaded]]:
    """Each path with its photograph, or with the error that it met, in order, up to `batch_size` at once.

    Photographs far larger than `enough_px` may come reduced, see `load_photo`.

    Every `batch_size`-th path begins a batch, so that runs of so many give the same batches when they are taken apart.

    Decoders release Python's lock, so `workers` threads decode the next batch while the networks work on one. Large
    photographs make smaller batches, so that memory does not grow with them; the caller must let go of a batch before
    the next is asked for.
    """

    def load(path: Path) -> Photo | PhotoError:
        try:
            return load_photo(path, max_pixels=max_pixels, enough_px=enough_px, allow_truncated=allow_truncated)
        except PhotoError as error:
            return error.as_result()
        finally:
            if isinstance(path, GivenPicture):
                path.release()

    decoders = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
    try:
        ready = None
        for number, group in enumerate(_group(paths, batch_size)):
            if number % _BATCHES_BETWEEN_TRIMS == 0:
                return_unused_memory()
            following = [
                (path, (readers if isinstance(path, RemotePath) else decoders).submit(load, path)) for path in group
            ]
            if ready is not None:
                yield [(path, photo.result()) for path, photo in ready]
            ready = following
        if ready is not None:
            yield [(path, photo.result()) for path, photo in ready]
    finally:
        # Also when the consumer stops half-way, by Ctrl-C for one.
        for executor in (decoders, readers):
            executor.shutdown(wait=True, cancel_futures=True)


def _group(paths: Iterable[Path], batch_size: int) -> Iterator[list[Path]]:
    """Runs of paths whose photographs stay within `_PIXELS_AT_ONCE`, or single ones."""
    group: list[Path] = []
    pixels = 0
    for number, path in enumerate(paths):
        size = path.size_bytes * _PIXELS_A_BYTE if isinstance(path, RemotePath) else count_pixels(path)
        if group and (number % batch_size == 0 or pixels + size > _PIXELS_AT_ONCE):
            yield group
            group, pixels = [], 0
        group.append(path)
        pixels += size
    if group:
        yield group
