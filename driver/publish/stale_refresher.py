"""What the provider's answer means for the volumes that were served old content: each is refreshed with it, or says why
it still has what it has.

``renewals`` gets the answer, once for all volumes of a key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from driver.metrics import DriverMetrics
from driver.publish.attributes import secrets_of
from driver.publish.failures import METHOD
from driver.publish.fetching.key import FetchKey
from driver.publish.fetching.stale import StaleVolumes
from driver.publish.refresher import Refresher
from driver.publish.remote_steps import RemoteSteps
from driver.publish.reporting import Content, Reporter
from driver.publish.request import Attempt, PublishRequest
from driver.publish.stopping import DriverStopping
from driver.publish.target_steps import TargetSteps
from driver.registry import VolumeRegistry
from runtime import clock, logs, redact, rpc
from runtime.errors import Failure

log = logs.get(__name__)

REFRESH_SECONDS = 30.0
AT_ONCE = 8

Result = TypeVar("Result")


class StaleRefresher:
    """Works on all volumes of a key that wait, some at a time, each under its lock and as of kubelet's last request."""

    def __init__(
        self,
        volumes: VolumeRegistry,
        stale: StaleVolumes,
        target: TargetSteps,
        remote: RemoteSteps,
        refresher: Refresher,
        reporter: Reporter,
        metrics: DriverMetrics,
    ) -> None:
        self._volumes = volumes
        self._stale = stale
        self._target = target
        self._remote = remote
        self._refresher = refresher
        self._reporter = reporter
        self._metrics = metrics

    async def refresh(self, key: FetchKey) -> list[Failure | None]:
        """Refresh them, as a republish does; returns the failures, None for a volume that is not stale any more."""
        refreshing = asyncio.create_task(self._each(key, self._refresh))
        try:
            return await asyncio.shield(refreshing)
        finally:
            # When the driver stops: a thread that writes cannot be cancelled, and what a refresh waits for ends then.
            await asyncio.wait([refreshing])

    async def report(self, key: FetchKey, answer: Failure) -> None:
        """The store is back, and refuses: that is why the content is old now."""
        answer.error_type = answer.error_type or "GRPCProviderError"
        await self._each(key, partial(self._report, answer))

    async def _each(self, key: FetchKey, job: Callable[[PublishRequest], Awaitable[Result]]) -> list[Result]:
        places = asyncio.Semaphore(AT_ONCE)

        async def run(request: PublishRequest) -> Result:
            async with places:
                with redact.withholding(*secrets_of(request)):
                    return await job(request)

        return await asyncio.gather(*(run(item.request) for item in self._stale.of(key).values()))

    async def _report(self, answer: Failure, request: PublishRequest) -> None:
        path, deadline = request.target.path, asyncio.get_running_loop().time() + REFRESH_SECONDS
        try:
            async with self._volumes.exclusive(path, deadline):
                volume = self._volumes.get(path)
                if volume is not None and volume.stale:
                    await self._reporter.refresh_failed(volume, answer, Content.OLD)
                    await self._target.write_record(volume)
        except Failure as failure:
            log.warning("A refusal could not be reported", pod=request.pod, err=failure)

    async def _refresh(self, request: PublishRequest) -> Failure | None:
        attempt = Attempt(request, asyncio.get_running_loop().time() + REFRESH_SECONDS)
        try:
            async with self._volumes.exclusive(request.target.path, attempt.deadline):
                return await self._refresh_holding(attempt)
        except Failure as failure:
            log.warning("A volume could not be refreshed; trying again", pod=request.pod, err=failure)
            return failure

    async def _refresh_holding(self, attempt: Attempt) -> Failure | None:
        volume, started = self._volumes.get(attempt.request.target.path), clock.now()
        found = await self._target.inspect(attempt)
        if volume is None or not volume.stale or not found.committed:
            return None
        try:
            provider_class = await self._remote.find_class(attempt, attempt.deadline)
            await self._refresher.refresh(attempt, volume, provider_class)
        except Exception as error:
            failure = rpc.as_failure(error, METHOD)
            if isinstance(failure, DriverStopping):
                return failure
            volume.stale = True  # also with fresh content: without rotation nobody else completes this
            await self._refresher.failed(attempt, volume, found, failure)
            return failure
        self._metrics.rotated(volume.provider, clock.now() - started)
        return None
