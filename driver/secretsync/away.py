"""Providers whose sockets did not answer when a sync failed: what failed is tried again as soon as they do.

The back-off of a failure goes up to minutes, and a provider that is installed or restarted is back at a moment.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from driver import limits
from driver.providers.sockets import ProviderSockets

LOOK_SECONDS = 5.0


class Reachability(Protocol):
    """What is needed of ``driver.providers.pool.ProviderPool``."""

    async def reachable(self, names: Collection[str]) -> dict[str, bool]:
        """Of each provider, whether its socket is connected or a process listens there."""


class AwayProviders:
    """``failing`` says which providers the failed syncs need; ``on_back`` is called with the name of one that was away
    and answers. ``run`` looks for them, and waits while there is none."""

    def __init__(
        self, providers: Reachability, failing: Callable[[], Collection[str]], on_back: Callable[[str], None]
    ) -> None:
        self._providers = providers
        self._failing = failing
        self._on_back = on_back
        # By name whether it has not been back yet. One that answers, and fails as if it were away, is back only once.
        self._away: dict[str, bool] = {}
        self._any = asyncio.Event()

    def sync_failed(self, name: str) -> None:
        """A sync has failed because this provider was away."""
        if ProviderSockets.is_name(name) and len(self._away) < limits.MAX_PROVIDERS:
            self._away.setdefault(name, True)
            self._any.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._any.wait()
            for name, answers in (await self._providers.reachable(list(self._away))).items():
                if answers and self._away[name]:
                    self._on_back(name)
                self._away[name] = not answers
            await asyncio.sleep(LOOK_SECONDS)
            needed = self._failing()
            self._away = {name: away for name, away in self._away.items() if name in needed}
            if not self._away:
                self._any.clear()
