"""The world beyond the node where it is an API server."""

from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.config import DriverConfig
from driver.disk import Disk
from driver.health import Health
from driver.metrics import DriverMetrics
from driver.nosync import NoSync
from driver.ports import World
from driver.volumes import VolumeTable


def open_cluster(
    config: DriverConfig, volumes: VolumeTable, disk: Disk, metrics: DriverMetrics, health: Health
) -> World:
    """Put the parts together; nothing is connected yet."""
    api = Api(config.kubeconfig)
    return World(ApiCluster(api, config.nodeid), NoSync("not written yet"))
