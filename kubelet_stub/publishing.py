"""One publish or unpublish of one volume, by the rules of kubelet's csi_mounter.go (SetUpAt, TearDownAt).

A publish:

1. The driver must be registered. The volume's directory is created; Secret and tokens are fetched. A failure is
   transient.
2. NodeGetCapabilities for VOLUME_MOUNT_GROUP (a failure is transient), then ``vol_data.json`` is written.
3. NodeGetCapabilities for SINGLE_NODE_MULTI_WRITER. kubelet treats a failure as final, whatever its code.
4. NodePublishVolume.

All calls share one deadline.
"""

import asyncio

from kubelet_stub.client import Capability
from kubelet_stub.codes import Final, Transient, go_text
from kubelet_stub.directories import VolumeDirectory, volume_handle
from kubelet_stub.host import Host
from kubelet_stub.pods import Pod, Volume
from protos import csi_pb2 as csi
from runtime.errors import Failure

_MODES = csi.VolumeCapability.AccessMode


async def publish(host: Host, pod: Pod, volume: Volume, directory: VolumeDirectory) -> None:
    """The steps above; raises the Failure that kubelet reports."""
    deadline = _Deadline(host.config.publish_timeout)
    client = host.client(volume.driver, "mounter.SetUpAt")  # step 1
    directory.path.mkdir(mode=0o750, parents=True, exist_ok=True)
    request = await host.publish_request(pod, volume)
    try:  # step 2
        driver_sets_group = await client.has(Capability.VOLUME_MOUNT_GROUP, deadline.left())
    except Failure as failure:
        raise Transient(
            "kubernetes.io/csi: mounter.SetUpAt failed to determine if the node service has VOLUME_MOUNT_GROUP "
            f"capability: {go_text(failure)}"
        ) from None
    if driver_sets_group and pod.fs_group is not None:
        request.volume_capability.mount.volume_mount_group = str(pod.fs_group)
    directory.save(volume.driver, host.config.node_name)
    try:  # step 3
        many_writers = await client.has(Capability.SINGLE_NODE_MULTI_WRITER, deadline.left())
    except Failure as failure:
        raise Final(go_text(failure)) from None
    # An inline volume counts as ReadWriteOnce.
    request.volume_capability.access_mode.mode = (
        _MODES.SINGLE_NODE_MULTI_WRITER if many_writers else _MODES.SINGLE_NODE_WRITER
    )
    await client.publish(request, deadline.left())  # step 4


async def unpublish(host: Host, directory: VolumeDirectory) -> None:
    """NodeUnpublishVolume, by the driver that ``vol_data.json`` names. Raises Final if that file cannot be read, else
    the Failure that kubelet reports.
    """
    try:
        driver = directory.load()["driverName"]
    except (OSError, ValueError, KeyError) as error:
        raise Final(
            f"UnmountVolume.NewUnmounter failed: kubernetes.io/csi: unmounter failed to load volume data file: {error}"
        ) from None
    client = host.client(driver, "Unmounter.TearDownAt")
    handle = volume_handle(directory.pod_uid, directory.volume)
    await client.unpublish(handle, str(directory.target), host.config.publish_timeout)


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().time() + seconds

    def left(self) -> float:
        return max(0.001, self._end - asyncio.get_running_loop().time())
