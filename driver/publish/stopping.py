"""Ends what a publish waits for when the driver stops: a provider or an API server that is away would keep the process
until its grace period is over, and then it is killed.

Only waiting ends, never a thread that mounts or writes. What then fails goes the usual way of a failure (steps 9 and 10
of ``publisher``): a volume without content is unmounted, one with content keeps it, and kubelet asks the next driver.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from runtime.errors import Unavailable

# What is not known to be away answers in a moment, as a rule: then the pod need not wait for the next driver.
API_SECONDS, CALL_SECONDS = 1.0, 5.0


class DriverStopping(Unavailable):
    """The driver stops before it knows the result."""


class Stopping:
    """What is waited for, and whether the driver is stopping."""

    def __init__(self) -> None:
        self._stopping = False
        self._waits: dict[asyncio.Timeout, Callable[[], float]] = {}

    def stop(self) -> None:
        """Limit all waits, those that begin later too."""
        self._stopping = True
        for limit, seconds in self._waits.items():
            _end(limit, seconds())

    @asynccontextmanager
    async def interruptible(self, seconds: Callable[[], float] = lambda: API_SECONDS) -> AsyncIterator[None]:
        """Wait for something in the context, after a stop for at most ``seconds()`` more. Raises DriverStopping."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                if self._stopping:
                    _end(limit, seconds())
                self._waits[limit] = seconds
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise DriverStopping("the driver on this node is stopping; kubelet tries again") from None
        finally:
            self._waits.pop(limit, None)


def _end(limit: asyncio.Timeout, seconds: float) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
