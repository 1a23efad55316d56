"""Ctrl-C, for programs that start others: the first one ends the program, which stops what it has started; a second one
must not keep it from doing so."""

import signal
from types import FrameType

# Ctrl-C, the cancellation of a CI job, and the closing of a terminal: each ends the program in good order.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_once() -> None:
    """From now on the first of these signals raises KeyboardInterrupt, and whatever comes later is ignored: stopping
    must be bounded."""
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
