"""Keeps the Secret of every SecretSync as it should be.

1. A SecretSync that is new or changed is synced at once; so are all those of a class that has changed.
2. After that it is synced again by its own clock (``schedule``), with jitter: those that were created together drift
   apart.
3. In between it is asked every 45 s whether the Secret was changed or deleted by others, unless a watch says so; then
   it is synced at once.
4. A failure is a condition and an event, and is tried again after a while that grows, or when the provider that was
   away is back. The others go on.
"""

import asyncio
from collections.abc import Mapping, Sequence

from driver.objects.secret_syncs import SecretSync, SyncRef
from driver.ports import ClassRef
from driver.secretsync.away import AwayProviders, Reachability
from driver.secretsync.jobs import Job, Jobs, Seen
from driver.secretsync.metrics import SyncMetrics
from driver.secretsync.reconciler import Reconciler
from driver.secretsync.runs import Runs


class Controller:
    """Implements ``ports.Listener``; ``run`` does the work, and ``away.run`` looks for providers that are back."""

    def __init__(
        self,
        reconciler: Reconciler,
        providers: Reachability,
        metrics: SyncMetrics,
        poll_interval: float,
        name: str = "",
        *,
        watches_secrets: bool = False,
    ) -> None:
        self._classes = reconciler.cluster.classes
        self._metrics = metrics
        self._name = name
        self._jobs = Jobs()
        self.away = AwayProviders(providers, self._jobs.failing_providers, self._provider_is_back)
        self._runs = Runs(self._jobs, reconciler, metrics, self.away, poll_interval, watches_secrets=watches_secrets)
        self._classes.on_change(self._class_changed)

    async def run(self) -> None:
        """Start what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._jobs.wake.clear()
                while (job := self._jobs.pop_due(loop.time())) is not None:
                    self._runs.start(job)
                try:
                    async with asyncio.timeout_at(min(self._jobs.next_due(), loop.time() + 3600)):
                        await self._jobs.wake.wait()
                except TimeoutError:
                    pass  # something is due
        finally:
            await self._runs.close()

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
                self._classes.forget(former)
            self._sync_now(job)
        self._metrics.count(len(self._jobs))

    def deleted(self, ref: SyncRef) -> None:
        """One was deleted; the API server deletes its Secret."""
        job = self._jobs.remove(ref)
        if job is not None and not self._jobs.uses(job.sync.class_ref):
            self._classes.forget(job.sync.class_ref)
        self._metrics.count(len(self._jobs))

    def secrets_listed(self, found: Mapping[SyncRef, str], at: str) -> None:
        """The Secrets with the label and their resourceVersions, as of the resourceVersion ``at``; no others exist."""
        for ref in self._jobs.refs():
            self.secret_changed(ref, found.get(ref, ""), at)

    def secret_changed(self, ref: SyncRef, version: str, at: str) -> None:
        """A Secret has this resourceVersion, empty if it was deleted, as of the resourceVersion ``at``."""
        job, seen = self._jobs.get(ref), Seen(version, at)
        if job is None:
            return
        if job.running:
            job.seen = seen
        elif job.is_changed(seen):
            job.restore(asyncio.get_running_loop().time())
            self._jobs.plan(job, job.sync_due)

    def _class_changed(self, class_ref: ClassRef) -> None:
        for job in self._jobs.of_class(class_ref):
            self._sync_now(job)

    def _provider_is_back(self, name: str) -> None:
        for job in self._jobs.failing_with(name):
            self._sync_now(job, failures=job.failures)  # its back-off goes on if that fails again

    def _sync_now(self, job: Job, failures: int = 0) -> None:
        now = asyncio.get_running_loop().time()
        job.sync_due, job.failures = now, failures
        if job.running:
            job.again = True
        else:
            self._jobs.plan(job, now)
