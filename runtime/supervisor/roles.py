"""The roles to supervise, and how often they may be restarted."""

from collections.abc import Callable
from typing import NamedTuple

from runtime.privileges import Privileges


class Role(NamedTuple):
    """A function that runs in a process of its own and returns its exit code.

    Roles are stopped one after the other, the one with ``stop_order`` 0 first; one that has not ended within
    ``stop_seconds`` is killed. A role with ``privileges`` gives up all others before it runs.
    """

    name: str
    run: Callable[[], int]
    stop_order: int
    stop_seconds: float = 8.0
    privileges: Privileges | None = None


class RestartPolicy(NamedTuple):
    """When a role is restarted, and when the container ends instead, so that kubelet restarts it.

    A role that dies within ``start_seconds`` of its start has failed to start. It is started again after growing
    delays, at most ``start_retries`` times in a row; then the container ends.

    A role that dies later is started again at once, or after growing delays if it dies often. supervisord has no limit
    for this case; here more than ``max_restarts`` deaths within ``window_seconds`` end the container. That many
    restarts, ``max_delay`` apart, must fit into the window with time to spare, or the limit is never reached.

    A role whose event loop has not run for ``hang_seconds`` is killed and started again (``watchdog``), up to
    ``max_hangs`` times in the container's life.
    """

    start_seconds: float = 1.0
    start_retries: int = 6
    max_restarts: int = 20
    window_seconds: float = 120.0
    first_delay: float = 0.05
    max_delay: float = 2.0
    hang_seconds: float = 60.0
    max_hangs: int = 20

    def delay(self, deaths: int) -> float:
        """Seconds to wait before the next start, after ``deaths`` (≥ 1) in a row: none after the first."""
        return 0.0 if deaths <= 1 else min(self.first_delay * 2.0 ** (deaths - 2), self.max_delay)

    def remaining_delay(self, deaths: int, lived: float) -> float:
        """The delay minus the seconds for which the role ``lived``, so that after a long life it restarts at once."""
        return max(0.0, self.delay(deaths) - lived)
