"""Directories of sockets that a process depends on: wait for changes in them, and notice when they were deleted on the
node."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from runtime import inotify, logs
from runtime.errors import ConfigurationError

log = logs.get(__name__)

# How long events are collected after the first one, and how often a directory that cannot be watched is tried again.
SETTLE_SECONDS, RETRY_SECONDS = 0.05, 1.0


class Directories:
    """Waits for changes by inotify. Callers poll slowly as well, in case inotify is not available."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self._changed = asyncio.Event()
        self._watched = 0

    @property
    def all_watched(self) -> bool:
        """Whether inotify reports the changes in all of them now."""
        return self._watched == len(self._paths)

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

    def notify(self) -> None:
        """End the current wait, or the next one, although no directory has changed."""
        self._changed.set()

    async def wait_for_change(self, seconds: float) -> None:
        """Wait until something has changed since the last call, for at most ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
                await asyncio.sleep(SETTLE_SECONDS)
        self._changed.clear()

    def raise_if_deleted(self) -> None:
        """Raise ConfigurationError if a hostPath directory was deleted on the node. The mount in the container still
        holds its inode, with a link count of 0, and no new directory will ever appear there."""
        for path in self._paths:
            with contextlib.suppress(OSError):
                if os.stat(path).st_nlink == 0:
                    raise ConfigurationError(
                        f"{path} was deleted on the node and this container still holds the deleted directory: "
                        "the container must restart"
                    )

    async def _watch(self, path: str) -> None:
        while True:
            try:
                with inotify.Watch(Path(path)) as events, self._counted():
                    self._changed.set()
                    async for event in events:
                        self._changed.set()
                        if event.kind is inotify.Kind.DIRECTORY_GONE:
                            break
            except OSError as error:  # it does not exist, or inotify's limits are reached: the slow poll has to do
                log.verbose(5, "Cannot watch", directory=path, reason=error)
            await asyncio.sleep(RETRY_SECONDS)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._watched += 1
        try:
            yield
        finally:
            self._watched -= 1
