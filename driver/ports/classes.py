"""A SecretProviderClass as the driver knows it, whichever API version or file it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

INTERVAL_ANNOTATION = "secrets-store.csi.k8s.io/rotation-poll-interval"
REFRESH_ANNOTATION = "secrets-store.csi.k8s.io/refresh"
SHARE_ANNOTATION = "secrets-store.csi.k8s.io/share-fetch"
LAST_KNOWN_GOOD_ANNOTATION = "secrets-store.csi.k8s.io/last-known-good"
RESTART_ANNOTATION = "secrets-store.csi.k8s.io/restart-on-rotation"
RESTART_INTERVAL_ANNOTATION = "secrets-store.csi.k8s.io/restart-min-interval"
# ``deletionPolicy``: a synced Secret is deleted with the last pod that uses its class, or not before the class.
WITH_PODS, WITH_CLASS = "WithPods", "WithClass"


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
