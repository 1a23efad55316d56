"""Providers whose sockets did not answer when a sync failed: what failed is tried again as soon as they do.

The back-off of a failure goes up to minutes, and a provider that is installed or restarted is back at a moment.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from driver.providers.sockets import ProviderSockets

LOOK_SECONDS = 5.0


class Reachability(Protocol):
    """What is needed of ``driver.providers.pool.ProviderPool``."""

    async def reachable(self, names: Collection[str]) -> dict[str, bool]:
        """Of each provider, whether its socket is connected or a process listens there."""


class AwayProviders:
    """``on_back`` is called with the name of a provider that was away and is back; ``run`` looks for them."""

    def __init__(self, providers: Reachability, on_back: Callable[[str], None]) -> None:
        self._providers = providers
        self._on_back = on_back
        # By name whether the provider was away when it was looked for. Without any, nothing is looked for.
        self._failed: dict[str, bool] = {}
        self._any = asyncio.Event()

    def failed(self, name: str) -> None:
        """A sync has failed that needed the provider."""
        if ProviderSockets.is_name(name):
            self._failed.setdefault(name, False)
            self._any.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._any.wait()
            for name, answers in (await self._providers.reachable(set(self._failed))).items():
                if not answers:
                    self._failed[name] = True
                elif self._failed.pop(name):
                    self._on_back(name)
            if self._failed:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                self._any.clear()
