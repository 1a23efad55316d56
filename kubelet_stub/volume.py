"""One volume of one pod, from first publish to removal, by the rules of kubelet's csi_mounter.go and reconciler.

After a failed publish the next one follows with exponential back-off. What else happens depends on the failure:

- Transient: nothing changes.
- A code that is not final: the driver may still be working. The directory stays, the volume's state is uncertain, and
  it will be unpublished.
- Final, on a first publish: the directory is removed unless it is mounted, and the volume is forgotten. A mount that
  still exists then leaks.
- Final, on a republish: kubelet keeps the volume, but removes its directory unless it is mounted.
"""

import asyncio
from enum import Enum

from kubelet_stub.backoff import Backoff
from kubelet_stub.codes import Final, Transient, go_text, is_final
from kubelet_stub.directories import VolumeDirectory
from kubelet_stub.events import Reason
from kubelet_stub.host import Host
from kubelet_stub.pods import Pod, Volume
from kubelet_stub.publishing import publish, unpublish
from kubelet_stub.schedule import Schedule
from kubelet_stub.stats import volume_stats
from protos import csi_pb2 as csi
from runtime import logs
from runtime.errors import Failure

log = logs.get(__name__)


class State(Enum):
    """What kubelet believes about a volume."""

    FORGOTTEN = "forgotten"
    """Not published yet, or forgotten after a final failure: nothing to unpublish."""
    UNCERTAIN = "uncertain"
    MOUNTED = "mounted"
    GONE = "gone"


class PodVolume:
    """A volume with its own back-off and one operation at a time; ``run`` keeps it published until ``stop``."""

    def __init__(self, host: Host, pod: Pod, volume: Volume, *, reconstructed: bool = False) -> None:
        self.host, self.pod, self.volume = host, pod, volume
        self.directory = VolumeDirectory(host.config.pods_directory, pod.uid, volume.name)
        self.state = State.UNCERTAIN if reconstructed else State.FORGOTTEN
        self.usage: list[csi.VolumeUsage] = []
        self._reconstructed = reconstructed
        self._operation = asyncio.Lock()
        self._schedule = Schedule()
        self._mounted = asyncio.Event()

    async def run(self) -> None:
        """Publish until it succeeds, republish at every interval, and fetch statistics concurrently."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._schedule.repeat(self.host.config.stats_interval, self.stats))
            backoff = self._backoff()
            while not self._schedule.stopped:
                failure = await self.publish()
                if failure is None:
                    backoff.succeeded()
                await self._schedule.pause(self.host.config.republish_interval if failure is None else backoff.failed())

    async def stop(self) -> None:
        """Start no further publish; wait for the running one, as kubelet does."""
        self._schedule.stop()
        async with self._operation:
            pass

    async def wait_mounted(self) -> None:
        """Wait until a publish has succeeded."""
        await self._mounted.wait()

    async def publish(self) -> Failure | None:
        """Publish or republish once, now; returns the failure, which is also recorded as an event."""
        async with self._operation:
            if self._schedule.stopped:
                return Transient("the pod is being deleted")
            name = self.volume.name
            try:
                await publish(self.host, self.pod, self.volume, self.directory)
            except Failure as failure:
                self._event(Reason.FAILED_MOUNT, f'MountVolume.SetUp failed for volume "{name}" : {go_text(failure)}')
                self._apply_failure(failure)
                return failure
            reason = Reason.REPUBLISHED if self.state is State.MOUNTED else Reason.MOUNTED
            self.state, self._reconstructed = State.MOUNTED, False
            self._mounted.set()
            self._event(reason, f'MountVolume.SetUp succeeded for volume "{name}"')
            return None

    async def tear_down(self) -> None:
        """Unpublish until it succeeds, then remove the directories. A forgotten volume is not unpublished."""
        await self.stop()
        backoff = self._backoff()
        name = self.volume.name
        while self.state in (State.MOUNTED, State.UNCERTAIN):
            try:
                await unpublish(self.host, self.directory)
            except Final as failure:  # kubelet retries this without end, and never unpublishes the volume
                self.state = State.FORGOTTEN
                self._event(Reason.FAILED_UNMOUNT, str(failure))
            except Failure as failure:
                message = f'UnmountVolume.TearDown failed for volume "{name}" : {go_text(failure)}'
                self._event(Reason.FAILED_UNMOUNT, message)
                await asyncio.sleep(backoff.failed())
            else:
                self.state = State.FORGOTTEN
                self._event(Reason.UNMOUNTED, f'UnmountVolume.TearDown succeeded for volume "{name}"')
        self._remove_directory()
        self.directory.remove_pod()
        self.state = State.GONE

    async def stats(self) -> None:
        """NodeGetVolumeStats once, if the driver has it; a volume condition is recorded as an event."""
        if self.state is not State.MOUNTED:
            return
        try:
            reply = await volume_stats(self.host, self.volume, self.directory)
        except Failure as failure:
            log.warning(
                "Cannot get a volume's statistics", volume=self.volume.name, pod=self.pod.key, reason=go_text(failure)
            )
            return
        if reply is None:
            return
        self.usage = list(reply.usage)
        if reply.HasField("volume_condition"):
            condition = reply.volume_condition
            reason = Reason.CONDITION_ABNORMAL if condition.abnormal else Reason.CONDITION_NORMAL
            self._event(reason, f"Volume {self.volume.name}: {condition.message}")

    def _apply_failure(self, failure: Failure) -> None:
        if isinstance(failure, Transient):
            return
        if not is_final(failure):
            if self.state is not State.MOUNTED:
                self.state = State.UNCERTAIN
        elif self.state is State.MOUNTED:
            if self.host.config.republish_removes and self._remove_directory(leak=False):
                self._event(
                    Reason.FORGOTTEN,
                    "directory of a running pod's volume removed after a failed republish (kubernetes#121271)",
                )
        elif not self._reconstructed:
            self._remove_directory()
            self.state = State.FORGOTTEN
            self._event(Reason.FORGOTTEN, "volume forgotten after a final error: it will not be unpublished")

    def _remove_directory(self, leak: bool = True) -> bool:
        """Remove the directory unless it is mounted; what cannot be removed is recorded as a leak."""
        try:
            removed = self.directory.remove()
        except OSError as error:
            self._event(Reason.LEAKED, f"removeMountDir failed: {error}")
            return False
        if not removed and leak:
            self._event(Reason.LEAKED, f"still mounted, and kubelet will not unmount it: {self.directory.target}")
        return removed

    def _backoff(self) -> Backoff:
        return Backoff(self.host.config.backoff_base, self.host.config.backoff_cap)

    def _event(self, reason: Reason, message: str) -> None:
        self.host.events.add(reason, self.pod.key, message, self.volume.name)
