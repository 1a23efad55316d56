"""Small thread pools for the blocking calls of the volume layer; more than two threads are no faster
(docs/performance.md).

Tenants take turns: however many calls one namespace has waiting, those of another do not wait behind them, but at most
for those that run.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from driver.volume.turns import Turns

# A tenant has at most two; the third is there for the others.
WORKERS, OF_ONE_TENANT = 3, 2
# Two would be no faster, because of the interpreter's lock, and small volumes would take longer meanwhile.
LONG_WORKERS = 1
TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""On whose behalf a task runs: a namespace; empty if that is not known."""

P = ParamSpec("P")
T = TypeVar("T")


class DiskWorkers:
    """Runs blocking functions off the event loop. A call that has started runs to its end even if it is cancelled.

    Calls that take long, because a volume is large, have a thread of their own: other volumes do not wait for them.
    """

    def __init__(self) -> None:
        self._pool = _FairPool(WORKERS, OF_ONE_TENANT, "disk")
        self._long = _FairPool(LONG_WORKERS, LONG_WORKERS, "large-volume")

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Call ``function`` in a worker thread, with the caller's context variables; the future has its result."""
        return self._pool.run(partial(function, *args, **kwargs))

    def run_long(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """As ``run``, for a large volume."""
        return self._long.run(partial(function, *args, **kwargs))

    def close(self) -> None:
        """Wait for the calls that are running or waiting, and end the threads."""
        self._pool.close()
        self._long.close()


class _Call:
    """A function to call, and the future that gets its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._function = function

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._function()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class _FairPool:
    """Threads that serve the tenants in turn, and of each tenant ``of_one`` calls at a time."""

    def __init__(self, threads: int, of_one: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._turns: Turns[_Call] = Turns(of_one)

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        call = _Call(partial(copy_context().run, function))
        with self._lock:
            self._turns.put(TENANT.get(), call)
        self._threads.submit(self._serve)
        return asyncio.wrap_future(call.future)

    def close(self) -> None:
        self._threads.shutdown()

    def _serve(self) -> None:
        """Make calls until none is left that may be made."""
        while (found := self._take()) is not None:
            tenant, call = found
            try:
                call.run()
            finally:
                with self._lock:
                    self._turns.ended(tenant)

    def _take(self) -> tuple[str, _Call] | None:
        with self._lock:
            return self._turns.take()
