"""What a job does when it is due: a look at the Secret or a sync, and when it is due again."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from driver.objects.secret_syncs import SecretSync
from driver.secretsync import conditions, schedule
from driver.secretsync.away import AwayProviders
from driver.secretsync.fetching import without_effect
from driver.secretsync.jobs import Job, Jobs
from driver.secretsync.lanes import Lanes
from driver.secretsync.metrics import SyncMetrics
from driver.secretsync.reconciler import Reconciler
from driver.secretsync.secret import Deleted, SyncFailure
from runtime import logs, redact
from runtime.errors import Failure

log = logs.get(__name__)

# Syncs of one provider at a time, and those of one namespace; as many classes are read, and Secrets checked, at a time.
PER_PROVIDER, OF_ONE_NAMESPACE = 8, 6
# The lanes of work that waits for no provider; no provider has such a name.
_CLASSES, _CHECKS = "read a class", "check a Secret"
CHECK_SECONDS = 15.0


class Runs:
    """Runs jobs in lanes, and plans them again."""

    def __init__(
        self,
        jobs: Jobs,
        reconciler: Reconciler,
        metrics: SyncMetrics,
        away: AwayProviders,
        poll_interval: float,
        *,
        watches_secrets: bool,
    ) -> None:
        self._jobs = jobs
        self._reconciler = reconciler
        self._metrics = metrics
        self._away = away
        self._poll_interval = poll_interval
        self._watches_secrets = watches_secrets
        self._lanes = Lanes(PER_PROVIDER, OF_ONE_NAMESPACE)

    def start(self, job: Job) -> None:
        """The job is due."""
        job.running, job.seen = True, None
        if job.version and asyncio.get_running_loop().time() < job.sync_due:
            self._put(_CHECKS, self._checked, job)
        else:
            self._put(_CLASSES, self._classed, job)

    async def close(self) -> None:
        """Cancel everything."""
        await self._lanes.close()

    def _put(self, lane: str, work: Callable[[Job], Coroutine[Any, Any, None]], job: Job) -> None:
        self._lanes.put(lane, job.sync.ref.namespace, partial(work, job))

    async def _checked(self, job: Job) -> None:
        """A look at the Secret; a sync if it is not as it was written."""
        unchanged = True
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                unchanged = await self._reconciler.cluster.secrets.is_unchanged(job.sync.ref, job.version)
        except (Failure, TimeoutError) as failure:
            log.verbose(2, "A Secret could not be checked", secretSync=job.sync.ref, err=failure)
        except Exception as bug:
            log.error("Checking a Secret ended with a bug", secretSync=job.sync.ref, exc=bug)
        if not unchanged:
            job.restore(asyncio.get_running_loop().time())
        self._ended(job)

    async def _classed(self, job: Job) -> None:
        """Find out which provider's lane the sync belongs to."""
        if job.gone:
            return
        try:
            provider_class = await self._reconciler.find_class(job.sync)
        except SyncFailure as failure:
            job.provider = ""
            await self._failed(job, failure)
            return
        except Exception as bug:
            self._crashed(job, bug)
            return
        job.provider = provider_class.provider
        self._put(f"provider {job.provider}", self._synced, job)

    async def _synced(self, job: Job) -> None:
        if not job.gone:
            with redact.withholding():  # what is sent and fetched; the report of a failure, or of a bug, may quote it
                await self._sync(job)

    async def _sync(self, job: Job) -> None:
        job.again = False
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            # Again: it may have waited in the lane for long, and the class is cached.
            provider_class = await self._reconciler.find_class(job.sync)
            job.provider = provider_class.provider
            end = await self._reconciler.sync(job.sync, provider_class, job.version, lambda: job.gone)
        except Deleted:
            return
        except SyncFailure as failure:
            await self._failed(job, failure)
            return
        except Exception as bug:
            self._crashed(job, bug)
            return
        self._metrics.synced(job.provider, loop.time() - started, written=end.written)
        if end.written:
            log.info("Synced a Secret", secret=job.sync.ref, secretProviderClass=job.sync.class_ref)
        if job.failures or conditions.is_failing(job.sync):
            message = f"Secret {job.sync.ref.name} is synced again"
            self._reconciler.cluster.events.send(job.sync, warning=False, reason="SecretSynced", message=message)
        for reason, message in without_effect(provider_class):
            self._reconciler.cluster.events.send(job.sync, warning=True, reason=reason, message=message)
        job.failures, job.version, job.synced_at = 0, end.version, loop.time()
        _keep_status(job, end.sync)
        job.sync_due = loop.time() + schedule.next_sync(provider_class.annotations, self._poll_interval)
        self._ended(job)

    async def _failed(self, job: Job, failure: SyncFailure) -> None:
        if job.gone:
            return
        self._metrics.failed(job.provider, failure.reason)
        job.failures += 1
        try:
            _keep_status(job, await self._reconciler.report(job.sync, failure))
        except SyncFailure as unwritten:
            log.warning("The status of a SecretSync cannot be written", secretSync=job.sync.ref, err=unwritten)
        except Exception as bug:
            log.error("Reporting a failure ended with a bug", secretSync=job.sync.ref, exc=bug)
        wait = schedule.retry(job.failures, overloaded=failure.overloaded)
        job.sync_due = asyncio.get_running_loop().time() + wait
        if failure.away:
            self._away.sync_failed(job.provider)
        self._ended(job)

    def _crashed(self, job: Job, bug: Exception) -> None:
        log.error("A sync ended with a bug", secretSync=job.sync.ref, exc=bug)
        job.sync_due = asyncio.get_running_loop().time() + schedule.LAST
        self._ended(job)

    def _ended(self, job: Job) -> None:
        job.running = False
        if job.gone:
            return
        loop = asyncio.get_running_loop()
        if job.again:
            job.again, job.sync_due = False, loop.time()
        if job.seen is not None and job.is_changed(job.seen):
            job.restore(loop.time())
        checked = job.version and not self._watches_secrets
        check = loop.time() + schedule.next_check() if checked else schedule.NEVER
        self._jobs.plan(job, min(job.sync_due, check))


def _keep_status(job: Job, sync: SecretSync) -> None:
    """Remember the status that was written; the watch may have brought a newer specification meanwhile."""
    if job.sync == sync:
        job.sync = sync
