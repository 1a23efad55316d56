"""The providers that publishes wait for in vain: the log says when it begins and ends, and the status page shows it.

A provider that is away is not an error yet: it is probably restarting. But without a word nobody would know for two
minutes what a pod is waiting for.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from driver import limits
from driver.providers.sockets import ProviderSockets
from runtime import clock, logs

log = logs.get(__name__)

# How long a socket on which a process listens may take to accept a connection before the provider counts as away.
BUSY_SECONDS = 2.5


class Absence(NamedTuple):
    """A provider is away ``since`` a moment of ``runtime.clock``, for a ``reason`` without a full stop."""

    since: float
    reason: str


class Absences:
    """Which providers are away, and how many publishes wait for each."""

    def __init__(self, sockets: ProviderSockets) -> None:
        self._sockets = sockets
        self._waiting: Counter[str] = Counter()
        self._away: dict[str, Absence] = {}

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """A publish waits for the provider's connection for as long as the context lasts."""
        self._waiting[name] += 1
        try:
            yield
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]

    def waiting_for(self, name: str) -> int:
        """How many publishes wait for the provider's connection."""
        return self._waiting[name]

    def get(self, name: str) -> Absence | None:
        """Since when the provider is known to be away; None if it is not."""
        return self._away.get(name)

    def not_connected(self, name: str, seconds: float) -> None:
        """A publish has waited ``seconds`` for the provider's connection, and there is none."""
        if name in self._away or seconds < BUSY_SECONDS and self._sockets.is_served(name):
            return
        absence = self._away[name] = Absence(clock.now() - seconds, self._sockets.why_away(name))
        if len(self._away) > limits.MAX_PROVIDERS:
            del self._away[next(iter(self._away))]
        log.warning("A provider is away; publishes wait for it", provider=name, reason=absence.reason)

    def connected(self, name: str) -> None:
        """The provider's socket is connected."""
        absence = self._away.pop(name, None)
        if absence is not None:
            log.info("A provider is back", provider=name, seconds=round(clock.now() - absence.since, 1))
