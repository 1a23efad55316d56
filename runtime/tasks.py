"""Background tasks that must not end unseen: a task that ends is logged, counted and started again.

asyncio drops the exception of a task that nobody awaits, and a cancellation inside a task ends it without any trace.
Either would stop a watch or a queue for the rest of the process's life, while everything else looks healthy.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from runtime import logs

log = logs.get(__name__)

FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0
# A run of this many seconds was a good one: the next failure starts with the first pause again.
GOOD_RUN_SECONDS = 60.0
# So many failures in a row, without a good run between them, and the task counts as one that cannot be kept running.
TOLERATED_FAILURES = 5


class BackgroundTask(NamedTuple):
    """Work beside the calls of a process.

    ``start`` makes the coroutine anew for each run. ``finite`` work may return; any other that returns has failed.
    """

    name: str
    start: Callable[[], Coroutine[Any, Any, None]]
    finite: bool = False


def cancellation_was_requested() -> bool:
    """Whether somebody cancels the current task.

    A ``CancelledError`` may also come out of a future that others cancelled (a connection pool that was closed, say).
    Then the task itself is not being cancelled, and the error is a failure like any other.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class TaskSupervisor:
    """Keeps background tasks running; ``running`` gives it its work.

    ``on_failure`` is called with the name of a task each time that it failed.
    """

    def __init__(self, on_failure: Callable[[str], None] | None = None) -> None:
        self._on_failure = on_failure
        self._failures: dict[str, int] = {}
        self._last: dict[str, str] = {}

    @property
    def broken(self) -> str:
        """Why the process cannot do its work although it runs; empty if all tasks can be kept running."""
        for name, count in self._failures.items():
            if count >= TOLERATED_FAILURES:
                return f"the background task {name!r} failed {count} times in a row: {self._last[name]}"
        return ""

    @asynccontextmanager
    async def running(self, tasks: Iterable[BackgroundTask]) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
        """Run the tasks for as long as the context lasts. Yields them by name: one that is finite is done with its
        work once its task is done."""
        running = {task.name: asyncio.create_task(self._keep(task), name=task.name) for task in tasks}
        try:
            yield running
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _keep(self, task: BackgroundTask) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            started = loop.time()
            # A run is a task of its own: a cancellation inside it ends the run and not the supervision.
            run = asyncio.create_task(task.start(), name=f"{task.name} (run)")
            good = loop.call_later(GOOD_RUN_SECONDS, self._forget_failures, task.name)
            try:
                await asyncio.wait([run])
            finally:
                good.cancel()
                if not run.done():
                    run.cancel()
                    await asyncio.gather(run, return_exceptions=True)
            if task.finite and _succeeded(run):
                self._forget_failures(task.name)
                return
            self._record_failure(task.name, run)
            if loop.time() - started >= GOOD_RUN_SECONDS:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, MAX_PAUSE)

    def _record_failure(self, name: str, run: asyncio.Task[None]) -> None:
        error = None if run.cancelled() else run.exception()
        if error is not None:
            reason = type(error).__name__
        else:
            reason = "cancelled from within" if run.cancelled() else "returned"
        self._failures[name] = self._failures.get(name, 0) + 1
        self._last[name] = reason
        log.error("A background task ended; starting it again", task=name, reason=reason, exc=error)
        if self._on_failure is not None:
            self._on_failure(name)

    def _forget_failures(self, name: str) -> None:
        self._failures.pop(name, None)
        self._last.pop(name, None)


def _succeeded(run: asyncio.Task[None]) -> bool:
    return not run.cancelled() and run.exception() is None
