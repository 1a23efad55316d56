"""The interfaces to everything beyond the node, and their types.

``cluster/`` implements them with a Kubernetes API server, ``manifests.py`` with a directory of YAML files; the publish
path does not know which one it works with. Failures are those of ``runtime.errors``: NotFound for what does not exist,
Unavailable while the API server is away.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from runtime.tasks import BackgroundTask

INTERVAL_ANNOTATION = "secrets-store.csi.k8s.io/rotation-poll-interval"
REFRESH_ANNOTATION = "secrets-store.csi.k8s.io/refresh"
SHARE_ANNOTATION = "secrets-store.csi.k8s.io/share-fetch"
LAST_KNOWN_GOOD_ANNOTATION = "secrets-store.csi.k8s.io/last-known-good"
RESTART_ANNOTATION = "secrets-store.csi.k8s.io/restart-on-rotation"
RESTART_INTERVAL_ANNOTATION = "secrets-store.csi.k8s.io/restart-min-interval"
# ``deletionPolicy``: a synced Secret is deleted with the last pod that uses its class, or not before the class.
WITH_PODS, WITH_CLASS = "WithPods", "WithClass"


@dataclass(frozen=True)
class Pod:
    """A pod. Namespace and name are empty while only the UID, which the target path contains, is known."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ClassRef:
    """The namespace and name of a SecretProviderClass."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class KeySource:
    """An entry of ``dataFrom``, not validated: all entries of an object in a ``format``, or ``all`` files."""

    object_name: str = ""
    format: str = ""
    prefix: str = ""
    all: bool = False


@dataclass(frozen=True)
class SecretObject:
    """An entry of ``spec.secretObjects`` as it is in the class, not validated. ``data`` has (objectName, key) pairs,
    ``data_from`` whole objects."""

    secret_name: str
    type: str
    data: tuple[tuple[str, str], ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    data_from: tuple[KeySource, ...] = ()
    deletion_policy: str = ""

    @property
    def stays(self) -> bool:
        """Whether the Secret stays while no pod uses the class."""
        return self.deletion_policy.strip() == WITH_CLASS


@dataclass(frozen=True)
class ComposedFile:
    """An entry of ``spec.files``, not validated: a file made of several objects. ``objects`` has (objectName, key)
    pairs; of ``format`` and ``template`` one is empty."""

    path: str
    format: str
    template: str
    objects: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ProviderClass:
    """A SecretProviderClass of either API version; fields that are absent are empty strings and maps.

    ``fingerprint`` changes when anything changes that makes a volume's content due: the provider, the parameters, the
    composed files, the refresh annotation.
    """

    class_ref: ClassRef
    provider: str
    parameters: Mapping[str, str] = field(repr=False)
    secret_objects: tuple[SecretObject, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    files: tuple[ComposedFile, ...] = ()
    fingerprint: str = ""
    uid: str = ""


@dataclass(frozen=True)
class RefreshFailure:
    """Why the last refresh of a mounted volume failed. ``reason`` is in CamelCase, ``message`` contains no secrets,
    ``count`` is the number of failures in a row, ``time`` that of the last one (Unix time)."""

    reason: str
    message: str
    count: int
    time: float


@dataclass(frozen=True)
class VolumeRecord:
    """What a SecretProviderClassPodStatus says about a volume. ``objects`` maps object ids to versions; times are Unix
    time, but for ``refreshed_at``: the last refresh as a moment of ``runtime.clock``, which is not in the object."""

    pod: Pod
    class_ref: ClassRef
    volume_name: str
    target_path: str
    objects: Mapping[str, str]
    last_refresh: float | None = None
    failure: RefreshFailure | None = None
    refreshed_at: float | None = field(default=None, compare=False)


class PodEvent(NamedTuple):
    """An event on a pod. Events with the same pod, reason and subject form one series, which is counted instead of
    repeated. ``subject`` is the name of a class, Secret or volume."""

    pod: Pod
    warning: bool
    reason: str
    message: str
    subject: str = ""


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


class SyncedSecret(NamedTuple):
    """The state of a Secret that a class wants: when it was last as the class wants it (Unix time; None: never since
    the driver's start), and why it is not now, empty if it is. ``class_ref`` and ``name`` are names for people."""

    class_ref: str
    name: str
    synced: float | None
    reason: str


class SecretSync(Protocol):
    """Copies the files of volumes into Kubernetes Secrets, with a schedule of its own; the publish path only reports
    what happened."""

    async def run(self) -> None:
        """Work in the background until cancelled."""

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """A volume was published or refreshed; ``changed`` is whether its content or versions have changed.

        If there is something new to sync, waits for the first attempt, but not longer than a second or two. Never
        raises.
        """

    def restored(self, records: Iterable[VolumeRecord]) -> None:
        """The driver has restarted, and these volumes exist. Does not block."""

    def forget(self, target_path: str) -> None:
        """The volume is unpublished."""

    def snapshot(self) -> tuple[Sequence[SyncedSecret], int]:
        """The Secrets of all classes in use, for the status socket, and their number: of very many only the first are
        listed, failing ones before the others."""


class Backend(NamedTuple):
    """What implements the ports, and other work to run in the background. ``workloads`` is None if the driver restarts
    none."""

    cluster: Cluster
    sync: SecretSync
    background: Sequence[BackgroundTask] = ()
    workloads: Workloads | None = None
