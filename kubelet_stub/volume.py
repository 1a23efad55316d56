"""One volume of one pod, from its first publish to its removal, by the rules of kubelet's csi_mounter.go and
reconciler.

A publish:
1. The driver must be registered; the volume's directory is made; Secret and tokens are fetched. What fails here is
   transient.
2. NodeGetCapabilities for VOLUME_MOUNT_GROUP (transient too), then ``vol_data.json`` is written.
3. NodeGetCapabilities for SINGLE_NODE_MULTI_WRITER; kubelet takes a failure of this call as final, whatever its code.
4. NodePublishVolume. Not final: the directory stays, the state is uncertain. Final: the directory is removed unless
   it is mounted, and the volume is forgotten: a mount that is still there leaks. After a final failure of a republish
   kubelet goes on believing in the volume.

All calls of one publish share one deadline, and a failure is followed by an exponential back-off.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from kubelet_stub.backoff import Backoff
from kubelet_stub.client import Capability
from kubelet_stub.codes import Finished, Transient, go_text, is_final
from kubelet_stub.directories import VolumeDirectory, volume_handle
from kubelet_stub.events import Reason
from kubelet_stub.host import Host
from kubelet_stub.pods import Pod, Volume
from protos import csi_pb2 as csi
from runtime import logs
from runtime.errors import Failure

log = logs.get(__name__)

_MODES = csi.VolumeCapability.AccessMode


class State(Enum):
    """What kubelet believes of a volume."""

    FORGOTTEN = "forgotten"
    """Not published yet, or forgotten after a final failure: nothing to unpublish."""
    UNCERTAIN = "uncertain"
    MOUNTED = "mounted"
    GONE = "gone"


class PodVolume:
    """Its own back-off, one operation at a time; ``run`` keeps it published until ``stop``."""

    def __init__(self, host: Host, pod: Pod, volume: Volume, *, reconstructed: bool = False) -> None:
        self.host, self.pod, self.volume = host, pod, volume
        self.directory = VolumeDirectory(host.config.pods_directory, pod.uid, volume.name)
        self.state = State.UNCERTAIN if reconstructed else State.FORGOTTEN
        self.usage: list[csi.VolumeUsage] = []
        self._reconstructed = reconstructed
        self._operation = asyncio.Lock()
        self._mounted, self._stopping = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Publish until it works, and again at every interval; calls for statistics beside it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(self.host.config.stats_interval, self.stats))
            backoff = self._backoff()
            while not self._stopping.is_set():
                failure = await self.publish()
                if failure is None:
                    backoff.succeeded()
                await self._pause(self.host.config.republish_interval if failure is None else backoff.failed())

    async def stop(self) -> None:
        """No new operation from here on; the one that runs is waited for, as kubelet does."""
        self._stopping.set()
        async with self._operation:
            pass

    async def wait_mounted(self) -> None:
        """Until a publish has succeeded."""
        await self._mounted.wait()

    async def publish(self) -> Failure | None:
        """One publish or republish, now; returns what kubelet makes an event of, or None."""
        async with self._operation:
            if self._stopping.is_set():
                return Transient("the pod is being deleted")
            try:
                await self._set_up()
            except Failure as failure:
                self._event(
                    Reason.FAILED_MOUNT,
                    f'MountVolume.SetUp failed for volume "{self.volume.name}" : {go_text(failure)}',
                )
                self._after(failure)
                return failure
            again = self.state is State.MOUNTED
            self.state, self._reconstructed = State.MOUNTED, False
            self._mounted.set()
            self._event(
                Reason.REPUBLISHED if again else Reason.MOUNTED,
                f'MountVolume.SetUp succeeded for volume "{self.volume.name}"',
            )
            return None

    async def tear_down(self) -> None:
        """NodeUnpublishVolume until it succeeds, then the directories; nothing for a volume that kubelet has
        forgotten.
        """
        await self.stop()
        backoff = self._backoff()
        while self.state in (State.MOUNTED, State.UNCERTAIN):
            try:
                await self._unpublish()
            except Failure as failure:
                self._event(
                    Reason.FAILED_UNMOUNT,
                    f'UnmountVolume.TearDown failed for volume "{self.volume.name}" : {go_text(failure)}',
                )
                await asyncio.sleep(backoff.failed())
        self._remove_directory()
        self.directory.remove_pod()
        self.state = State.GONE

    async def stats(self) -> None:
        """NodeGetVolumeStats once, if the driver has it; a condition becomes an event."""
        if self.state is not State.MOUNTED:
            return
        config = self.host.config
        try:
            client = self.host.client(self.volume.driver, "metrics")
            if not await client.has(Capability.GET_VOLUME_STATS, config.publish_timeout):
                return
            conditions = await client.has(Capability.VOLUME_CONDITION, config.publish_timeout)
            reply = await client.stats(self._handle, str(self.directory.target), config.publish_timeout)
        except Failure as failure:
            log.warning("No statistics of a volume", volume=self.volume.name, pod=self.pod.key, reason=go_text(failure))
            return
        self.usage = list(reply.usage)
        if conditions and reply.HasField("volume_condition"):
            condition = reply.volume_condition
            reason = Reason.CONDITION_ABNORMAL if condition.abnormal else Reason.CONDITION_NORMAL
            self._event(reason, f"Volume {self.volume.name}: {condition.message}")

    async def _set_up(self) -> None:
        deadline = _Deadline(self.host.config.publish_timeout)
        client = self.host.client(self.volume.driver, "mounter.SetUpAt")  # step 1
        self.directory.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        request = await self.host.publish_request(self.pod, self.volume)
        try:  # step 2
            group_by_driver = await client.has(Capability.VOLUME_MOUNT_GROUP, deadline.left())
        except Failure as failure:
            raise Transient(
                f"kubernetes.io/csi: mounter.SetUpAt failed to determine if the node service has VOLUME_MOUNT_GROUP "
                f"capability: {go_text(failure)}"
            ) from None
        if group_by_driver and self.pod.fs_group is not None:
            request.volume_capability.mount.volume_mount_group = str(self.pod.fs_group)
        self.directory.save(self.volume.driver, self.host.config.node_name)
        try:  # step 3
            many_writers = await client.has(Capability.SINGLE_NODE_MULTI_WRITER, deadline.left())
        except Failure as failure:
            raise Finished(go_text(failure)) from None
        # An inline volume counts as ReadWriteOnce.
        request.volume_capability.access_mode.mode = (
            _MODES.SINGLE_NODE_MULTI_WRITER if many_writers else _MODES.SINGLE_NODE_WRITER
        )
        await client.publish(request, deadline.left())  # step 4

    def _after(self, failure: Failure) -> None:
        if isinstance(failure, Transient):
            return
        if not is_final(failure):
            if self.state is not State.MOUNTED:
                self.state = State.UNCERTAIN
        elif self.state is State.MOUNTED:
            if self.host.config.republish_removes and self._remove_directory(leak=False):
                self._event(
                    Reason.FORGOTTEN,
                    "directory removed under a running pod after a failed republish (kubernetes#121271)",
                )
        elif not self._reconstructed:
            self._remove_directory()
            self.state = State.FORGOTTEN
            self._event(Reason.FORGOTTEN, "volume forgotten after a final error: it will not be unpublished")

    async def _unpublish(self) -> None:
        try:
            driver = self.directory.load()["driverName"]
        except (OSError, ValueError, KeyError) as error:
            # kubelet tries this for ever; the volume is never unpublished.
            self.state = State.FORGOTTEN
            self._event(
                Reason.FAILED_UNMOUNT,
                "UnmountVolume.NewUnmounter failed: kubernetes.io/csi: unmounter failed to load volume data "
                f"file: {error}",
            )
            return
        client = self.host.client(driver, "Unmounter.TearDownAt")
        await client.unpublish(self._handle, str(self.directory.target), self.host.config.publish_timeout)
        self.state = State.FORGOTTEN
        self._event(Reason.UNMOUNTED, f'UnmountVolume.TearDown succeeded for volume "{self.volume.name}"')

    def _remove_directory(self, leak: bool = True) -> bool:
        """Remove what may be removed; what stays although it should not is told as a leak."""
        try:
            removed = self.directory.remove()
            if not removed and leak:
                self._event(Reason.LEAKED, f"still mounted, nobody will unmount it: {self.directory.target}")
            return removed
        except OSError as error:
            self._event(Reason.LEAKED, f"removeMountDir failed: {error}")
            return False

    async def _every(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            await self._pause(interval)
            if not self._stopping.is_set():
                await work()

    async def _pause(self, seconds: float) -> None:
        """Sleep, 0 for ever; a stop wakes it."""
        try:
            async with asyncio.timeout(seconds or None):
                await self._stopping.wait()
        except TimeoutError:
            pass  # the pause is over

    @property
    def _handle(self) -> str:
        return volume_handle(self.pod.uid, self.volume.name)

    def _backoff(self) -> Backoff:
        return Backoff(self.host.config.backoff_base, self.host.config.backoff_cap)

    def _event(self, reason: Reason, message: str) -> None:
        self.host.events.add(reason, self.pod.key, message, self.volume.name)


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().time() + seconds

    def left(self) -> float:
        return max(0.001, self._end - asyncio.get_running_loop().time())
