"""What the roles have said last, for when they do not answer: a driver that hangs is no driver without volumes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime import clock, status


@dataclass
class _Last:
    """A status, and the moments (``runtime.clock``) at which it was read and since which the role has been silent."""

    status: dict[str, Any]
    at: float
    silent_since: float | None = None


class LastKnown:
    """Reads the roles' statuses and remembers them; with an empty ``directory`` nothing is read."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._last: dict[str, _Last] = {}

    async def read(self, role: str) -> dict[str, Any] | None:
        """The role's status; None if it does not answer."""
        if not self._directory:
            return None
        asked = clock.now()
        found = await status.read(self._directory, role)
        if found is not None:
            self._last[role] = _Last(found, clock.now())
        elif role in self._last and self._last[role].silent_since is None:
            self._last[role].silent_since = asked
        return found

    def of_silent_roles(self) -> dict[str, Mapping[str, Any]]:
        """The last status of each role that did not answer when it was last asked, with the Unix times at which it was
        read and since which the role has been silent."""
        return {
            role: {
                "status": last.status,
                "at": clock.wall_time(last.at),
                "silent_since": clock.wall_time(last.silent_since),
            }
            for role, last in self._last.items()
            if last.silent_since is not None
        }
