"""What is supervised, and how patiently."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """One program: a function that runs in a process of its own and returns its exit code.

    ``stop_order`` 0 is stopped first; ``stop_seconds`` is how long it may take before it is killed.
    """

    name: str
    run: Callable[[], int]
    stop_order: int
    stop_seconds: float = 8.0


@dataclass(frozen=True)
class Limits:
    """When a role that keeps dying ends the container, so that kubelet restarts it.

    A role is up once it has lived for ``start_seconds``. One that dies before is started again after growing pauses, at
    most ``start_retries`` times in a row; one that dies later is started again at once, and counted: ``restarts``
    deaths in ``window_seconds`` are the end too, because supervisord itself has no bound for those.
    """

    start_seconds: float = 1.0
    start_retries: int = 6
    restarts: int = 30
    window_seconds: float = 60.0
    first_pause: float = 0.05
    longest_pause: float = 5.0

    def pause(self, deaths: int) -> float:
        """Seconds to wait before the next start, after ``deaths`` (≥ 1) in a row: none after the first."""
        return 0.0 if deaths <= 1 else min(self.first_pause * 2.0 ** (deaths - 2), self.longest_pause)
