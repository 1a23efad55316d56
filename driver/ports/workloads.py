"""Restarts of the workloads whose pods do not read new content by themselves."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from driver.ports.classes import ClassRef
from driver.ports.volumes import Pod


class Restart(NamedTuple):
    """A restart that is asked for because a volume of the pod has new content: its ``objects`` by id and version, and
    the digests (``objects.workloads``) of what it had ``before``. ``class_uid`` is that of the class, ``interval`` the
    shortest time between two restarts in seconds."""

    pod: Pod
    class_ref: ClassRef
    class_uid: str
    volume_name: str
    objects: Mapping[str, str]
    before: tuple[str, ...]
    interval: float


class RestartResult(NamedTuple):
    """What became of a restart. ``message`` is for people, empty if there is nothing to say. If it is to be asked for
    again, ``retry_after`` is the number of seconds to wait; otherwise it is None."""

    restarted: bool = False
    message: str = ""
    retry_after: float | None = None


class Workloads(Protocol):
    """The Deployments, StatefulSets and DaemonSets of pods."""

    async def restart(self, request: Restart) -> RestartResult:
        """Restart the workload of the pod, unless it was restarted for this content already. Retries until the caller's
        timeout cancels it."""
