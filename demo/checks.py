"""Checks of a step, and waiting for what the processes do."""

import asyncio
import time
from collections.abc import Awaitable, Callable

STEP_SECONDS = 15.0


class StepFailed(Exception):
    """A check of a step failed; the message says which."""


def check(condition: object, message: str) -> None:
    """StepFailed with ``message`` unless ``condition`` holds."""
    if not condition:
        raise StepFailed(message)


async def wait_until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Poll a condition of another process, which announces nothing; StepFailed after ``STEP_SECONDS``."""
    end = time.monotonic() + STEP_SECONDS
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        check(time.monotonic() < end, f"waited {STEP_SECONDS:g} s for {what}")
        await asyncio.sleep(0.02)
