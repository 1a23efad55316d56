"""The publish path: NodePublishVolume as named steps.

 1. The request was checked (``request``); a bad one has touched nothing.
 2. One publish for each target at a time.
 3. Look: is the target mounted and committed? If so, and nothing is due, that is all.
 4. Find the class; merge what the provider is told (``attributes``).
 5. Mount the tmpfs. Never before a class is there, always before a provider is called: nothing may reach a disk.
 6. Call the provider, with the versions of the content that is in the volume now, if any.
 7. Write the reply through the atomic writer; set the time of the last refresh.
 8. Record the pod status, and let the Secrets be synced beside it.
 9. A first publish that fails leaves nothing mounted; if that cannot be done, or the content is whole and only its
    record is missing, the answer is one after which kubelet keeps the volume and unpublishes it later: ABORTED in
    place of a final code. What another driver's provider wrote into a mounted volume is never cleared.
10. A republish that fails keeps the old content and answers OK (kubernetes#121271: kubelet would take the volume from a
    running pod), and says so: an event, the pod status, the metrics.
In 9 and 10 a bug of ours is a failure like any other: it must not take a volume from a pod either.
"""

import asyncio
import time

from driver.config import DriverConfig
from driver.metrics import DriverMetrics
from driver.ports import Cluster, ProviderClass
from driver.publish import schedule
from driver.publish.refresh import Reporter
from driver.publish.request import PublishRequest
from driver.publish.steps import Attempt, Steps
from driver.registry import Volume, VolumeRegistry
from driver.volume import operations
from driver.volume.failures import os_errors_as
from driver.volume.target import Target
from driver.volume.workers import DiskWorkers
from runtime import logs, rpc
from runtime.errors import Aborted, Failure, Internal

log = logs.get(__name__)

# A republish of a volume that has content does not wait long for an API server that is away: the content is good.
REPUBLISH_LOOKUP_SECONDS = 5.0
METHOD = "NodePublishVolume"


class Publisher:
    """Publishes volumes; one a driver."""

    def __init__(
        self,
        config: DriverConfig,
        volumes: VolumeRegistry,
        disk: DiskWorkers,
        cluster: Cluster,
        steps: Steps,
        metrics: DriverMetrics,
    ) -> None:
        self.volumes = volumes
        self._config = config
        self._disk = disk
        self._cluster = cluster
        self._steps = steps
        self._metrics = metrics
        self._reporter = Reporter(cluster, metrics)

    def count_refused(self) -> None:
        """A request that did not pass its check."""
        self._metrics.publish_failed("", "FailedToMount")

    async def publish(self, request: PublishRequest, deadline: float) -> None:
        """Publish or republish one volume by ``deadline`` (loop time). Raises a Failure."""
        attempt = Attempt(request, deadline)
        try:
            async with self.volumes.exclusive(request.target.path, deadline):
                kept = await self._publish_exclusively(attempt)
        except Failure as failure:
            self._metrics.publish_failed(attempt.provider, attempt.counted_as(failure))
            log.error("Failed to publish a volume", exc=failure, pod=request.pod, target=request.target.path)
            raise
        if not kept:
            self._metrics.published(attempt.provider)

    async def _publish_exclusively(self, attempt: Attempt) -> bool:
        """Steps 3 to 10; tells whether a failure was answered OK because there is old content to keep."""
        found = await self._look(attempt)
        if not found.committed:
            await self._publish_first(attempt, found)
            return False
        volume = self._volume(attempt, found)
        if volume.recorded is False:
            await self._finish(attempt, volume)
            return False
        if self._config.enable_secret_rotation:
            return await self._republish(attempt, volume)
        return False

    async def _look(self, attempt: Attempt) -> operations.Found:
        """Step 3, in one turn of a worker thread."""
        attempt.error_type = "FailedToEnsureMountPoint"
        try:
            return await self._disk.run(_inspect, attempt.request.target)
        except Internal as failure:
            raise Aborted(str(failure)) from None  # what cannot be looked at may be mounted

    async def _publish_first(self, attempt: Attempt, found: operations.Found) -> None:
        try:
            with self.volumes.coming(attempt.request.class_ref):
                provider_class = await self._steps.find_class(attempt, attempt.deadline)
                await self._steps.mount(attempt, found)
                await self._refresh(attempt, self._volume(attempt, found, committed=False), provider_class)
        except Exception as error:
            raise await self._clear_uncommitted(attempt, rpc.as_failure(error, METHOD)) from None
        finally:
            if not self.volumes.uses(attempt.request.class_ref):
                self._cluster.forget_class(attempt.request.class_ref)

    async def _finish(self, attempt: Attempt, volume: Volume) -> None:
        """The publish that committed this volume could not tell of it; with its versions, it is told before it counts.
        The content stays whatever happens: its pod may be running."""
        try:
            await self._refresh(attempt, volume, await self._steps.find_class(attempt, attempt.deadline))
        except Exception as error:
            raise _never_final(attempt, rpc.as_failure(error, METHOD), "the volume keeps its content") from None

    async def _republish(self, attempt: Attempt, volume: Volume) -> bool:
        """A volume with content: fetch if due, keep the old content on failure (step 10)."""
        now, started = time.time(), time.monotonic()
        try:
            soon = min(attempt.deadline, asyncio.get_running_loop().time() + REPUBLISH_LOOKUP_SECONDS)
            provider_class = await self._steps.find_class(attempt, soon)
            interval = await self._steps.interval(attempt, provider_class)
            volume.fingerprint = volume.fingerprint or provider_class.fingerprint
            if not schedule.is_due(volume, provider_class.fingerprint, interval, now):
                return False
            await self._refresh(attempt, volume, provider_class)
        except Exception as error:
            failure = rpc.as_failure(error, METHOD)
            if now < volume.retry_at:
                return False  # told already; the next telling waits for the back-off
            await self._reporter.failed(volume, failure, attempt.counted_as(failure))
            return True
        self._metrics.rotated(volume.provider, time.monotonic() - started)
        return False

    async def _refresh(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass) -> None:
        """Steps 6 to 8; from the commit on the volume is one of the node's."""
        failed_before = volume.failure is not None
        changed = await self._steps.fetch(attempt, volume, provider_class)
        self.volumes.put(volume)
        await self._steps.tell(attempt, volume, provider_class, changed)
        if failed_before:
            await self._reporter.recovered(volume)

    async def _clear_uncommitted(self, attempt: Attempt, failure: Failure) -> Failure:
        """Step 9; returns what is to be answered."""
        path = attempt.request.target.path
        left = await self._disk.run(operations.clear_uncommitted, path)
        if not left:
            return failure
        log.warning("A failed publish had to leave something mounted", target=path, reason=left, err=failure)
        return _never_final(attempt, failure, left)

    def _volume(self, attempt: Attempt, found: operations.Found, committed: bool = True) -> Volume:
        """What is known of the target's volume; content that nobody knows of yet has no versions."""
        request = attempt.request
        known = self.volumes.get(request.target.path)
        if committed and known is not None:
            known.pod, known.class_ref = request.pod, request.class_ref
            return known
        return Volume(
            request.target,
            request.pod,
            request.class_ref,
            last_refresh=found.last_refresh if committed else None,
            recorded=None if committed else False,
        )


def _inspect(target: Target) -> operations.Found:
    with os_errors_as(f"failed to check target path {target.path}"):
        target.check_disk()
    return operations.inspect(target.path)


def _never_final(attempt: Attempt, failure: Failure, left: str) -> Failure:
    """The failure, with a code after which kubelet keeps the volume because of what is ``left`` mounted."""
    if rpc.code_of(failure) in rpc.NON_FINAL_CODES:
        return failure
    attempt.error_type = attempt.counted_as(failure)
    return Aborted(f"{failure}; {left}")
