"""What goes wrong with picture files, and the words for it."""

from __future__ import annotations

import ctypes
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path

import PIL._imaging

from lightface.errors import ImageTooLargeError

_log = logging.getLogger(__name__)

# What decoders raise on damaged or hostile files: found by feeding them a million, a sample of which is a test.
DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError),
    *(RuntimeError, MemoryError, struct.error, zlib.error),
)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow warns of odd metadata, and of its own pixel limit; the limit that counts is ours.

    Filters are the process's: the first thread to come in sets them, the last to leave puts back what was there.
    """
    _silence_libtiff()
    _filters.set()
    try:
        yield
    finally:
        _filters.put_back()


class _Filters:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._earlier = ExitStack()

    def set(self) -> None:
        with self._lock:
            self._threads += 1
            if self._threads == 1:
                self._earlier.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module="PIL")

    def put_back(self) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                self._earlier.close()


_filters = _Filters()


@cache
def _silence_libtiff() -> None:
    """Once: libtiff would write lines to stderr that name no file; Pillow raises for the same faults.

    Pillow turns off libtiff's warnings itself, and leaves its errors.
    """
    # Where nobody else listens, Python would write what Pillow logs to stderr.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):  # libtiff is built in otherwise than in Pillow's wheels
        ctypes.CDLL(PIL._imaging.__file__).TIFFSetErrorHandler(None)


@lru_cache(maxsize=4096)
def remark(message: str) -> None:
    """Log what is odd about a picture that was read; once, though it may be decoded again for its full size."""
    _log.warning("%s", message)


def too_large(name: str, size: str, limit: str) -> ImageTooLargeError:
    """The error for a picture of that size."""
    return ImageTooLargeError(f"{quote(name)} has {size}, more than the limit of {limit}; make it smaller")


def describe_reason(error: Exception) -> str:
    """What is wrong, in one line without the name of the file."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def quote(path: Path | str) -> str:
    """The name of a file as messages have it: a name may hold a line break, and every message is one line."""
    return repr(str(path))
