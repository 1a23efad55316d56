"""A volume's statistics, as kubelet's metrics_csi.go collects them."""

from kubelet_stub.client import Capability
from kubelet_stub.directories import VolumeDirectory, volume_handle
from kubelet_stub.host import Host
from kubelet_stub.pods import Volume
from protos import csi_pb2 as csi


async def volume_stats(host: Host, volume: Volume, directory: VolumeDirectory) -> csi.NodeGetVolumeStatsResponse | None:
    """NodeGetVolumeStats once; None if the driver does not have it. A condition that the driver sends without the
    capability VOLUME_CONDITION is dropped. Raises Failure.
    """
    seconds = host.config.publish_timeout
    client = host.client(volume.driver, "metrics")
    if not await client.has(Capability.GET_VOLUME_STATS, seconds):
        return None
    has_condition = await client.has(Capability.VOLUME_CONDITION, seconds)
    reply = await client.stats(volume_handle(directory.pod_uid, volume.name), str(directory.target), seconds)
    if not has_condition:
        reply.ClearField("volume_condition")
    return reply
