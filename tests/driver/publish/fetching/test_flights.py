"""Calls that several volumes wait for: none of them can end it for the others."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from driver.providers.wire import MountReply
from driver.publish.fetching.flights import Flights
from driver.volume.payload import File, plan
from runtime import clock
from runtime.errors import DeadlineExceeded, Failure, PermissionDenied, Unavailable
from tests.support.waiting import run_async, until

REPLY = MountReply({"a": "1"}, plan([File("a", 0o644, b"x")], readable_by_group=False))
NEVER = float("-inf")


class Calls:
    """A provider: each call waits for ``go``; ``open`` are the places in memory that are held."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.number = self.open = self.cancelled = 0
        self.failure: Failure | None = None
        self.bug = False

    async def call(self, deadline: float, _: float, held: AsyncExitStack) -> MountReply:
        """As ``ProviderPool.mount``."""
        self.number += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self.go.wait()
        except TimeoutError:
            raise DeadlineExceeded("the call's own deadline") from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.bug:
            raise ZeroDivisionError
        if self.failure is not None:
            raise self.failure
        self.open += 1
        held.callback(self._close)
        return REPLY

    def _close(self) -> None:
        self.open -= 1


class Lab:
    """Joins flights of one key."""

    def __init__(self) -> None:
        self.calls, self.flights = Calls(), Flights()
        self.may_close = asyncio.Event()
        self.may_close.set()

    def join(self, seconds: float = 30.0, newer_than: float = NEVER) -> "asyncio.Task[MountReply]":
        """A volume that wants the reply, in a task."""
        return asyncio.create_task(self._join(asyncio.get_running_loop().time() + seconds, newer_than))

    async def joined(self, number: int, seconds: float = 30.0) -> "list[asyncio.Task[MountReply]]":
        """So many, all of which wait."""
        tasks = [self.join(seconds) for _ in range(number)]
        await until(lambda: self.users == number, "all to wait")
        return tasks

    @property
    def users(self) -> int:
        """Who waits for, or holds, the call in progress."""
        return sum(flight.users for flight in self.flights._flights.values())

    async def _join(self, deadline: float, newer_than: float) -> MountReply:
        async with AsyncExitStack() as held:
            reply, _, _ = await self.flights.join("key", self.calls.call, deadline, held, newer_than)
            await self.may_close.wait()
            return reply


def scenario(run: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
    """Run it with a lab; at the end nothing is held and nobody is remembered."""

    async def whole() -> None:
        lab = Lab()
        await run(lab)
        await until(lambda: not lab.calls.open and not lab.flights._flights, "all to be closed")

    run_async(whole)


def test_one_call() -> None:
    """A hundred wait for the same → one call; its place in memory is held until the last has written it."""

    async def run(lab: Lab) -> None:
        lab.may_close.clear()
        tasks = await lab.joined(100)
        lab.calls.go.set()
        await until(lambda: lab.calls.open == 1, "the reply")
        lab.may_close.set()
        assert [await task for task in tasks] == [REPLY] * 100
        assert lab.calls.number == 1

    scenario(run)


@pytest.mark.parametrize("first", [True, False], ids=["who has started the call", "who has joined"])
def test_cancelled(first: bool) -> None:
    """One that waits is cancelled → the others get the reply of the same call."""

    async def run(lab: Lab) -> None:
        tasks = await lab.joined(3)
        gone = tasks.pop(0 if first else 1)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        lab.calls.go.set()
        assert [await task for task in tasks] == [REPLY, REPLY]
        assert lab.calls.number == 1 and not lab.calls.cancelled

    scenario(run)


def test_all_are_cancelled() -> None:
    """All that wait are cancelled → so is the call; who comes then starts another one."""

    async def run(lab: Lab) -> None:
        for task in await lab.joined(3):
            task.cancel()
        await until(lambda: lab.calls.cancelled == 1, "the call to be cancelled")
        last = lab.join()
        lab.calls.go.set()
        assert await last is REPLY and lab.calls.number == 2

    scenario(run)


def test_deadline_of_the_first() -> None:
    """Who has started the call has a short deadline, after which it fails → the others get the reply of another one, by
    their own deadlines."""

    async def run(lab: Lab) -> None:
        first = lab.join(0.1)
        await until(lambda: lab.users == 1, "the call")
        others = [lab.join() for _ in range(5)]
        with pytest.raises(DeadlineExceeded):
            await first
        await until(lambda: lab.calls.number == 2, "another call")
        lab.calls.go.set()
        assert [await task for task in others] == [REPLY] * 5
        assert lab.calls.number == 2

    scenario(run)


def test_deadline_of_one_who_joined() -> None:
    """One that has joined has a short deadline → it fails by then, and the others do not."""

    async def run(lab: Lab) -> None:
        [first] = await lab.joined(1)
        with pytest.raises(DeadlineExceeded):
            await lab.join(0.1)
        lab.calls.go.set()
        assert await first is REPLY

    scenario(run)


def test_failure() -> None:
    """The call fails → it fails for all who wait, each with an object of its own; who comes then makes another call."""

    async def run(lab: Lab) -> None:
        tasks = await lab.joined(3)
        lab.calls.failure = PermissionDenied("no", "Forbidden")
        lab.calls.go.set()
        failures = await asyncio.gather(*tasks, return_exceptions=True)
        assert [(type(failure), str(failure)) for failure in failures] == [(PermissionDenied, "no")] * 3
        assert len({id(failure) for failure in failures}) == 3
        assert all(isinstance(failure, Failure) and failure.error_type == "Forbidden" for failure in failures)
        lab.calls.failure = None
        assert await lab.join() is REPLY and lab.calls.number == 2

    scenario(run)


def test_early_failure_is_not_repeated() -> None:
    """The call fails long before any deadline → the others do not try again by themselves: no storm."""

    async def run(lab: Lab) -> None:
        tasks = [*(await lab.joined(1, 10)), lab.join(20), lab.join(30)]
        await until(lambda: lab.users == 3, "all to wait")
        lab.calls.failure = Unavailable("away")
        lab.calls.go.set()
        assert all(isinstance(item, Unavailable) for item in await asyncio.gather(*tasks, return_exceptions=True))
        assert lab.calls.number == 1

    scenario(run)


def test_a_bug() -> None:
    """The call ends with a bug → all who wait see it."""

    async def run(lab: Lab) -> None:
        lab.calls.bug = True
        lab.calls.go.set()
        results = await asyncio.gather(lab.join(), lab.join(), return_exceptions=True)
        assert [type(item) for item in results] == [ZeroDivisionError] * 2

    scenario(run)


def test_an_older_call_will_not_do() -> None:
    """A volume has content that is newer than the call in progress → it gets one of its own."""

    async def run(lab: Lab) -> None:
        [older] = await lab.joined(1)
        newer = lab.join(newer_than=clock.now())
        await until(lambda: lab.calls.number == 2, "its call")
        lab.calls.go.set()
        assert [await older, await newer] == [REPLY, REPLY]

    scenario(run)
