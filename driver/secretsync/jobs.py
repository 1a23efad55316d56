"""The SecretSyncs that exist, each with its own clock, and the order in which they are due."""

import asyncio
import heapq
from dataclasses import dataclass
from itertools import count

from driver.objects.secret_syncs import SecretSync, SyncRef
from driver.ports import ClassRef


@dataclass
class Job:
    """One SecretSync.

    ``due`` is the loop time of its next run, ``sync_due`` that of its next sync: a run before only asks whether the
    Secret is still as it was written. ``version`` is the resourceVersion of the last write, empty if it is unknown.
    ``again`` asks a run in progress for one more. ``seen`` is the resourceVersion that the watch of the Secrets showed
    during a run, empty if the Secret was deleted; None without such an event. ``synced_at`` is the time of the last
    sync.
    """

    sync: SecretSync
    sync_due: float
    due: float = 0.0
    version: str = ""
    failures: int = 0
    running: bool = False
    again: bool = False
    gone: bool = False
    seen: str | None = None
    synced_at: float = float("-inf")


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
