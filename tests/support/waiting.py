"""Waiting for conditions in place of sleeping: the one polling helper of all tests, for plain and asyncio code."""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, overload

T = TypeVar("T")
Reason = str | Callable[[], str]
"""What is waited for, as "the socket to appear"; a function if it should be looked up only for the error."""

SECONDS = 15.0
PAUSE = 0.01


def wait_until(condition: Callable[[], T | None], what: Reason, seconds: float = SECONDS, pause: float = PAUSE) -> T:
    """Block until ``condition()`` is true and return its value; ``TimeoutError`` says ``what`` did not happen."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise _timeout(what, seconds)
        time.sleep(pause)
    return value


@overload
async def until(
    condition: Callable[[], Coroutine[Any, Any, T]], what: Reason, seconds: float = ..., pause: float = ...
) -> T: ...
@overload
async def until(condition: Callable[[], T], what: Reason, seconds: float = ..., pause: float = ...) -> T: ...
async def until(condition: Callable[[], Any], what: Reason, seconds: float = SECONDS, pause: float = PAUSE) -> Any:
    """``wait_until`` for asyncio code; ``condition`` runs in the event loop and may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while not (value := await _evaluate(condition)):
        if time.monotonic() > deadline:
            raise _timeout(what, seconds)
        await asyncio.sleep(pause)
    return value


async def until_blocking(condition: Callable[[], T], what: Reason, seconds: float = 30.0, pause: float = 0.05) -> T:
    """``until`` for a condition that blocks, such as a call to an API server: it runs in a thread."""
    return await until(partial(asyncio.to_thread, condition), what, seconds, pause)


def run_async(test: Callable[[], Coroutine[Any, Any, None]], seconds: float = 90.0) -> None:
    """Run an asyncio test, for at most so many seconds."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await test()

    asyncio.run(bounded())


async def _evaluate(condition: Callable[[], Any]) -> Any:
    value = condition()
    return await value if inspect.isawaitable(value) else value


def _timeout(what: Reason, seconds: float) -> TimeoutError:
    return TimeoutError(f"waited {seconds:g} s for {what if isinstance(what, str) else what()}")
