"""The two directories that a registrar lives from, the driver's and kubelet's: what changes in them, and whether they
are still those of the node."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from runtime import inotify, logs
from runtime.errors import ConfigurationError

log = logs.get(__name__)

# How long a burst of events is gathered, and how often a directory that is not there is looked for.
SETTLE_SECONDS, RETRY_SECONDS = 0.05, 1.0


class Directories:
    """Waits for changes, by inotify; whoever waits has a slow poll behind it."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch for as long as the context lasts."""
        tasks = [asyncio.create_task(self._watch(path)) for path in self._paths]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def note_change(self) -> None:
        """Something else has happened that who waits must look at."""
        self._changed.set()

    async def changed(self, seconds: float) -> None:
        """Wait until something has happened since the last call, but at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
                await asyncio.sleep(SETTLE_SECONDS)
        self._changed.clear()

    def refuse_dead(self) -> None:
        """A hostPath directory that was removed on the node keeps its inode in here, with a link count of 0."""
        for path in self._paths:
            with contextlib.suppress(OSError):
                if os.stat(path).st_nlink == 0:
                    raise ConfigurationError(
                        f"{path} was deleted on the node and ours is a dead directory: the container must restart"
                    )

    async def _watch(self, path: str) -> None:
        while True:
            try:
                with inotify.Watch(Path(path)) as events:
                    self._changed.set()
                    async for event in events:
                        self._changed.set()
                        if event.kind is inotify.Kind.DIRECTORY_GONE:
                            break
            except OSError as error:  # not there, or no watches left: the slow poll does it
                log.verbose(5, "Cannot watch", directory=path, reason=error)
            await asyncio.sleep(RETRY_SECONDS)
