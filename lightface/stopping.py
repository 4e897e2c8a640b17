"""Stop between two steps, or two photographs, so that nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

_BOTH: Final = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Asks for work to be saved and ended; it may be made from anywhere."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """Stop after the step in hand."""
        self.requested = True


@contextmanager
def stop_on_signals(stop: StopRequest, *, numbers: Sequence[signal.Signals] = _BOTH) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM, or the signals named, request the stop. A second one does what it did before."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return
    previous = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.request()
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
