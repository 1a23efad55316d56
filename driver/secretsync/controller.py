"""Keeps the Secret of every SecretSync as it should be.

1. A SecretSync that is new or changed is synced at once; so are all those of a class that has changed.
2. After that it is synced again by its own clock (``schedule``), with jitter: those that were created together drift
   apart.
3. In between it is asked every 45 s whether the Secret was changed or deleted by others, unless a watch says so; then
   it is synced at once.
4. A failure is a condition and an event, and is tried again after a while that grows. The others go on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from driver.objects.secret_syncs import SecretSync, SyncRef
from driver.ports import ClassRef
from driver.secretsync import conditions, schedule
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


class Controller:
    """Implements ``ports.Listener``; ``run`` does the work."""

    def __init__(
        self,
        reconciler: Reconciler,
        metrics: SyncMetrics,
        poll_interval: float,
        name: str = "",
        *,
        watches_secrets: bool = False,
    ) -> None:
        self._reconciler = reconciler
        self._metrics = metrics
        self._poll_interval = poll_interval
        self._name = name
        self._watches_secrets = watches_secrets
        self._jobs = Jobs()
        self._lanes = Lanes(PER_PROVIDER, OF_ONE_NAMESPACE)
        reconciler.cluster.classes.on_change(self._class_changed)

    async def run(self) -> None:
        """Start what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._jobs.wake.clear()
                while (job := self._jobs.pop_due(loop.time())) is not None:
                    self._start(job)
                try:
                    async with asyncio.timeout_at(min(self._jobs.next_due(), loop.time() + 3600)):
                        await self._jobs.wake.wait()
                except TimeoutError:
                    pass  # something is due
        finally:
            await self._lanes.close()

    def listed(self, found: Sequence[SecretSync]) -> None:
        """These exist, and no others."""
        for ref in self._jobs.refs() - {sync.ref for sync in found}:
            self.deleted(ref)
        for sync in found:
            self.changed(sync)

    def changed(self, sync: SecretSync) -> None:
        """One was created or changed; its own status alone is no change."""
        if self._name and sync.controller != self._name:
            self.deleted(sync.ref)
            return
        now, job = asyncio.get_running_loop().time(), self._jobs.get(sync.ref)
        if job is None or job.sync.uid != sync.uid:
            self.deleted(sync.ref)
            self._jobs.add(sync, now)
        elif job.sync != sync:
            former = job.sync.class_ref
            if self._jobs.update(job, sync):
                self._reconciler.cluster.classes.forget(former)
            self._sync_now(job)
        self._metrics.count(len(self._jobs))

    def deleted(self, ref: SyncRef) -> None:
        """One was deleted; the API server deletes its Secret."""
        job = self._jobs.remove(ref)
        if job is not None and not self._jobs.uses(job.sync.class_ref):
            self._reconciler.cluster.classes.forget(job.sync.class_ref)
        self._metrics.count(len(self._jobs))

    def secrets_listed(self, found: Mapping[SyncRef, str]) -> None:
        """The Secrets with the label and their resourceVersions; no others exist."""
        for ref in self._jobs.refs():
            self.secret_changed(ref, found.get(ref, ""))

    def secret_changed(self, ref: SyncRef, version: str) -> None:
        """A Secret has this resourceVersion now; empty if it was deleted."""
        job = self._jobs.get(ref)
        if job is None:
            return
        if job.running:
            job.seen = version
        elif self._is_restored(job, version):
            self._jobs.plan(job, job.sync_due)

    def _is_restored(self, job: Job, version: str) -> bool:
        """Whether somebody else has changed the Secret since it was written; its sync is due then."""
        if not job.version or version == job.version:
            return False
        log.info("A Secret was changed or deleted by others; it is synced again", secretSync=job.sync.ref)
        earliest = max(asyncio.get_running_loop().time(), job.synced_at + schedule.RESTORE_SECONDS)
        job.version, job.sync_due = "", min(job.sync_due, earliest)
        return True

    def _class_changed(self, class_ref: ClassRef) -> None:
        for job in self._jobs.of_class(class_ref):
            self._sync_now(job)

    def _sync_now(self, job: Job) -> None:
        now = asyncio.get_running_loop().time()
        job.sync_due, job.failures = now, 0
        if job.running:
            job.again = True
        else:
            self._jobs.plan(job, now)

    def _start(self, job: Job) -> None:
        job.running, job.seen = True, None
        if job.version and asyncio.get_running_loop().time() < job.sync_due:
            self._put(_CHECKS, self._checked, job)
        else:
            self._put(_CLASSES, self._classed, job)

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
            log.info("A Secret was changed or deleted by others; it is synced again", secretSync=job.sync.ref)
            job.version, job.sync_due = "", asyncio.get_running_loop().time()
        self._ended(job)

    async def _classed(self, job: Job) -> None:
        """Find out which provider's lane the sync belongs to."""
        if job.gone:
            return
        try:
            provider_class = await self._reconciler.find_class(job.sync)
        except SyncFailure as failure:
            await self._failed(job, "", failure)
            return
        except Exception as bug:
            self._crashed(job, bug)
            return
        self._put(f"provider {provider_class.provider}", self._synced, job)

    async def _synced(self, job: Job) -> None:
        if not job.gone:
            with redact.withholding():  # what is sent and fetched; the report of a failure, or of a bug, may quote it
                await self._sync(job)

    async def _sync(self, job: Job) -> None:
        job.again = False
        provider, loop = "", asyncio.get_running_loop()
        started = loop.time()
        try:
            # Again: it may have waited in the lane for long, and the class is cached.
            provider_class = await self._reconciler.find_class(job.sync)
            provider = provider_class.provider
            end = await self._reconciler.sync(job.sync, provider_class, job.version, lambda: job.gone)
        except Deleted:
            return
        except SyncFailure as failure:
            await self._failed(job, provider, failure)
            return
        except Exception as bug:
            self._crashed(job, bug)
            return
        self._metrics.synced(provider, loop.time() - started, written=end.written)
        if end.written:
            log.info("Synced a Secret", secret=job.sync.ref, secretProviderClass=job.sync.class_ref)
        if job.failures or conditions.is_failing(job.sync):
            message = f"Secret {job.sync.ref.name} is synced again"
            self._reconciler.cluster.events.send(job.sync, warning=False, reason="SecretSynced", message=message)
        job.failures, job.version, job.synced_at = 0, end.version, loop.time()
        self._keep_status(job, end.sync)
        job.sync_due = loop.time() + schedule.next_sync(provider_class.annotations, self._poll_interval)
        self._ended(job)

    async def _failed(self, job: Job, provider: str, failure: SyncFailure) -> None:
        if job.gone:
            return
        self._metrics.failed(provider, failure.reason)
        job.failures += 1
        try:
            self._keep_status(job, await self._reconciler.report(job.sync, failure))
        except SyncFailure as unwritten:
            log.warning("The status of a SecretSync cannot be written", secretSync=job.sync.ref, err=unwritten)
        except Exception as bug:
            log.error("Reporting a failure ended with a bug", secretSync=job.sync.ref, exc=bug)
        wait = schedule.retry(job.failures, overloaded=failure.overloaded)
        job.sync_due = asyncio.get_running_loop().time() + wait
        self._ended(job)

    def _crashed(self, job: Job, bug: Exception) -> None:
        log.error("A sync ended with a bug", secretSync=job.sync.ref, exc=bug)
        job.sync_due = asyncio.get_running_loop().time() + schedule.LAST
        self._ended(job)

    def _keep_status(self, job: Job, sync: SecretSync) -> None:
        """Remember the status that was written; the watch may have brought a newer specification meanwhile."""
        if job.sync == sync:
            job.sync = sync

    def _ended(self, job: Job) -> None:
        job.running = False
        if job.gone:
            return
        loop = asyncio.get_running_loop()
        if job.again:
            job.again, job.sync_due = False, loop.time()
        if job.seen is not None:
            self._is_restored(job, job.seen)
        checked = job.version and not self._watches_secrets
        check = loop.time() + schedule.next_check() if checked else schedule.NEVER
        self._jobs.plan(job, min(job.sync_due, check))
