"""The publish path: what NodePublishVolume does, in ten steps.

 1. The request has been validated (``request``); an invalid one has touched nothing.
 2. Take the lock of the target path: one operation for each target at a time.
 3. Inspect the target: is a volume mounted and committed (``driver.volume.operations``)? If it is, and its content is
    not due for a refresh, that is all.
 4. Find the SecretProviderClass.
 5. Mount a tmpfs. Only once there is a class, and always before a provider is called: some providers write into the
    target themselves, and secrets must not reach a disk.
 6. Get the content, mostly by a call to the provider (``fetching``). It is sent the attributes of the volume
    (``attributes``).
 7. Commit the reply with the atomic writer; set the time of the last refresh; write the volume's record
    (``driver.volume.record``).
 8. Write the pod status, and have the Secrets synced concurrently. Then the record says that there is a pod status.
 9. If a first publish fails, unmount; answer a final code only if nothing stays mounted (below). Files that a provider
    wrote itself, perhaps called by another driver, are never removed.
10. If a refresh fails, keep the old content and answer OK (below), but report the failure (``reporting``).
In steps 9 and 10 a bug of ours is a failure like any other: it must not take a volume from a pod either.

A final code means unmounted
----------------------------

What kubelet does after an error depends on its gRPC code. After a *non-final* code (``runtime.rpc.NON_FINAL_CODES``:
UNAVAILABLE, ABORTED and a few others) the operation may still be in progress for all kubelet knows. It keeps the volume
in its books, tries again, and unpublishes the volume when the pod is deleted.

Any other code is *final*. If the volume has not been published before, kubelet forgets it and will never unpublish it:
a mount that is still there stays on the node with its secrets, for ever. Hence the rule of step 9: a final code is
answered only if nothing is mounted. If something cannot be unmounted, or must not be because its content is committed
and only the pod status is missing, the answer is ABORTED, and the text has the cause.

If the volume has been published before, its pod is running. After a final code kubelets up to 1.36 take the volume's
directory away from it (https://github.com/kubernetes/kubernetes/issues/121271). Hence step 10 answers OK.
"""

import asyncio

from driver.config import DriverConfig
from driver.metrics import DriverMetrics
from driver.ports import Cluster
from driver.publish import schedule
from driver.publish.failures import METHOD, non_final
from driver.publish.fetching.fetcher import Fetcher
from driver.publish.fetching.stale import StaleVolumes
from driver.publish.pending import PendingVolumes
from driver.publish.refresher import Refresher
from driver.publish.remote_steps import RemoteSteps
from driver.publish.request import Attempt, PublishRequest
from driver.publish.restarts import Restarts
from driver.publish.stopping import DriverStopping
from driver.publish.target_steps import TargetSteps
from driver.registry import Volume, VolumeRegistry
from driver.volume.operations import Found
from driver.volume.workers import TENANT
from runtime import clock, logs, rpc
from runtime.errors import Failure

log = logs.get(__name__)

# The republish of a volume that has content does not wait long for an API server that is away.
REPUBLISH_LOOKUP_SECONDS = 5.0


class Publisher:
    """Publishes the volumes of one driver."""

    def __init__(
        self,
        config: DriverConfig,
        volumes: VolumeRegistry,
        cluster: Cluster,
        target: TargetSteps,
        remote: RemoteSteps,
        fetcher: Fetcher,
        refresher: Refresher,
        stale: StaleVolumes,
        restarts: Restarts,
        metrics: DriverMetrics,
        pending: PendingVolumes,
    ) -> None:
        self._config = config
        self._volumes = volumes
        self._cluster = cluster
        self._target = target
        self._remote = remote
        self._fetcher = fetcher
        self._refresher = refresher
        self._stale = stale
        self._restarts = restarts
        self._metrics = metrics
        self._pending = pending

    def count_invalid_request(self) -> None:
        """Count a request that failed step 1."""
        self._metrics.publish_failed("", "FailedToMount")

    async def publish(self, request: PublishRequest, deadline: float) -> None:
        """Publish or republish a volume by ``deadline`` (event loop time). Raises a Failure."""
        attempt = Attempt(request, deadline)
        TENANT.set(request.pod.namespace)
        try:
            with self._metrics.publishing(), self._pending.publishing(attempt):
                async with self._volumes.exclusive(request.target.path, deadline):  # step 2
                    kept_old_content = await self._publish(attempt)
        except Failure as failure:
            self._metrics.publish_failed(attempt.provider, failure.error_type)
            log.error("Failed to publish a volume", exc=failure, pod=request.pod, target=request.target.path)
            raise
        if not kept_old_content:
            self._metrics.published(attempt.provider)

    async def _publish(self, attempt: Attempt) -> bool:
        """Steps 3 to 10; returns whether a refresh failed and the old content was kept."""
        found = await self._target.inspect(attempt)  # step 3
        if not found.committed:
            await self._publish_first(attempt, found)
            return False
        volume = self._committed_volume(attempt.request, found)
        if volume.recorded is False:
            await self._publish_unrecorded(attempt, volume)
            return False
        return self._config.enable_secret_rotation and await self._republish(attempt, volume, found)

    async def _publish_first(self, attempt: Attempt, found: Found) -> None:
        """Steps 4 to 9 for a target without a volume."""
        request = attempt.request
        try:
            with self._volumes.publishing(request.target.path, request.class_ref):
                provider_class = await self._remote.find_class(attempt, attempt.deadline)  # step 4
                await self._target.mount(attempt, found)  # step 5
                volume = Volume(request.target, request.pod, request.class_ref, recorded=False)
                await self._refresher.refresh(attempt, volume, provider_class)  # steps 6 to 8
        except Exception as error:
            raise await self._target.clear_uncommitted(attempt, rpc.as_failure(error, METHOD)) from None  # step 9
        finally:
            if not self._volumes.uses(request.class_ref):
                self._cluster.forget_class(request.class_ref)

    async def _publish_unrecorded(self, attempt: Attempt, volume: Volume) -> None:
        """Steps 4 to 8 for a volume whose pod status is missing, because an earlier publish failed after its commit.

        Whether its content is up to date is unknown, so it is fetched again. It stays whatever happens: its pod may be
        running.
        """
        try:
            provider_class = await self._remote.find_class(attempt, attempt.deadline)
            await self._refresher.refresh(attempt, volume, provider_class)
        except Exception as error:
            raise non_final(rpc.as_failure(error, METHOD), "the volume stays mounted with its content") from None

    async def _republish(self, attempt: Attempt, volume: Volume, found: Found) -> bool:
        """Steps 4 to 8 and 10 for a volume that may be due for a refresh; returns whether that failed."""
        now = clock.now()
        try:
            lookup_deadline = asyncio.get_running_loop().time() + REPUBLISH_LOOKUP_SECONDS
            provider_class = await self._remote.find_class(attempt, min(attempt.deadline, lookup_deadline))
            await self._restarts.republished(volume, provider_class)
            volume.interval = interval = await self._remote.rotation_interval(attempt, provider_class)
            volume.fingerprint = volume.fingerprint or provider_class.fingerprint
            if volume.stale and self._stale.update(attempt.request):
                return False  # ``renewals`` asks the provider for it, now with the tokens of this request
            if now < volume.retry_at and await self._fetcher.provider_is_back(volume, provider_class):
                volume.retry_at = now
            jitter = self._config.rotation_jitter_percent / 100
            if not schedule.is_due(volume, provider_class.fingerprint, interval, now, jitter):
                return False
            await self._refresher.refresh(attempt, volume, provider_class)
        except Exception as error:
            failure = rpc.as_failure(error, METHOD)
            if now < volume.retry_at:
                return False  # reported already; the next report is due after the back-off
            if isinstance(failure, DriverStopping):
                return False  # nothing has failed: the next driver finds the volume due
            await self._refresher.failed(attempt, volume, found, failure)  # step 10
            return True
        self._metrics.rotated(volume.provider, clock.now() - now)
        return False

    def _committed_volume(self, request: PublishRequest, found: Found) -> Volume:
        """The volume at a target that is committed, known before or not."""
        volume = self._volumes.get(request.target.path)
        if volume is None:
            volume = Volume(request.target, request.pod, request.class_ref)
            volume.found_refreshed(found.last_refresh)
        volume.pod, volume.class_ref = request.pod, request.class_ref
        return volume
