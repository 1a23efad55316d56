"""A time limit for calls that tells an API server that is away from one that is slow."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from driver.cluster.api import Api

# When it is decided, as a part of the limit.
_SHORTLY_BEFORE = 0.9


@contextlib.asynccontextmanager
async def patience(api: Api, seconds: float, if_slow: float) -> AsyncGenerator[None, None]:
    """Raise TimeoutError after ``seconds`` if nothing has been answered in that time, else after ``if_slow`` seconds.

    To give a call up does not take it back: a server that has too much to do already gets it twice.
    """
    loop = asyncio.get_running_loop()
    last = loop.time() + if_slow
    async with asyncio.timeout(seconds) as limit:

        def decide() -> None:
            if api.has_answered(_SHORTLY_BEFORE * seconds):  # what was answered earlier says nothing of now
                limit.reschedule(last)

        timer = loop.call_later(_SHORTLY_BEFORE * seconds, decide)
        try:
            yield
        finally:
            timer.cancel()
