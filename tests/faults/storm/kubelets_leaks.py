"""Mounts that kubelet itself leaks, and that no driver can prevent.

When kubelet cannot ask the driver for its capability SINGLE_NODE_MULTI_WRITER, because the driver is being restarted,
say, it treats that as a final failure, whatever the code (step 3 in ``kubelet_stub.publishing``). It then forgets a
volume that an earlier attempt may have mounted, and if the pod is deleted before the next attempt succeeds, it never
unpublishes it. The storm does what an administrator has to do then.
"""

import asyncio

from kubelet_stub.directories import VolumeDirectory, volume_handle
from kubelet_stub.events import Reason
from kubelet_stub.kubelet import KubeletStub
from kubelet_stub.pods import Pod
from runtime.errors import Failure

_NON_FINAL = ("Canceled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted")


def reason(kubelet: KubeletStub, pod: Pod, volume: str) -> str:
    """The failure after which kubelet forgot a volume of the pod that was mounted; empty if it did not."""
    failure = ""
    for event in kubelet.events.all:
        if event.subject == pod.key and event.volume == volume:
            if event.reason is Reason.FAILED_MOUNT:
                failure = event.message
            elif event.reason is Reason.LEAKED:
                return failure
    return ""


def is_kubelets_own(failure: str) -> bool:
    """Whether kubelet forgot the volume although the code is not final."""
    return any(f"code = {code} " in failure for code in _NON_FINAL)


async def clean(kubelet: KubeletStub, pod: Pod, volume: str) -> None:
    """Unpublish the volume and remove its directories, however long that takes."""
    directory = VolumeDirectory(kubelet.config.pods_directory, pod.uid, volume)
    driver = next(item.driver for item in pod.volumes if item.name == volume)
    while True:
        try:
            client = kubelet.host.client(driver, "cleaning")
            handle = volume_handle(pod.uid, volume)
            await client.unpublish(handle, str(directory.target), kubelet.config.publish_timeout)
            break
        except Failure:
            await asyncio.sleep(0.2)
    directory.remove()
    directory.remove_pod()
