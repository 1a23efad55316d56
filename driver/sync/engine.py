"""Keeps Secrets as their classes want them, by jobs with a schedule of their own: rotation is off by default.

1. A volume's first publish, and one that changed files, run the jobs of its class at once; the publish waits for
   them, for FIRST_SECONDS at most.
2. After success a job runs again in 5 minutes ± 10 %: one GET, and a write only on drift. So a Secret that was deleted
   by hand comes back. That the cluster does not let the driver add an owner is an event, and no failure.
3. After a failure it runs again after 2 s, 4 s … 5 minutes ± 10 %, and the pod gets a Warning event; other jobs go on.
   While the API server is away a job waits inside its run for runs.RUN_SECONDS, and is retried soon after. A
   pod whose status is to own the Secret and is not written yet does not hold it up: the job runs again once it is.
4. When a class changes, it is read again and its jobs run at once.
5. After a restart of the driver the classes of the restored volumes are read and their jobs run, spread over a few
   seconds: the drivers of all nodes may have restarted.
6. The jobs of a class end with its last volume. The Secret is garbage-collected with its last owner; with the deletion
   policy WithClass the class is one of them. If such an entry is removed from the class, or changes its policy, while
   a volume of the class is on the node, the class is taken from the owners.

What a run does is in ``driver.sync.runs``.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from driver.limits import MAX_SECRET_OBJECTS
from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Cluster, ProviderClass, SyncedSecret, VolumeRecord
from driver.sync.jobs import Job, Member, Table
from driver.sync.reporting import Reporter
from driver.sync.runs import BACKOFF_LAST, Runs, Writer
from driver.volume.workers import DiskWorkers
from runtime import logs
from runtime.errors import Failure, NotFound

log = logs.get(__name__)

FIRST_SECONDS = 1.5
RESTART_SPREAD = 10.0
JITTER = 0.1
# Retry after a class that could not be read, for example because a permission was missing.
CLASS_SECONDS = 30.0
# The jobs that run at a time, and those of one namespace: a class with thousands of secretObjects delays no other's.
AT_ONCE, AT_ONCE_IN_NAMESPACE = 8, 4


class Limits(NamedTuple):
    """The largest volume that is read, in bytes, how many seconds a publish waits for its jobs, and how many Secrets a
    class may ask for."""

    largest_volume: int
    first: float = FIRST_SECONDS
    of_class: int = MAX_SECRET_OBJECTS


class SyncEngine:
    """Implements ``ports.SecretSync`` where there is an API server."""

    def __init__(
        self, cluster: Cluster, writer: Writer, disk: DiskWorkers, metrics: DriverMetrics, limits: Limits
    ) -> None:
        self._cluster = cluster
        self._limits = limits
        self._reporter = Reporter(cluster)
        self._table = Table(most_of_class=limits.of_class)
        self._runs = Runs(self._table, writer, disk, metrics, self._reporter, limits.largest_volume)
        # Classes to be read again, with the seconds over which their jobs are then spread.
        self._stale: dict[ClassRef, float] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        # A namespace's is there for as long as a job holds it or waits for it.
        self._namespace_slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        cluster.on_class_change(self._class_changed)

    async def run(self) -> None:
        """Start what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                while self._stale:
                    self._spawn(self._read_class(*self._stale.popitem()))
                for job in [job for job in self._table.jobs.values() if job.due <= loop.time()]:
                    self._start(job)
                next_due = min((job.due for job in self._table.jobs.values()), default=float("inf"))
                try:
                    async with asyncio.timeout_at(min(next_due, loop.time() + 3600)):
                        await self._wake.wait()
                except TimeoutError:
                    pass  # something is due
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._runs.close()

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """If anything is new, run the jobs of the class and wait for them, but not for long."""
        due = self._table.publish(record, provider_class, changed)
        if not self._cluster.is_current(provider_class):  # it changed while the volume was published
            self._class_changed(provider_class.class_ref)
        tasks = [self._start(job) for job in due]
        if tasks:
            await self._reporter.excess(provider_class, record.pod, self._table.most_of_class)
            await asyncio.wait(tasks, timeout=self._limits.first)

    def recorded(self, target_path: str) -> None:
        """Jobs that had to do without the volume's pod status run again."""
        member = self._table.members.get(target_path)
        if member is not None:
            for job in self._table.of_class(member.class_ref):
                if job.lacks_owner:
                    self._start(job)

    def restored(self, records: Iterable[VolumeRecord]) -> None:
        """Volumes that exist since before this driver's start."""
        for record in records:
            if record.class_ref.name and record.target_path not in self._table.members:
                self._table.members[record.target_path] = Member.of(record)
                self._stale[record.class_ref] = RESTART_SPREAD
        self._wake.set()

    def forget(self, target_path: str) -> None:
        """The volume is gone."""
        self._table.forget(target_path)

    def snapshot(self) -> tuple[Sequence[SyncedSecret], int]:
        """The Secrets of all classes in use, and their number."""
        return self._table.snapshot(), len(self._table.jobs)

    def _class_changed(self, class_ref: ClassRef) -> None:
        if self._table.uses(class_ref):
            self._stale[class_ref] = 0.0
            self._wake.set()

    async def _read_class(self, class_ref: ClassRef, spread: float) -> None:
        """Steps 4 and 5. A class that was deleted has nothing to sync any more; its Secrets stay with their owners."""
        loop = asyncio.get_running_loop()
        # By then the watch is open, too: what is read before it is read once more when it opens.
        wait = random.uniform(0.0, spread)
        await asyncio.sleep(wait)
        if not self._table.uses(class_ref):
            return
        try:
            provider_class = await self._cluster.get_class(class_ref)
        except NotFound:
            provider_class = ProviderClass(class_ref, "", {})
        except Failure as failure:
            log.warning("A class cannot be read for its secretObjects", secretProviderClass=class_ref, err=failure)
            loop.call_later(_jittered(CLASS_SECONDS), self._class_changed, class_ref)
            return
        if self._table.uses(class_ref):
            for job in self._table.plan(provider_class):
                job.due = loop.time() + random.uniform(0.0, spread - wait)
            self._wake.set()
            await self._reporter.excess(provider_class, self._table.user_of(class_ref).pod, self._table.most_of_class)

    def _start(self, job: Job) -> asyncio.Task[None]:
        """Run a job now, or once more if it is running."""
        job.due = float("inf")
        if job.task is not None and not job.task.done():
            job.again = True
            return job.task
        job.task = self._spawn(self._run_job(job))
        return job.task

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("Syncing a Secret ended with a bug", exc=bug)

    async def _run_job(self, job: Job) -> None:
        wait = BACKOFF_LAST  # after a bug
        namespace_slots = self._namespace_slots.setdefault(
            job.class_ref.namespace, asyncio.Semaphore(AT_ONCE_IN_NAMESPACE)
        )
        try:
            while True:
                job.again = False
                async with namespace_slots, self._slots:
                    wait = await self._runs.run(job)
                if not job.again:
                    break
        finally:
            job.due = asyncio.get_running_loop().time() + _jittered(wait)
            self._wake.set()


def _jittered(seconds: float) -> float:
    """The time ± 10 %, so that jobs that started together drift apart."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)
