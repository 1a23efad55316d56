"""Small thread pools for the blocking calls of the volume layer; more than two threads are no faster
(docs/performance.md)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

WORKERS = 2
# Two would be no faster, because of the interpreter's lock, and small volumes would take longer meanwhile.
LONG_WORKERS = 1

P = ParamSpec("P")
T = TypeVar("T")


class DiskWorkers:
    """Runs blocking functions off the event loop. A call that has started runs to its end even if it is cancelled.

    Calls that take long, because a volume is large, have a thread of their own: other volumes do not wait for them.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="disk")
        self._long = ThreadPoolExecutor(LONG_WORKERS, thread_name_prefix="large-volume")

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Call ``function`` in a worker thread, with the caller's context variables; the future has its result."""
        return _run(self._pool, partial(function, *args, **kwargs))

    def run_long(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """As ``run``, for a large volume."""
        return _run(self._long, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Wait for the calls that are running, and end the threads."""
        self._pool.shutdown()
        self._long.shutdown()


def _run(pool: ThreadPoolExecutor, function: Callable[[], T]) -> asyncio.Future[T]:
    return asyncio.get_running_loop().run_in_executor(pool, partial(copy_context().run, function))
