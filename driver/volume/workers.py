"""Small thread pools for the blocking calls of the volume layer; more than two threads are no faster
(docs/performance.md).

Tenants take turns: however many calls one namespace has waiting, those of another do not wait behind them, but at most
for those that run.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
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
    """A function to call in a thread, and the future of the event loop that gets its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()
        self._function = function

    def run(self) -> None:
        if self.future.cancelled():
            return
        try:
            result = self._function()
        except BaseException as error:
            self._report(self.future.set_exception, error)
        else:
            self._report(self.future.set_result, result)

    def _report(self, report: Callable[[Any], None], outcome: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._report_unless_done, report, outcome)

    def _report_unless_done(self, report: Callable[[Any], None], outcome: Any) -> None:
        if not self.future.done():  # else cancelled meanwhile
            report(outcome)


class _FairPool:
    """Threads that serve the tenants in turn, and of each tenant ``of_one`` calls at a time.

    It has its own threads instead of an executor's, whose futures, locks and semaphores around each call take twice the
    CPU time of this (docs/performance.md).
    """

    def __init__(self, threads: int, of_one: int, name: str) -> None:
        self._most, self._name = threads, name
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._turns: Turns[_Call] = Turns(of_one)
        self._unfinished = 0
        # One token for each call that was added, at which a thread looks for calls that may be made; False: it ends.
        self._tokens: SimpleQueue[bool] = SimpleQueue()

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        call = _Call(partial(copy_context().run, function))
        with self._lock:
            self._turns.put(TENANT.get(), call)
            self._unfinished += 1
            if len(self._threads) < min(self._unfinished, self._most):
                thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._tokens.put(True)
        return call.future

    def close(self) -> None:
        """Wait for all calls, and end the threads."""
        for _ in self._threads:
            self._tokens.put(False)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _work(self) -> None:
        while self._tokens.get():
            self._serve()

    def _serve(self) -> None:
        """Make calls until none is left that may be made."""
        while (found := self._take()) is not None:
            tenant, call = found
            try:
                call.run()
            finally:
                with self._lock:
                    self._turns.ended(tenant)
                    self._unfinished -= 1

    def _take(self) -> tuple[str, _Call] | None:
        with self._lock:
            return self._turns.take()
