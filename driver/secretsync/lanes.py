"""Lanes: work that waits for one provider never holds up that of another.

A provider that hangs keeps each call for a minute. So each has a lane of its own with a few places; what is beyond them
waits in the lane's queue, which costs no task.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class _Lane:
    waiting: deque[Work] = field(default_factory=deque)
    running: int = 0


class Lanes:
    """The lanes by name; one exists while it has work."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, name: str, work: Work) -> None:
        """Do the work as soon as the lane has a place. Its exceptions must not leave it."""
        lane = self._lanes.setdefault(name, _Lane())
        lane.waiting.append(work)
        if lane.running < self._places:
            lane.running += 1
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
        try:
            while lane.waiting:
                await lane.waiting.popleft()()
        finally:
            lane.running -= 1
            if not lane.running and not lane.waiting:
                self._lanes.pop(name, None)
