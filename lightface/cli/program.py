"""The program from start to exit code: whatever happens between, it ends with one line and a code that is true.

Nothing heavy is imported here, so that trouble in what is imported later is told as any other.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

from lightface.errors import ConfigError, LightfaceError, OutputError
from lightface.words import visible

TROUBLE: Final = 2  # as cmp: 0 same or done, 1 different or unknown, 2 trouble
# Under `ulimit -v`, `lightface embed` ends well with this many kB, and in a segmentation fault with 3500000.
_LEAST_ADDRESS_SPACE: Final = 4_000_000 * 1024

# What libraries say where memory is short, besides MemoryError.
_SHORT_OF_MEMORY: Final = ("failed to map segment", "allocate memory", "out of memory", "bad_alloc")

# Where an option is not called as the library's parameter is.
_FLAGS: Final = {
    "selection": "--face-selection",
    "min_face_size_px": "--min-face-size",
    "max_side_px": "--max-side",
    "folder": "--data",
}

# A parameter in a message stands by itself. In quotes, or as a part of a path, it belongs to a user's own name.
_PARAMETER: Final = re.compile(
    r"""(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)|(?<!\w)"(?:[^"\\]|\\.)*"(?!\w)|(?<![^\s(])`([a-z][a-z0-9_]*)`(?=[,.;:)]*(?:\s|$))"""
)


def run(start: Callable[[], object]) -> NoReturn:
    """Call `start`, which ends by SystemExit or by whatever error, and end the process."""
    _leave_with(TROUBLE)
    _prepare_streams()
    # Python would print a traceback of what fails in a thread, or while an object is deleted.
    threading.excepthook = _tell_of_thread
    sys.unraisablehook = lambda unraisable: None
    status = TROUBLE
    try:
        start()
    except SystemExit as error:
        status = _status_of(error)
    except KeyboardInterrupt:
        tell("interrupted; nothing was changed")
    except BaseException as error:
        tell(describe_failure(error))
    try:
        sys.stdout.flush()
    except (LightfaceError, OSError, ValueError) as error:
        status = TROUBLE
        tell(describe_failure(error))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing left to interrupt
    _leave_with(status)
    sys.exit(status)


def describe_failure(error: BaseException) -> str:
    """One line about whatever was raised. With --verbose, the traceback goes to stderr before it."""
    if isinstance(error, LightfaceError):
        return str(error)
    if logging.getLogger("lightface").level == logging.DEBUG:  # --verbose
        sys.stderr.write("".join(traceback.format_exception(error)))
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(words in text for words in _SHORT_OF_MEMORY):
        return (
            f"there is not enough memory ({text or type(error).__name__}); close other programs, raise the limit of "
            "'ulimit -v', or take fewer workers and a smaller batch"
        )
    if isinstance(error, ImportError):
        return f"the installation is not whole ({text}); run ./scripts/setup again, or see 'lightface doctor'"
    if isinstance(error, OSError):
        where = "" if error.filename is None else f" {error.filename!r}"
        return (
            f"the system refused to work on a file{where} ({error.strerror or text}); check it, and the current folder"
        )
    return f"a fault in lightface ({type(error).__name__}: {text}); --verbose shows where, please report it"


def check_surroundings() -> None:
    """ConfigError where native libraries crash: without a current folder, and where memory is too short for torch."""
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(f"there is no current folder any more ({error.strerror}); change into one") from error
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= limit < _LEAST_ADDRESS_SPACE:
        raise ConfigError(
            f"'ulimit -v' allows {limit // 1024} kB, and loading the networks takes {_LEAST_ADDRESS_SPACE // 1024}; "
            "raise it"
        )


def name_flags(message: str) -> str:
    """A message of the library, which names its parameters as `max_side_px`, with the options of the command line."""
    return _PARAMETER.sub(
        lambda found: found[0] if found[1] is None else _FLAGS.get(found[1], f"--{found[1].replace('_', '-')}"), message
    )


def tell(message: str) -> None:
    """One line on stderr, without the console, which may be what cannot be imported."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"lightface: {visible(name_flags(message))}\n")
        sys.stderr.flush()


def _status_of(error: SystemExit) -> int:
    if isinstance(error.code, str):  # which Python would print
        tell(error.code)
        return TROUBLE
    return error.code or 0


def _leave_with(status: int) -> None:
    """Have the process end with this code, whoever ends it, unless this is called again.

    OpenBLAS and OpenMP end it with 1 where they find no memory or no thread: that would mean "different".
    """
    with suppress(OSError, AttributeError, TypeError):  # on a system without them
        library = ctypes.CDLL(None)
        library.__cxa_atexit(library._exit, ctypes.c_void_p(status), None)  # of several, the last comes first


def _prepare_streams() -> None:
    """Three streams that work, or say in words why not, whatever was handed over."""
    # A stream that is closed would be taken by the next file that is opened. Stdout is opened so that writing fails.
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    if sys.stdout is None or isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _text(_Results(1, "wb", closefd=False), sys.stdout)
    if sys.stderr is None or isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _text(_Remarks(2, "wb", closefd=False), sys.stderr)


def _text(raw: io.FileIO, earlier: Any) -> io.TextIOWrapper:
    errors = getattr(earlier, "errors", None) or "strict"
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(earlier, "encoding", None) or "utf-8",
        # A file name need not be text, nor every name fit the terminal's encoding.
        errors="backslashreplace" if errors == "strict" else errors,
        line_buffering=raw.fileno() == 2 or getattr(earlier, "line_buffering", False),
    )


class _Results(io.FileIO):
    """Whoever reads a pipe may have seen enough; that changes nothing about the answer and its exit code."""

    _failed = False

    def write(self, data: Any) -> int:
        try:
            return super().write(data) if not self._failed else memoryview(data).nbytes
        except BrokenPipeError:
            return memoryview(data).nbytes
        except OSError as error:
            self._failed = True  # once told, it is not told again of what is still buffered
            raise OutputError(f"cannot write the result ({error.strerror}); check where stdout goes") from error


class _Remarks(io.FileIO):
    """Where nobody can be told, the work goes on."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and failed.exc_type is not SystemExit:
        tell(describe_failure(failed.exc_value))
