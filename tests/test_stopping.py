from __future__ import annotations

import os
import signal
import threading

import pytest

from lightface.stopping import StopRequest, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_requests_the_stop(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopRequest()
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.requested
        assert signal.getsignal(number) is before  # a second one does what it always did
    assert signal.getsignal(number) is before


def test_a_second_interrupt_is_not_caught() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signals(StopRequest()):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_leaves_signals_alone() -> None:
    found = []

    def work() -> None:
        with stop_on_signals(StopRequest()):
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
