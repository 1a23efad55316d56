"""Classes, pod statuses and events: what the publish path wants of a backend."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from driver.ports.classes import ClassRef, ProviderClass
from driver.ports.volumes import Pod, VolumeRecord
from runtime.tasks import BackgroundTask


class PodEvent(NamedTuple):
    """An event on a pod. Events with the same pod, reason and subject form one series, which is counted instead of
    repeated. ``subject`` is the name of a class, Secret or volume."""

    pod: Pod
    warning: bool
    reason: str
    message: str
    subject: str = ""


ClassListener = Callable[[ClassRef], None]


class Cluster(Protocol):
    """Classes, pod statuses and events."""

    def tasks(self) -> Sequence[BackgroundTask]:
        """What must run in the background, such as watching classes; goes on while the API server is away."""

    async def close(self) -> None:
        """Release the connections, after the tasks have ended."""

    async def get_class(self, class_ref: ClassRef) -> ProviderClass:
        """The class, which is cached while a volume uses it. Retries until the caller's timeout cancels it. Raises
        NotFound."""

    def forget_class(self, class_ref: ClassRef) -> None:
        """No volume uses the class any more: drop it from the cache."""

    def is_current(self, provider_class: ProviderClass) -> bool:
        """Whether a class equals the cached one: False if it has changed or was deleted since it was handed out."""

    def on_class_change(self, listener: ClassListener) -> None:
        """Call ``listener``, which must not block, when a cached class was changed or deleted."""

    async def record(self, record: VolumeRecord) -> str:
        """Write the pod status with one call, unless only ``last_refresh`` has changed. Returns its name; empty if it
        exists but is written later, because the API server is away. Raises Unavailable."""

    def remember_record(self, record: VolumeRecord, status_name: str, *, current: bool) -> None:
        """An earlier process of this driver wrote the pod status; ``current`` is whether it says the same as
        ``record``. Makes no call."""

    def forget_record(self, target_path: str) -> None:
        """The volume is unpublished; its pod status is garbage-collected with the pod."""

    async def records(self, targets: Collection[str]) -> list[tuple[VolumeRecord, str]]:
        """Read the pod statuses for these target paths, once, at start; with the name of each.

        A pod status is only a claim: whoever may create one, in any namespace, may write any target path into it. So
        one counts only if its pod is that of the target path and mounts that class, as the API server has the pod
        itself. Raises Unavailable.
        """

    async def event(self, event: PodEvent) -> None:
        """Create or count an event; failures are logged, not raised."""
