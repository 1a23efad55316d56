"""Chooses what answers for the world beyond the node: a directory of YAML, or an API server."""

from driver.config import DriverConfig
from driver.disk import Disk
from driver.health import Health
from driver.metrics import DriverMetrics
from driver.nosync import NoSync
from driver.ports import World
from driver.volumes import VolumeTable


def open_world(
    config: DriverConfig, volumes: VolumeTable, disk: Disk, metrics: DriverMetrics, health: Health
) -> World:
    """Nothing is connected yet: the CSI socket is served first. Only what is used is imported: YAML takes 2 MiB, the
    API client half a second."""
    if config.manifests:
        from driver.manifests import Manifests

        return World(Manifests(config.manifests), NoSync("--manifests is in use; Secrets need an API server"))
    from driver.cluster.world import open_cluster

    return open_cluster(config, volumes, disk, metrics, health)
