"""Restores the volume registry after a restart: the volumes from the mount table, what is known of each from the record
in it.

Volumes without a record, those of the Go driver, are looked for among the pod statuses, where only those count that
their pods confirm (``ports.Cluster.records``). Without such volumes nothing is asked of the API server.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence

from driver.objects.volume_details import decode
from driver.ports import ClassRef, Cluster, Pod, VolumeRecord
from driver.registry import Volume, VolumeRegistry, WantedRestart
from driver.volume import discovery, operations
from driver.volume.discovery import FoundVolume
from driver.volume.target import Target
from driver.volume.workers import DiskWorkers
from runtime import logs
from runtime.errors import Aborted, Failure

log = logs.get(__name__)

FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
# An operation on a target path may wait for a provider; what it writes is newer than any pod status.
LOCK_SECONDS = 300.0


async def restore_volumes(
    volumes: VolumeRegistry, cluster: Cluster, disk: DiskWorkers, pods_dir: str, driver_name: str
) -> list[Target]:
    """Add the mounted volumes that have a record or are committed; returns those whose pods and classes are not known,
    for ``restore_from_statuses``."""
    unknown = []
    for found in await disk.run(discovery.volumes, pods_dir, driver_name):
        if volumes.get(found.target.path) is not None:
            continue
        volume = _volume(found)
        if volume is None:
            unknown.append(found.target)
            if found.last_refresh is not None:
                nobody = Volume(found.target, Pod("", "", found.target.pod_uid), ClassRef("", ""))
                nobody.found_refreshed(found.last_refresh)
                volumes.put(nobody)
            continue
        if found.last_refresh is None and not volume.recorded:
            continue  # a first publish that was interrupted: kubelet repeats it
        volumes.put(volume)
        if volume.recorded:
            cluster.remember_record(volume.record, volume.status_name, current=volume.status_current)
    if in_future := sum(volume.in_future for volume in volumes):
        log.warning(
            "The node's clock was set back: volumes were last refreshed in the future; they count as due",
            volumes=in_future,
        )
    if len(volumes):
        log.info("Restored the volumes of this node", volumes=len(volumes), unknown=len(unknown))
    return unknown


async def restore_from_statuses(
    volumes: VolumeRegistry, cluster: Cluster, disk: DiskWorkers, unknown: Sequence[Target]
) -> list[Volume]:
    """Restore pods, classes and versions of volumes without a record from the pod statuses; retry until the API server
    answers. (One that has just started may reject us for a moment.) Returns the volumes that are known now."""
    if not unknown:
        return []
    records = {record.target_path: (record, name) for record, name in await _read(cluster, unknown)}
    found = await asyncio.gather(*(_adopt(volumes, disk, target, records) for target in unknown))
    adopted = [volume for volume in found if volume is not None]
    log.info("Restored volumes from their pod statuses", volumes=len(adopted), unknown=len(unknown) - len(adopted))
    return adopted


async def _adopt(
    volumes: VolumeRegistry, disk: DiskWorkers, target: Target, records: Mapping[str, tuple[VolumeRecord, str]]
) -> Volume | None:
    """Complete what is known of a volume, and write it into the volume, so that the next restart need not ask."""
    try:
        async with volumes.exclusive(target.path, asyncio.get_running_loop().time() + LOCK_SECONDS):
            volume = volumes.get(target.path)
            if volume is not None and volume.recorded is not None:
                return None  # published meanwhile
            if target.path not in records:
                if volume is not None:
                    volume.recorded = False
                return None
            found = await disk.run(discovery.find, target)
            if found is None:
                return None  # unpublished meanwhile
            record, name = records[target.path]
            if volume is None:
                volume = Volume(target, record.pod, record.class_ref)
            volume.pod, volume.class_ref = record.pod, record.class_ref
            volume.objects, volume.failure = record.objects, record.failure
            volume.found_refreshed(found.last_refresh)
            volume.has_status(name)
            volumes.put(volume)
            await disk.run(operations.write_record, target.path, volume.details.encode())
            return volume
    except Aborted:
        return None  # it is being published all the time


async def _read(cluster: Cluster, unknown: Sequence[Target]) -> list[tuple[VolumeRecord, str]]:
    pause = FIRST_PAUSE
    while True:
        try:
            return await cluster.records([target.path for target in unknown])
        except Failure as failure:
            log.warning("Failed to read the pod statuses; trying again", err=failure)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, MAX_PAUSE)


def _volume(found: FoundVolume) -> Volume | None:
    """What a volume's record says; None if it has none, or it is that of another volume."""
    details = None if found.details is None else decode(found.details)
    if details is None or (details.pod.uid, details.volume_name) != (found.target.pod_uid, found.target.volume_name):
        return None
    volume = Volume(
        found.target,
        details.pod,
        details.class_ref,
        provider=details.provider,
        fingerprint=details.fingerprint,
        recorded=bool(details.status_name),
        status_name=details.status_name,
        restart=WantedRestart(details.restart),
    )
    volume.found_refreshed(found.last_refresh)
    if found.current:  # else an earlier process was killed between the commit and the record: the versions are unknown
        volume.objects, volume.failure, volume.status_current = details.objects, details.failure, details.status_current
    return volume
