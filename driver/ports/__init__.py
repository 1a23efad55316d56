"""The interfaces to everything beyond the node, and their types.

``driver.cluster`` implements them with a Kubernetes API server, ``driver.manifests`` with a directory of YAML files;
the publish path does not know which one it works with. Failures are those of ``runtime.errors``: NotFound for what does
not exist, Unavailable while the API server is away.

``cluster``, ``secret_sync`` and ``workloads`` have an interface each, ``classes`` and ``volumes`` what these are about.
"""

from collections.abc import Sequence
from typing import NamedTuple

from driver.ports.classes import (
    INTERVAL_ANNOTATION,
    LAST_KNOWN_GOOD_ANNOTATION,
    REFRESH_ANNOTATION,
    RESTART_ANNOTATION,
    RESTART_INTERVAL_ANNOTATION,
    SHARE_ANNOTATION,
    WITH_CLASS,
    WITH_PODS,
    ClassRef,
    ComposedFile,
    KeySource,
    ProviderClass,
    SecretObject,
)
from driver.ports.cluster import ClassListener, Cluster, PodEvent
from driver.ports.secret_sync import SecretSync, SyncedSecret
from driver.ports.volumes import Pod, RefreshFailure, VolumeRecord
from driver.ports.workloads import Restart, RestartResult, Workloads
from runtime.tasks import BackgroundTask

__all__ = [
    "Backend",
    "ClassListener",
    "ClassRef",
    "Cluster",
    "ComposedFile",
    "INTERVAL_ANNOTATION",
    "KeySource",
    "LAST_KNOWN_GOOD_ANNOTATION",
    "Pod",
    "PodEvent",
    "ProviderClass",
    "REFRESH_ANNOTATION",
    "RESTART_ANNOTATION",
    "RESTART_INTERVAL_ANNOTATION",
    "RefreshFailure",
    "Restart",
    "RestartResult",
    "SHARE_ANNOTATION",
    "SecretObject",
    "SecretSync",
    "SyncedSecret",
    "VolumeRecord",
    "WITH_CLASS",
    "WITH_PODS",
    "Workloads",
]


class Backend(NamedTuple):
    """What implements the ports, and other work to run in the background. ``workloads`` is None if the driver restarts
    none."""

    cluster: Cluster
    sync: SecretSync
    background: Sequence[BackgroundTask] = ()
    workloads: Workloads | None = None
