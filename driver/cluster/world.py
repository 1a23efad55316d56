"""The world beyond the node where it is an API server."""

from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.cluster.secrets import SecretWriter
from driver.cluster.taint import remove_startup_taint
from driver.config import DriverConfig
from driver.disk import Disk
from driver.health import Health
from driver.metrics import DriverMetrics
from driver.nosync import NoSync
from driver.ports import SecretSync, World
from driver.sync.engine import Limits, SyncEngine
from driver.volumes import VolumeTable


def open_cluster(
    config: DriverConfig, volumes: VolumeTable, disk: Disk, metrics: DriverMetrics, health: Health
) -> World:
    """Put the parts together; nothing is connected yet."""
    api = Api(config.kubeconfig)
    cluster = ApiCluster(api, config.nodeid)
    extra = []
    if config.remove_startup_taint:
        extra.append(remove_startup_taint(api, config.nodeid, config.drivername, config.startup_taint))
    return World(cluster, _sync(config, api, cluster, disk, metrics), extra)


def _sync(config: DriverConfig, api: Api, cluster: ApiCluster, disk: Disk, metrics: DriverMetrics) -> SecretSync:
    if not config.sync_secrets:
        return NoSync("--sync-secrets=false")
    limits = Limits(largest_volume=config.volume_size or 4 * config.max_call_recv_msg_size)
    return SyncEngine(cluster, SecretWriter(api, cluster.statuses), disk, metrics, limits)
