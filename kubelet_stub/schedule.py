"""Recurring work that ends when it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


class Schedule:
    """Pauses that ``stop`` cuts short."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    @property
    def stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End the running pause and make further ones return at once."""
        self._stopping.set()

    async def pause(self, seconds: float) -> None:
        """Sleep until ``stop``, at most ``seconds`` (0: without limit)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                await self._stopping.wait()

    async def repeat(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` after each ``interval`` in seconds (0: never) until ``stop``."""
        while not self.stopped:
            await self.pause(interval)
            if not self.stopped:
                await work()
