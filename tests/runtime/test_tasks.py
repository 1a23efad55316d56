"""Background tasks: none ends unseen, whatever ended it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from runtime import tasks
from runtime.tasks import BackgroundTask, TaskSupervisor, cancellation_was_requested
from tests.support.waiting import run_async, until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts follow each other at once."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(tasks, "MAX_PAUSE", 0.002)


async def _forever() -> None:
    await asyncio.Event().wait()


async def _raises() -> None:
    raise ZeroDivisionError("a bug")


async def _returns() -> None:
    return


async def _is_cancelled_by_a_future() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def _cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _raises_a_base_exception() -> None:
    raise asyncio.CancelledError("raised, not requested")


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (_raises, "ZeroDivisionError"),
        (_returns, "returned"),
        (_is_cancelled_by_a_future, "cancelled from within"),
        (_cancels_itself, "cancelled from within"),
        (_raises_a_base_exception, "cancelled from within"),
    ],
)
def test_a_task_that_ends_is_started_again(ending: Callable[[], Coroutine[Any, Any, None]], reason: str) -> None:
    """Scenario: a task ends three times, by a bug, a return or a cancellation. Expected: a fourth run, three counted
    failures with their reason, and no effect on another task."""

    async def test() -> None:
        runs = 0
        failed: list[str] = []

        async def work() -> None:
            nonlocal runs
            runs += 1
            await (ending() if runs <= 3 else _forever())

        supervisor = TaskSupervisor(failed.append)
        async with supervisor.running([BackgroundTask("work", work), BackgroundTask("other", _forever)]) as running:
            await until(lambda: runs == 4, "the fourth run")
            assert failed == ["work"] * 3
            assert supervisor._last["work"] == reason
            assert not running["work"].done() and not running["other"].done()
            assert supervisor.broken == ""

    run_async(test)


def test_a_task_that_cannot_be_kept_running_is_reported() -> None:
    """Scenario: a task fails at once, again and again, then recovers for a whole good run. Expected: ``broken`` names
    the task and the failure, and is empty again after the good run."""

    async def test() -> None:
        healthy = False

        async def work() -> None:
            await (_forever() if healthy else _raises())

        supervisor = TaskSupervisor()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tasks, "GOOD_RUN_SECONDS", 0.05)
            async with supervisor.running([BackgroundTask("watch", work)]):
                await until(lambda: supervisor.broken, "the supervisor to give the task up")
                assert "'watch'" in supervisor.broken and "ZeroDivisionError" in supervisor.broken
                healthy = True
                await until(lambda: not supervisor.broken, "a good run")

    run_async(test)


def test_finite_work_may_return_but_not_fail() -> None:
    """Scenario: finite work fails once, then returns. Expected: it is run twice and its task is done."""

    async def test() -> None:
        runs = 0

        async def work() -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                await _raises()

        async with TaskSupervisor().running([BackgroundTask("restore", work, finite=True)]) as running:
            await running["restore"]
            assert runs == 2

    run_async(test)


def test_the_end_of_the_context_ends_all_tasks() -> None:
    """Scenario: the context ends while one task works and another pauses before its next run. Expected: both have
    ended, cleaned up, and no task is left."""

    async def test() -> None:
        cleaned_up = False

        async def work() -> None:
            nonlocal cleaned_up
            try:
                await _forever()
            finally:
                cleaned_up = True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tasks, "FIRST_PAUSE", 60.0)
            supervisor = TaskSupervisor()
            async with supervisor.running([BackgroundTask("work", work), BackgroundTask("bad", _raises)]):
                await until(lambda: supervisor._failures.get("bad"), "the first failure")
        assert cleaned_up
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_async(test)


def test_a_requested_cancellation_is_told_from_one_that_came_from_a_future() -> None:
    """Scenario: a task waits for a future that others cancel; another task is cancelled itself; a third runs into its
    timeout. Expected: only the second and the third were cancelled on request."""

    async def test() -> None:
        async def wait(future: asyncio.Future[None]) -> bool:
            try:
                await future
            except asyncio.CancelledError:
                return cancellation_was_requested()
            raise AssertionError("the future was not cancelled")

        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(3)]
        waiting = [asyncio.create_task(wait(future)) for future in futures[:2]]
        await asyncio.sleep(0)
        futures[0].cancel()
        waiting[1].cancel()
        assert await asyncio.gather(*waiting) == [False, True]
        requested = False
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                try:
                    await futures[2]
                finally:
                    requested = cancellation_was_requested()
        assert requested

    run_async(test)
