"""What Probe, /readyz and the status page say of the driver's own state.

``ready`` is false only while the driver starts and for what a restart of the container mends: a hostPath directory that was deleted on the
host, so that ours is a dead inode, and a pods directory whose mounts no longer reach the host. All else is a warning or a reason for /readyz.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Health:
    """``watched`` are directories that the container gets from its node; ``shared`` is the pods directory, which must propagate mounts."""

    watched: Sequence[str] = ()
    shared: str = ""
    started: bool = False
    not_ready: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """What Probe answers."""
        return self.started and not self.broken

    @property
    def broken(self) -> str:
        """Why a restart of the container is needed; empty if it is not."""
        for path in self.watched:
            if _is_deleted(path):
                return f"{path} was deleted on the node and ours is a dead directory: the container must restart"
        if self.shared and not _propagates(self.shared):
            return f"mounts under {self.shared} do not reach the node: the container must restart with mountPropagation Bidirectional"
        return ""

    def snapshot(self) -> Mapping[str, object]:
        """For the status socket."""
        broken = self.broken
        return {
            "ready": self.started and not broken,
            "reason": broken or ("" if self.started else "the driver is starting"),
            "not_ready_reasons": list(self.not_ready.values()),
            "warnings": list(self.warnings.values()),
        }


def _is_deleted(path: str) -> bool:
    """A directory that was removed keeps its inode while it is mounted or open, with a link count of 0; one that never was is not 'deleted'."""
    try:
        return os.stat(path).st_nlink == 0
    except OSError:
        return False


def _propagates(path: str) -> bool:
    """Whether the mount that holds ``path`` is shared (mountinfo's optional field ``shared:N``), see proc_pid_mountinfo(5)."""
    best, shared = "", True
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        point = fields[4].replace("\\040", " ")
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, shared = point, any(item.startswith("shared:") for item in fields[6:fields.index("-")])
    return shared
