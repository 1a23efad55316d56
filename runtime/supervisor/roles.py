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
class RestartPolicy:
    """When a role that keeps dying ends the container, so that kubelet restarts it.

    A role is up once it has lived for ``start_seconds``. One that dies before is started again after growing pauses, at
    most ``start_retries`` times in a row. One that dies later is started again at once unless it does so often, and
    counted: more than ``restarts`` deaths in ``window_seconds`` are the end too, because supervisord itself has no
    bound for those. ``restarts`` starts, ``longest_pause`` apart, must fit well into the window, or it never fills.
    """

    start_seconds: float = 1.0
    start_retries: int = 6
    restarts: int = 20
    window_seconds: float = 120.0
    first_pause: float = 0.05
    longest_pause: float = 2.0

    def delay(self, deaths: int) -> float:
        """Seconds to wait before the next start, after ``deaths`` (≥ 1) in a row: none after the first."""
        return 0.0 if deaths <= 1 else min(self.first_pause * 2.0 ** (deaths - 2), self.longest_pause)

    def remaining_delay(self, deaths: int, lived: float) -> float:
        """The same for a role that was up: what it ``lived`` counts, so that a long life is followed at once."""
        return max(0.0, self.delay(deaths) - lived)
