"""What a driver that was killed knows again at start: mount table → volumes, pod statuses → their classes and
versions."""

from driver.disk import Disk
from driver.ports import ClassRef, Cluster, Pod, VolumeRecord
from driver.volume import content, state
from driver.volumes import Volume, VolumeTable
from runtime import logs
from runtime.errors import Failure

log = logs.get(__name__)


async def restore(volumes: VolumeTable, disk: Disk, cluster: Cluster, pods_dir: str, driver_name: str) -> None:
    """Fill the table. Without an API server the classes and versions are learned again at each volume's next
    republish."""
    for target in await disk.run(state.committed_targets, pods_dir, driver_name):
        if volumes.get(target.path) is None:
            last_refresh = await disk.run(content.last_refresh, target.path)
            unknown = Volume(target, Pod("", "", target.pod_uid), ClassRef("", ""), last_success=last_refresh)
            volumes.put(unknown)
    if not len(volumes):
        return
    try:
        records = {record.target_path: record for record in await cluster.records()}
    except Failure as failure:
        log.warning("Pod statuses could not be read; volumes are known again at their next republish", err=failure)
        return
    for volume in volumes:
        if volume.recorded is None:
            _merge(volume, records.get(volume.target.path))
    log.info("Volumes of this node are known again", volumes=len(volumes), recorded=len(records))


def _merge(volume: Volume, record: VolumeRecord | None) -> None:
    volume.recorded = record is not None
    if record is not None:
        volume.pod, volume.provider_class = record.pod, record.provider_class
        volume.objects, volume.failure = record.objects, record.failure
