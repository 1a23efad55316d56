"""Which volumes have gone: the contract of providers has no call for that, but a provider that sees the target paths
can look.

The driver makes the target path before it calls, and removes it when it unpublishes. So a path that was there when the
provider answered, and no longer is, belongs to a volume that no pod uses. A path that was never seen says nothing: then
kubelet's directory is not mounted into the provider's container.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from provider_openbao.identity import Identity

Volume = tuple[Identity, str, str]
"""Who asks, the pod's UID and the target path."""


class TargetPaths:
    """The target paths that have been seen. A path can be removed and made again, when kubelet repeats a publish that
    had failed, so a volume that was asked for since the look at its path does not count as gone."""

    def __init__(self) -> None:
        self._calls: Counter[Volume] = Counter()
        self._running: Counter[Volume] = Counter()
        self._seen: set[Volume] = set()

    @contextmanager
    def in_use(self, volume: Volume) -> Iterator[None]:
        """While a call for the volume runs."""
        self._calls[volume] += 1
        self._running[volume] += 1
        try:
            yield
        finally:
            self._running[volume] -= 1
            if not self._running[volume]:
                del self._running[volume]
                if volume not in self._seen:
                    del self._calls[volume]

    async def look(self, volume: Volume) -> None:
        """Remember the volume if its path can be seen; to be called inside ``in_use``."""
        if volume not in self._seen and await asyncio.to_thread(_exists, volume[2]):
            self._seen.add(volume)

    async def take_gone(self) -> list[Volume]:
        """The volumes whose path was seen and is no longer there; they are forgotten."""
        calls = {volume: self._calls[volume] for volume in self._seen if volume not in self._running}
        missing = await asyncio.to_thread(_missing, list(calls))
        gone = [volume for volume in missing if self._calls[volume] == calls[volume]]
        for volume in gone:
            self._forget(volume)
        return gone

    def keep_only(self, volumes: Iterable[Volume]) -> None:
        """Forget all others."""
        for volume in self._seen.difference(volumes):
            self._forget(volume)

    def _forget(self, volume: Volume) -> None:
        self._seen.discard(volume)
        if volume not in self._running:
            del self._calls[volume]


def _missing(volumes: list[Volume]) -> list[Volume]:
    return [volume for volume in volumes if not _exists(volume[2])]


def _exists(path: str) -> bool:
    """Also if nobody may say: what cannot be looked at has not gone."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True
