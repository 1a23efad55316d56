"""Pods, and what is recorded of their volumes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from driver.ports.classes import ClassRef


@dataclass(frozen=True)
class Pod:
    """A pod. Namespace and name are empty while only the UID, which the target path contains, is known."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


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
