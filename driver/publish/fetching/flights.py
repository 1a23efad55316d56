"""Calls to a provider that several volumes wait for.

A call is a task of its own, so that no caller ends it for the others: one that is cancelled, or whose deadline passes,
only leaves. When the last one has left, the call is cancelled. One that failed is not remembered; who comes later
starts another one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field

from driver.providers.wire import MountReply
from runtime import clock, redact, rpc
from runtime.errors import DeadlineExceeded, Failure

# ``call(deadline, began, held)``: a reply, with its place in memory until ``held`` is closed.
Call = Callable[[float, float, AsyncExitStack], Awaitable[MountReply]]
# A failure this close to the deadline of whoever started the call is taken to be that deadline's.
DEADLINE_SLACK_SECONDS = 0.5


@dataclass
class Flight:
    """A call that began at the moment ``began``, is to end by ``deadline`` (event loop time), and is waited for by
    ``users``, who hold its ``place`` in memory until they have written its reply."""

    deadline: float
    began: float = field(default_factory=lambda: clock.now())
    users: int = 0
    place: AsyncExitStack = field(default_factory=AsyncExitStack)
    task: "asyncio.Task[MountReply] | None" = None


class Flights:
    """The calls in progress, by key; at most one of each."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}

    async def join(
        self, key: Hashable, call: Call, deadline: float, held: AsyncExitStack, newer_than: float, again: bool = True
    ) -> tuple[MountReply, Flight, bool]:
        """The reply of the call in progress, or of a new one, its flight, and whether it is somebody else's. Of those
        in progress only one that began after the moment ``newer_than`` will do. ``again``: after one that its starter's
        deadline cut short there is another one. Raises a Failure, by ``deadline``."""
        loop = asyncio.get_running_loop()
        while True:
            flight = self._flights.get(key)
            joined = flight is not None and flight.began > newer_than
            if flight is None or not joined:
                flight = self._start(key, call, deadline)
            flight.users += 1
            held.push_async_callback(self._leave, key, flight)
            assert flight.task is not None
            try:
                async with asyncio.timeout_at(deadline if joined else None):
                    return await asyncio.shield(flight.task), flight, joined
            except TimeoutError:
                raise DeadlineExceeded("the provider has not replied to the request of another pod in time") from None
            except Failure as failure:
                cut_short = loop.time() >= flight.deadline - DEADLINE_SLACK_SECONDS
                if again and joined and cut_short and deadline > flight.deadline:
                    continue
                raise _again(failure) from None

    def _start(self, key: Hashable, call: Call, deadline: float) -> Flight:
        flight = Flight(deadline)
        # The values that the starter's request withholds stay withheld, although its own call may end before.
        masks = ExitStack()
        masks.enter_context(redact.held())
        flight.task = asyncio.ensure_future(call(deadline, flight.began, flight.place))
        flight.task.add_done_callback(lambda task: self._landed(key, flight, task))
        flight.task.add_done_callback(lambda _: masks.close())
        self._flights[key] = flight
        return flight

    def _landed(self, key: Hashable, flight: Flight, task: "asyncio.Task[MountReply]") -> None:
        self._forget(key, flight)
        if not task.cancelled():
            task.exception()  # retrieved, as those who waited for it may all have left

    async def _leave(self, key: Hashable, flight: Flight) -> None:
        flight.users -= 1
        if flight.users:
            return
        self._forget(key, flight)
        if flight.task is not None and not flight.task.done():
            flight.task.cancel()
        try:
            if flight.task is not None:
                await asyncio.wait([flight.task])
        finally:
            await flight.place.aclose()

    def _forget(self, key: Hashable, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _again(failure: Failure) -> Failure:
    """The same failure as an object of its own: each publish adds its pod to the text."""
    if isinstance(failure, rpc.RemoteFailure):
        copy: Failure = rpc.RemoteFailure(failure.code, str(failure))
        copy.error_type = failure.error_type
        return copy
    return type(failure)(str(failure), failure.error_type)
