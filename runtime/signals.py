"""Signals as a context manager: the first asks for an orderly shutdown, the second forces the exit."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_STOPPING = (signal.SIGTERM, signal.SIGINT)
FORCED_EXIT_CODE = 1


@contextmanager
def stop_event() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets; a second signal ends the process at once, with exit code 1. Must be called
    within a running event loop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(FORCED_EXIT_CODE)
        stop.set()

    for number in _STOPPING:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in _STOPPING:
            loop.remove_signal_handler(number)
