"""Chooses what implements the ports: a directory of YAML files, or an API server."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from driver.config import DriverConfig
from driver.metrics import DriverMetrics
from driver.ports import Backend, SecretSync
from driver.sync.disabled import DisabledSync
from driver.volume.workers import DiskWorkers
from runtime.tasks import BackgroundTask

if TYPE_CHECKING:
    from driver.cluster.api import Api
    from driver.cluster.gateway import ApiCluster


def open_backend(
    config: DriverConfig, disk: DiskWorkers, metrics: DriverMetrics, answers: Callable[[str], Awaitable[bool]]
) -> Backend:
    """Create the backend without connecting to anything, because the CSI socket is served first.

    ``answers`` is whether a provider answers now.
    Only what is used is imported: YAML takes 2 MiB of memory.
    """
    if config.manifests:
        from driver.manifests import Manifests

        return Backend(Manifests(config.manifests), DisabledSync("--manifests is in use; Secrets need an API server"))
    return _open_cluster(config, disk, metrics, answers)


def _open_cluster(
    config: DriverConfig, disk: DiskWorkers, metrics: DriverMetrics, answers: Callable[[str], Awaitable[bool]]
) -> Backend:
    from driver.cluster.api import Api
    from driver.cluster.gateway import ApiCluster
    from driver.cluster.taint import remove_startup_taint

    api = Api(config.kubeconfig, metrics.api.requested)
    metrics.api.compare_clocks(api.clock_offset)
    cluster = ApiCluster(api, config.nodeid, config.drivername)
    background = []
    if config.remove_startup_taint:
        remove = partial(
            remove_startup_taint,
            api,
            config.nodeid,
            config.drivername,
            config.startup_taint,
            config.startup_taint_providers,
            answers,
        )
        background.append(BackgroundTask("startup taint", remove, finite=True))
    workloads = None
    if config.restart_on_rotation:
        from driver.cluster.workloads import WorkloadRestarter

        workloads = WorkloadRestarter(api)
    return Backend(cluster, _open_sync(config, api, cluster, disk, metrics), background, workloads)


def _open_sync(
    config: DriverConfig, api: "Api", cluster: "ApiCluster", disk: DiskWorkers, metrics: DriverMetrics
) -> SecretSync:
    if not config.sync_secrets:
        return DisabledSync("--sync-secrets=false")
    from driver.cluster.secrets import SecretWriter
    from driver.sync.engine import Limits, SyncEngine

    limits = Limits(largest_volume=config.volume_size or 4 * config.largest_reply, of_class=config.max_secret_objects)
    writer = SecretWriter(api, cluster.statuses, adopt=config.adopt_secrets, read_by_patch=config.read_secrets_by_patch)
    return SyncEngine(cluster, writer, disk, metrics, limits)
