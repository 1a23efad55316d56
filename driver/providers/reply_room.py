"""How many replies of providers are in memory at a time, and how large they may be.

A hundred pods may start at once, and each reply may be of megabytes, of which several copies exist until it is written.
So most calls accept a small reply only. One that turns out to be larger is called again in a lane where few are at a
time, and its class is remembered, so that this happens once. In both lanes namespaces have shares, since a provider may
take minutes to answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from driver import limits
from driver.volume.memory import MemoryBudget
from driver.volume.workers import TENANT
from runtime.errors import ResourceExhausted


class ReplyRoom:
    """The turns of calls to providers, and the memory that is reserved for their replies."""

    def __init__(self, memory: MemoryBudget, largest: int) -> None:
        self.small, self.largest = min(limits.SMALL_REPLY_BYTES, largest), largest
        self._memory = memory
        self._large = asyncio.Semaphore(limits.LARGE_REPLIES)
        # A tenant's is there for as long as a call holds it or waits for it.
        self._of_tenants: WeakValueDictionary[tuple[str, bool], asyncio.Semaphore] = WeakValueDictionary()
        self._known_large: dict[str, None] = {}

    def is_large(self, subject: str) -> bool:
        """Whether the last reply for a subject, such as a class, was not small."""
        return subject in self._known_large

    def note_large(self, subject: str) -> None:
        """Remember it; of too many the oldest is forgotten."""
        if len(self._known_large) >= limits.MAX_LARGE_SUBJECTS:
            del self._known_large[next(iter(self._known_large))]
        self._known_large[subject] = None

    @asynccontextmanager
    async def turn(self, large: bool, deadline: float) -> AsyncIterator[None]:
        """Hold the place of one reply, and reserve its memory. Raises ResourceExhausted if there is none by
        ``deadline`` (event loop time)."""
        tenant, most = TENANT.get(), limits.LARGE_REPLIES_OF_ONE if large else limits.SMALL_REPLIES_OF_ONE
        own = self._of_tenants.setdefault((tenant, large), asyncio.Semaphore(most))
        size = self.largest if large else self.small
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline):
                    await stack.enter_async_context(own)
                    if large:
                        await stack.enter_async_context(self._large)
            except TimeoutError:
                raise ResourceExhausted(
                    f"too many other volumes wait for replies of {size} bytes: {most} at a time are possible for the "
                    f"namespace{f', {limits.LARGE_REPLIES} for the node' if large else ''}; it will be tried again"
                ) from None
            self.reserve(size, stack)
            yield

    def reserve(self, size: int, held: AsyncExitStack) -> None:
        """Reserve the memory of content of ``size`` bytes until ``held`` is closed. Raises ResourceExhausted."""
        try:
            held.enter_context(self._memory.reserve(limits.REPLY_COPIES * size))
        except ResourceExhausted as full:
            raise ResourceExhausted(str(full), "FileWriteError") from None  # counted as if it could not be written
