"""Whether the driver is ready, for Probe, /readyz and the status page.

``ready`` is false only while the driver starts, and for problems that a restart of the container solves: a hostPath
directory that was deleted on the node, so that the container holds a dead directory; a pods directory from which mounts
no longer propagate to the node; a background task that fails again and again. Other problems are reasons against
/readyz, and do not fail a liveness probe.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from driver.volume import mountinfo
from runtime import logs

log = logs.get(__name__)

# Probe may be called thousands of times a second; directories and the mount table are read at most once in this time.
FRESH_SECONDS = 1.0


@dataclass
class Health:
    """The driver's health.

    ``watched`` are hostPath directories of the container. ``shared`` is the pods directory: if mounts in it propagated
    to the node when the driver started, they must continue to do so. ``broken_tasks`` says why a background task cannot
    be kept running; empty if all can.
    """

    watched: Sequence[str] = ()
    shared: str = ""
    broken_tasks: Callable[[], str] = str
    started: bool = False

    def __post_init__(self) -> None:
        self._was_shared = bool(self.shared) and mountinfo.is_shared(self.shared)
        self._checked_at, self._broken = float("-inf"), ""

    @property
    def ready(self) -> bool:
        """The answer to Probe."""
        return self.started and not self.broken

    @property
    def broken(self) -> str:
        """Why the container must be restarted; empty if it need not."""
        now = time.monotonic()
        if now - self._checked_at >= FRESH_SECONDS:
            self._checked_at = now
            try:
                self._broken = self._check()
            except OSError as error:  # out of descriptors or memory, say: what was known before is still the best guess
                log.warning("Cannot check the driver's health; it counts as unchanged", err=error)
        return self._broken

    def _check(self) -> str:
        for path in filter(None, (*self.watched, self.shared)):
            if _is_deleted(path):
                return f"{path} was deleted on the node: the container must restart, as it still has the dead directory"
        if self._was_shared and not mountinfo.is_shared(self.shared):
            return f"mounts under {self.shared} no longer reach the node: the container must restart"
        return self.broken_tasks()

    def snapshot(self, not_ready_reasons: Sequence[str] = ()) -> Mapping[str, object]:
        """The state for the status socket, with further reasons against /readyz."""
        broken = self.broken
        return {
            "ready": self.started and not broken,
            "reason": broken or ("" if self.started else "the driver is starting"),
            "not_ready_reasons": list(not_ready_reasons),
        }


def _is_deleted(path: str) -> bool:
    """Whether a directory was removed while it was mounted: it then has a link count of 0. A directory that has never
    existed does not count."""
    try:
        return os.stat(path).st_nlink == 0
    except OSError:
        return False
