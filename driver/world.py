"""Chooses what answers for the world beyond the node: a directory of YAML, or an API server."""

from driver.config import DriverConfig
from driver.disk import Disk
from driver.health import Health
from driver.manifests import Manifests
from driver.metrics import DriverMetrics
from driver.nosync import NoSync
from driver.ports import World
from driver.volumes import VolumeTable


def open_world(
    config: DriverConfig, volumes: VolumeTable, disk: Disk, metrics: DriverMetrics, health: Health
) -> World:
    """Nothing is connected or imported for it yet: the CSI socket is served first."""
    if config.manifests:
        return World(Manifests(config.manifests), NoSync("--manifests is in use; Secrets need an API server"))
    from driver.cluster.world import open_cluster  # the API client costs half a second, so it is not imported for YAML

    return open_cluster(config, volumes, disk, metrics, health)
