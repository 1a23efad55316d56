"""Restores the volume registry after a restart: the volumes from the mount table, their classes and versions from the
pod statuses."""

import asyncio
import random

from driver.ports import ClassRef, Cluster, Pod, VolumeRecord
from driver.registry import Volume, VolumeRegistry
from driver.volume import discovery
from driver.volume.workers import DiskWorkers
from runtime import logs
from runtime.errors import Failure

log = logs.get(__name__)

FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0


async def restore_volumes(volumes: VolumeRegistry, disk: DiskWorkers, pods_dir: str, driver_name: str) -> None:
    """Add the mounted and committed volumes; their pods and classes are not known yet."""
    found = await disk.run(discovery.committed_volumes, pods_dir, driver_name)
    for target, last_refresh in found.items():
        if volumes.get(target.path) is None:
            volumes.put(Volume(target, Pod("", "", target.pod_uid), ClassRef("", ""), last_refresh=last_refresh))


async def restore_records(volumes: VolumeRegistry, cluster: Cluster) -> None:
    """Restore pods, classes and versions from the pod statuses; retry until the API server answers. (One that has just
    started may reject us for a moment.)

    A volume that is due for a refresh before this is done is fetched without its versions.
    """
    if not len(volumes):
        return
    records = {record.target_path: record for record in await _read(cluster)}
    for volume in volumes:
        if volume.recorded is None:
            _merge(volume, records.get(volume.target.path))
    log.info("Restored the volumes of this node", volumes=len(volumes), statuses=len(records))


async def _read(cluster: Cluster) -> list[VolumeRecord]:
    pause = FIRST_PAUSE
    while True:
        try:
            return await cluster.records()
        except Failure as failure:
            log.warning("Failed to read the pod statuses; trying again", err=failure)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, MAX_PAUSE)


def _merge(volume: Volume, record: VolumeRecord | None) -> None:
    volume.recorded = record is not None
    if record is not None:
        volume.pod, volume.class_ref = record.pod, record.class_ref
        volume.objects, volume.failure = record.objects, record.failure
