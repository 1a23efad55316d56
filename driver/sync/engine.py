"""Keeps Secrets as their classes want them, by jobs with a schedule of their own: rotation is off by default.

1. A volume's first publish, and one that changed files, run the jobs of its class at once; the publish waits for
   them, for FIRST_SECONDS at most.
2. After success a job runs again in 5 minutes ± 10 %: one GET, and a write only on drift. So a Secret that was deleted
   by hand comes back. That the cluster does not let the driver add an owner is an event, and no failure.
3. After a failure it runs again after 2 s, 4 s … 5 minutes ± 10 %, and the pod gets a Warning event; other jobs go on.
   While the API server is away a job waits inside its run for RUN_SECONDS, and is retried soon after.
4. When a class changes, it is read again and its jobs run at once.
5. After a restart of the driver the classes of the restored volumes are read and their jobs run, spread over a few
   seconds: the drivers of all nodes may have restarted.
6. The jobs of a class end with its last volume. The Secret is garbage-collected with its last owner; with the deletion
   policy WithClass the class is one of them. If such an entry is removed from the class, or changes its policy, while
   a volume of the class is on the node, the class is taken from the owners.

A run builds the Secret from the files of a volume, and lets the writer do the API calls.
"""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from driver import limits
from driver.limits import MAX_SECRET_OBJECTS
from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Cluster, Pod, PodEvent, ProviderClass, SyncedSecret, VolumeRecord
from driver.sync import wanted
from driver.sync.jobs import Job, Member, Table
from driver.sync.merge import Outcome
from driver.sync.owners import Owners, PodsGone
from driver.sync.parser.client import Parser
from driver.sync.references import Owner
from driver.sync.wanted import NoContent, Wanted
from driver.volume.workers import TENANT, DiskWorkers
from runtime import clock, logs, redact
from runtime.errors import Failure, NotFound

log = logs.get(__name__)

FIRST_SECONDS = 1.5
RUN_SECONDS = 30.0
RESTART_SPREAD = 10.0
CHECK_SECONDS, JITTER = 300.0, 0.1
BACKOFF_FIRST, BACKOFF_LAST = 2.0, 300.0
# Retry after a class that could not be read, for example because a permission was missing.
CLASS_SECONDS = 30.0
# Retry after an API server that did not answer, and after a volume without content.
AWAY_SECONDS = 10.0
# The jobs that run at a time, and those of one namespace: a class with thousands of secretObjects delays no other's.
AT_ONCE, AT_ONCE_IN_NAMESPACE = 8, 4
FAILED, SYNCED, TAKEN, ADOPTED = "FailedToCreateSecret", "SyncedSecret", "SecretKeyTaken", "SecretAdopted"
OWNER_REFUSED, REPEATED = "SecretOwnerRefused", "RepeatedInClass"


class Writer(Protocol):
    """Does the API calls."""

    async def owners(self, pod: Pod, target_path: str) -> Sequence[Owner] | None:
        """Who owns the Secret on behalf of a pod; None if the pod is gone."""

    async def ensure(self, wanted: Wanted, owners: Owners) -> Outcome:
        """Make the Secret what it should be. Raises a Failure that says what to do, or PodsGone."""

    async def release(self, class_ref: ClassRef, secret_name: str, owners: Owners) -> None:
        """The class does not list the Secret any more: take it from the Secret's owners. Raises as ``ensure``."""


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
        self._writer = writer
        self._disk = disk
        self._metrics = metrics
        self._limits = limits
        self._parser = Parser()
        self._table = Table(most_of_class=limits.of_class)
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
            await self._parser.close()

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """If anything is new, run the jobs of the class and wait for them, but not for long."""
        due = self._table.publish(record, provider_class, changed)
        if not self._cluster.is_current(provider_class):  # it changed while the volume was published
            self._class_changed(provider_class.class_ref)
        tasks = [self._start(job) for job in due]
        if tasks:
            await self._report_excess(provider_class, record.pod)
            await asyncio.wait(tasks, timeout=self._limits.first)

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
            await self._report_excess(provider_class, self._table.user_of(class_ref).pod)

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
                    wait = await self._attempt(job)
                if not job.again:
                    break
        finally:
            job.due = asyncio.get_running_loop().time() + _jittered(wait)
            self._wake.set()

    async def _attempt(self, job: Job) -> float:
        """One run; returns in how many seconds the next one is due."""
        members = [item for item in self._table.members.values() if item.class_ref == job.class_ref and not item.gone]
        if not members:
            return float("inf")
        users = sorted(members, key=lambda item: float("-inf") if item.refreshed_at is None else item.refreshed_at)
        TENANT.set(job.class_ref.namespace)
        with redact.withholding():  # what the Secret gets, which an API server may repeat in its refusal
            return await self._attempt_for(job, users)

    async def _attempt_for(self, job: Job, users: Sequence[Member]) -> float:
        member = users[-1]
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await (self._release(job, users) if job.ending else self._sync(job, users))
        except PodsGone:
            return float("inf")  # until the next publish
        except NoContent:  # no event: the volume is being unpublished
            return AWAY_SECONDS
        except TimeoutError:  # no event: it could not be sent either
            log.warning(
                "The API server does not answer; a Secret is synced later",
                secret=job.secret_name,
                secretProviderClass=job.class_ref,
            )
            job.problem = "the API server does not answer"
            return AWAY_SECONDS
        except Failure as failure:
            job.failures += 1
            job.problem = redact.text(failure)
            self._metrics.sync_failed(job.provider)
            await self._event(member, True, FAILED, job.problem, job.secret_name)
        else:
            job.synced, job.problem = clock.now(), ""
            if job.failures:
                job.failures = 0
                await self._event(member, False, SYNCED, f"Secret {job.secret_name} is synced again", job.secret_name)
            return CHECK_SECONDS
        return min(BACKOFF_FIRST * 2.0 ** min(job.failures - 1, 16), BACKOFF_LAST)

    async def _sync(self, job: Job, users: Sequence[Member]) -> None:
        started = time.monotonic()
        member = users[-1]
        limit = self._limits.largest_volume
        entry = job.entries[-1]
        as_stored = await self._disk.run(
            wanted.build, job.class_ref, entry, member.target_path, limit, member.refreshed_at
        )
        as_stored = replace(as_stored, class_uid=job.class_uid if entry.stays else "")
        redact.withhold(*as_stored.data.values())
        whole = await wanted.with_objects(as_stored, entry, self._parser)
        secret = await wanted.with_tls(whole, entry, self._parser)
        if secret is not as_stored:
            redact.withhold(*secret.data.values())
        outcome = await self._writer.ensure(secret, Owners(users, self._writer.owners))
        if outcome.written:
            self._metrics.synced(job.provider, time.monotonic() - started)
            log.info(
                "Synced a Secret",
                secret=f"{job.class_ref.namespace}/{job.secret_name}",
                secretProviderClass=job.class_ref,
            )
        await self._report(member, secret, outcome)
        await self._report_repetition(job, member, secret)

    async def _release(self, job: Job, users: Sequence[Member]) -> None:
        await self._writer.release(job.class_ref, job.secret_name, Owners(users, self._writer.owners))
        self._table.end(job)

    async def _report_excess(self, provider_class: ProviderClass, pod: Pod) -> None:
        """An event about Secrets of a class that are left out."""
        asked = len({entry.secret_name.strip() for entry in provider_class.secret_objects})
        if asked > self._limits.of_class:
            class_ref = provider_class.class_ref
            message = (
                f"SecretProviderClass {class_ref} asks for {asked} Secrets; the first {self._limits.of_class} are "
                "synced (--max-secret-objects): divide them among several classes"
            )
            await self._cluster.event(PodEvent(pod, True, FAILED, message, class_ref.name))

    async def _report(self, member: Member, secret: Wanted, outcome: Outcome) -> None:
        """Events about a Secret that others write, too, or that did not get all of its owners."""
        if outcome.adopted:
            message = (
                f"Secret {secret.name} was there before; the keys {', '.join(sorted(secret.data))} are written to it, "
                "the rest of it is kept, and it is not deleted with its pods unless it had an owner"
            )
            await self._event(member, False, ADOPTED, message, secret.name)
        for key, holder in outcome.taken:
            message = (
                f"key {key} of Secret {secret.name} was written by SecretProviderClass {holder} and is now written by "
                f"{secret.class_name}; if both are in use give each another key or secretName"
            )
            await self._event(member, True, TAKEN, message, f"{secret.name}/{key}")

        if outcome.owners_refused:
            await self._event(member, True, OWNER_REFUSED, outcome.owners_refused, secret.name)

    async def _report_repetition(self, job: Job, member: Member, secret: Wanted) -> None:
        """An event, once, about an entry or a key that is there twice: the last one counts, as with the Go driver."""
        sentences = []
        if len(job.entries) > 1:
            sentences.append(
                f"{len(job.entries)} entries of spec.secretObjects name Secret {secret.name}: the last counts"
            )
        if secret.repeated:
            keys = ", ".join(secret.repeated[: limits.SHOWN_OBJECTS])
            sentences.append(f"the entry for Secret {secret.name} lists twice, and the last counts: {keys}")
        sentence = "; ".join(sentences)
        if sentence and sentence != job.reported:
            message = f"SecretProviderClass {job.class_ref}: {sentence}. Remove what is not wanted"
            await self._event(member, True, REPEATED, message, job.secret_name)
        job.reported = sentence

    async def _event(self, member: Member, warning: bool, reason: str, message: str, subject: str) -> None:
        await self._cluster.event(PodEvent(member.pod, warning, reason, message, subject))


def _jittered(seconds: float) -> float:
    """The time ± 10 %, so that jobs that started together drift apart."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)
