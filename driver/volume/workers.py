"""A small thread pool for the blocking calls of the volume layer; more than two threads are no faster
(docs/performance.md)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

WORKERS = 2

P = ParamSpec("P")
T = TypeVar("T")


class DiskWorkers:
    """Runs blocking functions off the event loop. A call that has started runs to its end even if it is cancelled."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="disk")

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Call ``function`` in a worker thread, with the caller's context variables; the future has its result."""
        call = partial(copy_context().run, function, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Wait for the calls that are running, and end the threads."""
        self._pool.shutdown()
