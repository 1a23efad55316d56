"""Steps 6 to 8 of ``publisher``: a volume that is mounted gets its content, for the first time or anew; and step 10, if
it keeps what it had."""

from contextlib import AsyncExitStack

from driver.ports import ProviderClass, RefreshFailure
from driver.publish.fetching.fetcher import Fetcher
from driver.publish.fetching.replies import Fetched
from driver.publish.fetching.stale import StaleVolumes
from driver.publish.remote_steps import RemoteSteps
from driver.publish.reporting import Content, Reporter
from driver.publish.request import Attempt
from driver.publish.restarts import Restarts
from driver.publish.target_steps import TargetSteps
from driver.registry import Volume, VolumeRegistry
from driver.volume.operations import Found
from runtime.errors import Failure


class Refresher:
    """Fetches, commits and records the content of volumes."""

    def __init__(
        self,
        volumes: VolumeRegistry,
        target: TargetSteps,
        fetcher: Fetcher,
        stale: StaleVolumes,
        remote: RemoteSteps,
        reporter: Reporter,
        restarts: Restarts,
    ) -> None:
        self._volumes = volumes
        self._target = target
        self._fetcher = fetcher
        self._stale = stale
        self._remote = remote
        self._reporter = reporter
        self._restarts = restarts

    async def refresh(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass) -> None:
        """Steps 6 to 8."""
        async with AsyncExitStack() as held:
            await self._refresh(attempt, volume, provider_class, held)

    async def failed(self, attempt: Attempt, volume: Volume, found: Found, failure: Failure) -> None:
        """Step 10; ``found`` is what step 3 found."""
        content = Content.NEW if attempt.committed else await self._target.content_since(attempt, found)
        await self._reporter.refresh_failed(volume, failure, content)
        await self._target.write_record(volume)

    async def _refresh(
        self, attempt: Attempt, volume: Volume, provider_class: ProviderClass, held: AsyncExitStack
    ) -> None:
        failed_before = volume.failure is not None
        fetched = await self._fetcher.fetch(attempt, volume, provider_class, held)  # step 6
        reply, failure = fetched.reply, self._why_stale(fetched)
        await self._reporter.repeated_paths(volume, reply.repeated)
        committed = volume.after_refresh(attempt.provider, reply.objects, failure)
        content_changed = await self._target.commit(attempt, reply, committed, fetched.at)  # step 7
        attempt.committed, former = True, volume.objects
        changed = volume.refreshed(attempt.provider, reply.objects, fetched.at, failure) or content_changed
        if fetched.key is not None and fetched.stale is not None:
            self._stale.add(fetched.key, attempt.request, fetched.stale, fetched.decided)
        volume.status_current = committed.status_current
        self._volumes.put(volume)
        if changed and volume.recorded is not False:
            self._reporter.rotated(volume, former)
            # Of files that a provider writes itself only the versions are known.
            await self._restarts.rotated(volume, former, provider_class, content_changed or not reply.payload)
        volume.has_status(await self._remote.record(attempt, volume.record, provider_class, changed=changed))  # step 8
        if volume.details != committed:
            await self._target.write_record(volume)
        if failure is not None:
            await self._reporter.last_known_good(volume, failure)
        elif failed_before:
            await self._reporter.refresh_recovered(volume)

    def _why_stale(self, fetched: Fetched) -> RefreshFailure | None:
        if fetched.stale is None or fetched.at is None:
            return None
        return self._reporter.served_stale(fetched.at, fetched.stale)
