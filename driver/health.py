"""What Probe, /readyz and the status page say of the driver's own state.

``ready`` is false only while the driver starts and for what a restart of the container mends: a hostPath directory
that was deleted on the host, so that ours is a dead inode, and a pods directory whose mounts no longer reach the
host. All else is a warning or a reason for /readyz.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Probe may be asked thousands of times a second; the mount table is read at most this often.
FRESH_SECONDS = 1.0


@dataclass
class Health:
    """``watched`` are directories that the container gets from its node, ``shared`` the pods directory, whose mounts
    must reach the node if they did when the driver started."""

    watched: Sequence[str] = ()
    shared: str = ""
    started: bool = False
    not_ready: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._was_shared = bool(self.shared) and propagates(self.shared)
        self._checked_at, self._broken = float("-inf"), ""

    @property
    def ready(self) -> bool:
        """What Probe answers."""
        return self.started and not self.broken

    @property
    def broken(self) -> str:
        """Why a restart of the container is needed; empty if it is not."""
        now = time.monotonic()
        if now - self._checked_at >= FRESH_SECONDS:
            self._checked_at, self._broken = now, self._check()
        return self._broken

    def _check(self) -> str:
        for path in filter(None, (*self.watched, self.shared)):
            if _is_deleted(path):
                return f"{path} was deleted on the node and ours is a dead directory: the container must restart"
        if self._was_shared and not propagates(self.shared):
            return f"mounts under {self.shared} no longer reach the node: the container must restart"
        return ""

    def snapshot(self, missing: Sequence[str] = ()) -> Mapping[str, object]:
        """For the status socket; ``missing`` are further reasons against /readyz."""
        broken = self.broken
        return {
            "ready": self.started and not broken,
            "reason": broken or ("" if self.started else "the driver is starting"),
            "not_ready_reasons": [*self.not_ready.values(), *missing],
            "warnings": list(self.warnings.values()),
        }


def _is_deleted(path: str) -> bool:
    """A removed directory keeps its inode while it is mounted, with a link count of 0; one that never was is not
    deleted."""
    try:
        return os.stat(path).st_nlink == 0
    except OSError:
        return False


def propagates(path: str) -> bool:
    """Whether the mount that holds ``path`` is shared (the optional field ``shared:N`` in proc_pid_mountinfo(5))."""
    best, shared = "", False
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        point = fields[4].replace("\\040", " ")
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, shared = point, any(item.startswith("shared:") for item in fields[6 : fields.index("-")])
    return shared
