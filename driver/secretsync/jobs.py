"""The SecretSyncs that exist, each with its own clock, and the order in which they are due."""

import asyncio
import heapq
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from driver.objects.secret_syncs import SecretSync, SyncRef
from driver.ports import ClassRef
from driver.secretsync import schedule
from runtime import logs

log = logs.get(__name__)


class Seen(NamedTuple):
    """What a watch of the Secrets has shown: a Secret's resourceVersion, empty if there is none, and the
    resourceVersion at which that was so."""

    version: str
    at: str


@dataclass(slots=True)
class Job:
    """One SecretSync.

    ``due`` is the loop time of its next run, ``sync_due`` that of its next sync: a run before only asks whether the
    Secret is still as it was written. ``version`` is the resourceVersion of the last write, empty if it is unknown.
    ``again`` asks a run in progress for one more. ``seen`` is the last that the watch of the Secrets has shown during a
    run. ``synced_at`` is the time of the last sync, ``provider`` the provider of the last attempt.
    """

    sync: SecretSync
    sync_due: float
    due: float = 0.0
    version: str = ""
    failures: int = 0
    running: bool = False
    again: bool = False
    gone: bool = False
    seen: Seen | None = None
    synced_at: float = float("-inf")
    provider: str = ""

    def is_changed(self, seen: Seen) -> bool:
        """Whether somebody else has changed the Secret since it was written.

        What is shown may be from before that: a watch is late, and a list takes its time. The resourceVersions of one
        kind of object can be compared as numbers
        (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
        """
        if not self.version or seen.version == self.version:
            return False
        return not (seen.at.isdecimal() and self.version.isdecimal() and int(seen.at) <= int(self.version))

    def restore(self, now: float) -> None:
        """Somebody else has changed the Secret: it is synced, but not again and again."""
        log.info("A Secret was changed or deleted by others; it is synced again", secretSync=self.sync.ref)
        self.version = ""
        self.sync_due = min(self.sync_due, max(now, self.synced_at + schedule.RESTORE_SECONDS))


class Jobs:
    """All jobs, by reference, by class and by time."""

    def __init__(self) -> None:
        self._jobs: dict[SyncRef, Job] = {}
        self._by_class: dict[ClassRef, set[SyncRef]] = {}
        # Entries whose job is due at another time by now are skipped.
        self._heap: list[tuple[float, int, Job]] = []
        self._number = count()
        self.wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, ref: SyncRef) -> Job | None:
        """The job of a SecretSync."""
        return self._jobs.get(ref)

    def refs(self) -> set[SyncRef]:
        """All SecretSyncs."""
        return set(self._jobs)

    def of_class(self, class_ref: ClassRef) -> list[Job]:
        """The jobs that use a class."""
        return [self._jobs[ref] for ref in self._by_class.get(class_ref, ())]

    def failing_providers(self) -> set[str]:
        """The providers that those jobs need whose last attempt failed."""
        return {job.provider for job in self._jobs.values() if job.failures}

    def failing_with(self, provider: str) -> list[Job]:
        """The jobs whose last attempt failed, and needed this provider."""
        return [job for job in self._jobs.values() if job.failures and job.provider == provider]

    def add(self, sync: SecretSync, due: float) -> None:
        """A new SecretSync."""
        job = self._jobs[sync.ref] = Job(sync, sync_due=due)
        self._by_class.setdefault(sync.class_ref, set()).add(sync.ref)
        self.plan(job, due)

    def update(self, job: Job, sync: SecretSync) -> bool:
        """Another state of a SecretSync; returns whether its former class has no user any more."""
        former, job.sync = job.sync, sync
        if former.class_ref == sync.class_ref:
            return False
        self._by_class.setdefault(sync.class_ref, set()).add(sync.ref)
        return self._leave_class(former)

    def remove(self, ref: SyncRef) -> Job | None:
        """A SecretSync that is deleted."""
        job = self._jobs.pop(ref, None)
        if job is not None:
            job.gone = True
            self._leave_class(job.sync)
        return job

    def uses(self, class_ref: ClassRef) -> bool:
        """Whether any SecretSync uses a class."""
        return class_ref in self._by_class

    def plan(self, job: Job, due: float) -> None:
        """Run the job at a loop time."""
        job.due = due
        heapq.heappush(self._heap, (due, next(self._number), job))
        self.wake.set()

    def next_due(self) -> float:
        """The loop time at which the first job is due."""
        while self._heap and (self._heap[0][2].gone or self._heap[0][2].due != self._heap[0][0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def pop_due(self, now: float) -> Job | None:
        """The first job that is due, which is then due no more."""
        if self.next_due() > now:
            return None
        job = heapq.heappop(self._heap)[2]
        job.due = float("inf")
        return job

    def _leave_class(self, sync: SecretSync) -> bool:
        refs = self._by_class.get(sync.class_ref, set())
        refs.discard(sync.ref)
        if not refs:
            self._by_class.pop(sync.class_ref, None)
        return not refs
