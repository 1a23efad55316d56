"""NodeGetVolumeStats: the usage of a volume, and with ``--volume-condition`` its condition."""

import asyncio

from driver.config import DriverConfig
from driver.publish.reporting import SERVED_LAST_KNOWN_GOOD
from driver.registry import VolumeRegistry
from driver.volume.target import Target
from driver.volume.usage import Usage, measure
from protos import csi_pb2
from runtime.errors import InvalidRequest, NotFound

_USAGE = csi_pb2.VolumeUsage


async def volume_stats(
    request: csi_pb2.NodeGetVolumeStatsRequest, volumes: VolumeRegistry, config: DriverConfig
) -> csi_pb2.NodeGetVolumeStatsResponse:
    """The bytes and inodes of a mounted volume. Raises NotFound for any other path.

    Takes no lock, and uses none of the publish path's threads: kubelet asks for statistics all the time.
    """
    if not request.volume_id:
        raise InvalidRequest("Volume ID missing in request")
    if not request.volume_path:
        raise InvalidRequest("Volume path missing in request")
    usage = await asyncio.to_thread(_usage, request.volume_path, config.kubelet_pods_dir)
    if usage is None:
        raise NotFound(f"volume path {request.volume_path} is not a mounted volume of this driver")
    reply = csi_pb2.NodeGetVolumeStatsResponse(
        usage=[
            _USAGE(unit=_USAGE.BYTES, total=usage.bytes_total, used=usage.bytes_used, available=usage.bytes_available),
            _USAGE(
                unit=_USAGE.INODES, total=usage.inodes_total, used=usage.inodes_used, available=usage.inodes_available
            ),
        ]
    )
    if config.volume_condition:
        reply.volume_condition.CopyFrom(_condition(volumes, request.volume_path))
    return reply


def _usage(path: str, pods_dir: str) -> Usage | None:
    """The usage of the tmpfs at a target path; None for other paths, /dev/shm for example, and if none is mounted."""
    try:
        return measure(Target.parse(path, pods_dir).path)
    except InvalidRequest:
        return None


def _condition(volumes: VolumeRegistry, path: str) -> csi_pb2.VolumeCondition:
    volume = volumes.get(path)
    if volume is not None and volume.failure is not None:
        if volume.failure.reason == SERVED_LAST_KNOWN_GOOD:
            return csi_pb2.VolumeCondition(abnormal=True, message=volume.failure.message)
        times = "once" if volume.failure.count == 1 else f"{volume.failure.count} times"
        return csi_pb2.VolumeCondition(abnormal=True, message=f"refresh failed {times}: {volume.failure.message}")
    return csi_pb2.VolumeCondition(abnormal=False, message="no refresh has failed")
