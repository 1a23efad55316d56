"""What one process takes, read from /proc."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

import psutil

T = TypeVar("T")


class Usage(NamedTuple):
    """One process: its resident memory in bytes, CPU time in seconds, open descriptors and start (Unix time), each None
    if it cannot be read. ``proportional_bytes`` is its part of the container's memory (``runtime.memory``), as it was
    up to half a minute ago.

    ``pid`` is 0 for a role that is not running; ``restarts`` and ``last_exit`` are None for a process that is not
    supervised.
    """

    role: str
    pid: int
    resident_bytes: int | None
    cpu_seconds: float | None
    open_fds: int | None
    started: float | None
    restarts: int | None = None
    last_exit: int | None = None
    proportional_bytes: int | None = None


def usage_of(
    role: str, pid: int, restarts: int | None = None, last_exit: int | None = None, proportional: int | None = None
) -> Usage:
    """What a process takes now; of one that has ended, that it does not run. ``proportional`` is measured elsewhere."""
    with suppress(psutil.NoSuchProcess):  # it ended meanwhile
        process = psutil.Process(pid)
        with process.oneshot():
            return Usage(
                role,
                pid,
                _figure(lambda: process.memory_info().rss),
                _figure(lambda: process.cpu_times().user + process.cpu_times().system),
                _figure(process.num_fds),
                _figure(process.create_time),
                restarts,
                last_exit,
                proportional or None,
            )
    return Usage(role, 0, 0, 0.0, 0, 0.0, restarts, last_exit)


def _figure(read: Callable[[], T]) -> T | None:
    """A figure, or None where /proc has none: a sandbox may mask its files, leave out lines of /proc/stat, or mount it
    with ``subset=pid``."""
    try:
        return read()
    except psutil.NoSuchProcess:
        raise
    except (psutil.Error, OSError, RuntimeError, ValueError, LookupError):  # what psutil raises for them
        return None
