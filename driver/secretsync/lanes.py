"""Lanes: work that waits for one provider never holds up that of another, nor one namespace's that of another.

A provider that hangs keeps each call for a minute. So each has a lane of its own with a few places; what is beyond them
waits in the lane's queue, which costs no task. In a lane the tenants, which are namespaces, take turns, and none has
all places: a thousand SecretSyncs of one, each of which waits for a minute, are not in the way of the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from driver.volume.workers import TENANT

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class _Lane:
    """``waiting`` has only tenants with work that waits, the one whose turn is next first."""

    waiting: dict[str, deque[Work]] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    tasks: int = 0

    def take(self, of_one: int) -> tuple[str, Work] | None:
        """The next work, and whose it is; its tenant's next turn is after all others'."""
        tenant = next((each for each in self.waiting if self.running.get(each, 0) < of_one), None)
        if tenant is None:
            return None
        works = self.waiting.pop(tenant)
        work = works.popleft()
        if works:
            self.waiting[tenant] = works
        self.running[tenant] = self.running.get(tenant, 0) + 1
        return tenant, work

    def ended(self, tenant: str) -> None:
        """A work of the tenant has ended."""
        self.running[tenant] -= 1
        if not self.running[tenant]:
            del self.running[tenant]


class Lanes:
    """The lanes by name; one exists while it has work. Of its ``places`` one tenant has ``of_one`` at most."""

    def __init__(self, places: int, of_one: int) -> None:
        self._places = places
        self._of_one = of_one
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, name: str, tenant: str, work: Work) -> None:
        """Do the work as soon as the lane has a place for it. Its exceptions must not leave it."""
        lane = self._lanes.setdefault(name, _Lane())
        lane.waiting.setdefault(tenant, deque()).append(work)
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
        """Work until nothing is left that may be done: a tenant at its limit is served when one of its works ends, by
        the task that did it."""
        try:
            while (found := lane.take(self._of_one)) is not None:
                tenant, work = found
                TENANT.set(tenant)
                try:
                    await work()
                finally:
                    lane.ended(tenant)
        finally:
            lane.tasks -= 1
            if not lane.tasks and self._lanes.get(name) is lane:
                del self._lanes[name]
