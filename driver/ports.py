"""What the driver asks of the world beyond the node, in its own words.

``cluster/`` answers from a Kubernetes API server, ``manifests.py`` from a directory of YAML; the publish path cannot
tell which. All failures are ``runtime.errors``: NotFound for what does not exist, Unavailable for a world that is
away.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

NO_STRINGS: Mapping[str, str] = {}
INTERVAL_ANNOTATION = "secrets-store.csi.k8s.io/rotation-poll-interval"
REFRESH_ANNOTATION = "secrets-store.csi.k8s.io/refresh"


@dataclass(frozen=True)
class Pod:
    """A pod, by name and UID; the UID may be empty where only the name is known."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ClassRef:
    """Names a SecretProviderClass."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class SecretObject:
    """One entry of ``spec.secretObjects``, as the class has it: unchecked. ``data`` is (objectName, key) pairs."""

    secret_name: str
    type: str
    data: tuple[tuple[str, str], ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProviderClass:
    """A SecretProviderClass, either API version; empty strings and maps where a field is absent.

    ``fingerprint`` changes when anything changes that makes a volume's content due: the provider, the parameters, the
    refresh annotation.
    """

    class_ref: ClassRef
    provider: str
    parameters: Mapping[str, str] = field(repr=False)
    secret_objects: tuple[SecretObject, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True)
class RefreshFailure:
    """Why the last refresh of a mounted volume failed: ``reason`` in CamelCase, ``message`` free of secrets, how
    often in a row, when last (Unix time)."""

    reason: str
    message: str
    count: int
    time: float


@dataclass(frozen=True)
class VolumeRecord:
    """What a SecretProviderClassPodStatus tells of one volume. ``objects`` maps object id to version; times are Unix
    seconds."""

    pod: Pod
    class_ref: ClassRef
    volume_name: str
    target_path: str
    objects: Mapping[str, str]
    last_refresh: float | None = None
    failure: RefreshFailure | None = None


@dataclass(frozen=True)
class PodEvent:
    """An event on a pod. One (pod, reason, subject) is one series: repeated, it is counted, not multiplied.
    ``subject`` is a class, Secret or volume name."""

    pod: Pod
    warning: bool
    reason: str
    message: str
    subject: str = ""


ClassListener = Callable[[ClassRef], None]


class Cluster(Protocol):
    """The world beyond the node."""

    async def run(self) -> None:
        """Work in the background (a watch, say) until cancelled; never raises for a world that is away."""

    async def get_class(self, class_ref: ClassRef) -> ProviderClass:
        """The class: remembered while a volume uses it, else read. Waits and retries until the caller's timeout
        cancels it. Raises NotFound."""

    def forget_class(self, class_ref: ClassRef) -> None:
        """The last volume that used the class is gone."""

    def is_current(self, provider_class: ProviderClass) -> bool:
        """Whether ``get_class`` would return an equal class without asking anybody: False if the class has changed
        since it was read, or was deleted."""

    def on_class_change(self, listener: ClassListener) -> None:
        """Call ``listener`` when a remembered class was changed or deleted; it must return at once."""

    async def record(self, record: VolumeRecord) -> None:
        """Write the pod status in one call, and only if it says something new (``last_refresh`` alone is nothing
        new). Raises Unavailable."""

    def forget_record(self, target_path: str) -> None:
        """The volume is gone; its pod status goes with the pod, by garbage collection."""

    async def records(self) -> list[VolumeRecord]:
        """The pod statuses of this node, once, at start. Raises Unavailable."""

    async def event(self, event: PodEvent) -> None:
        """Tell the pod's owner; failures to do so are logged and not raised."""


class SecretSync(Protocol):
    """Mounted files as Kubernetes Secrets, by a queue of its own; the publish path only tells it what happened."""

    async def run(self) -> None:
        """Work in the background until cancelled."""

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """A volume was published or refreshed; ``changed`` if its files were. The first attempt for a volume is made
        before this returns, for at most a second or two; a later one is queued. Never raises."""

    def restored(self, records: Iterable[VolumeRecord]) -> None:
        """The volumes that were there before this driver, once their classes are known again. Returns at once."""

    def forget(self, target_path: str) -> None:
        """The volume is gone."""


@dataclass(frozen=True)
class Backend:
    """The two together, and what else runs beside the driver for them."""

    cluster: Cluster
    sync: SecretSync
    background: Sequence[Coroutine[Any, Any, None]] = ()
