"""Lanes: work that waits for one provider never holds up that of another, nor one namespace's that of another.

A provider that hangs keeps each call for a minute. So each has a lane of its own with a few places; what is beyond them
waits in the lane's queue, which costs no task. In a lane the tenants, which are namespaces, take turns, and none has
all places: a thousand SecretSyncs of one, each of which waits for a minute, are not in the way of the others.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from driver.volume.turns import Turns
from driver.volume.workers import TENANT

Work = Callable[[], Coroutine[Any, Any, None]]


class _Lane:
    """``tasks`` is how many of its places are taken."""

    def __init__(self, of_one: int) -> None:
        self.turns: Turns[Work] = Turns(of_one)
        self.tasks = 0


class Lanes:
    """The lanes by name; one exists while it has work. Of its ``places`` one tenant has ``of_one`` at most."""

    def __init__(self, places: int, of_one: int) -> None:
        self._places = places
        self._of_one = of_one
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, name: str, tenant: str, work: Work) -> None:
        """Do the work as soon as the lane has a place for it. Its exceptions must not leave it."""
        lane = self._lanes.setdefault(name, _Lane(self._of_one))
        lane.turns.put(tenant, work)
        if lane.tasks < self._places:
            lane.tasks += 1
            task = asyncio.create_task(self._drive(name, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._lanes.clear()

    async def _drive(self, name: str, lane: _Lane) -> None:
        """Work until nothing is left that may be done."""
        try:
            while (found := lane.turns.take()) is not None:
                tenant, work = found
                TENANT.set(tenant)
                try:
                    await work()
                finally:
                    lane.turns.ended(tenant)
        finally:
            lane.tasks -= 1
            if not lane.tasks and self._lanes.get(name) is lane:
                del self._lanes[name]
