"""The queue that keeps Secrets as their classes want them; independent of republish, which is off by default.

1. A volume's first publish, and one that changed files, run the jobs of its class at once; the publish waits for
   them, for FIRST_SECONDS at most.
2. After success a job runs again in 5 minutes ± 10 %: one GET, and a write only on drift. So a Secret that was deleted
   by hand comes back.
3. After a failure it runs again after 2 s, 4 s … 5 minutes ± 10 %, and the pod gets a Warning event; other jobs go on.
   While the API server is away a job waits inside its run for RUN_SECONDS, and again soon after.
4. A changed class is read again, and its jobs run at once.
5. After a restart of the driver the volumes that are known again get a job each, within a few seconds with jitter.
6. The last volume gone, the jobs go; the Secret goes when its last owner does, by garbage collection.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Cluster, Pod, PodEvent, ProviderClass, SecretObject, VolumeRecord
from driver.sync import jobs, wanted
from driver.sync.jobs import Job, Member
from driver.sync.wanted import NoContent, Wanted
from driver.volume.workers import DiskWorkers
from runtime import logs, redact
from runtime.errors import Failure, NotFound, PreconditionFailed

log = logs.get(__name__)

FIRST_SECONDS = 1.5
RUN_SECONDS = 30.0
RESTART_SPREAD = 10.0
AT_ONCE = 8
FAILED, SYNCED, TAKEN, ADOPTED = "FailedToCreateSecret", "SyncedSecret", "SecretKeyTaken", "SecretAdopted"


class _Gone(Failure):
    """Nobody waits for the Secret any more."""


class Outcome(Protocol):
    """What a writer did: anything at all; whether the Secret was somebody else's; keys that were another class's."""

    @property
    def written(self) -> bool: ...
    @property
    def adopted(self) -> bool: ...
    @property
    def taken(self) -> Sequence[tuple[str, str]]: ...


class Writer(Protocol):
    """Does the API calls."""

    async def ensure(self, wanted: Wanted, owners: Awaitable[Sequence[Any]]) -> Outcome:
        """Make the Secret what it should be. Raises a Failure that says what to do."""

    async def owners(self, pod: Pod, target_path: str) -> Sequence[Any] | None:
        """Who owns the Secret on behalf of a pod; None if the pod is gone."""


@dataclass(frozen=True)
class Limits:
    """Times in seconds, and the largest volume that is read, in bytes."""

    largest_volume: int
    check: float = jobs.CHECK_SECONDS
    restart_spread: float = RESTART_SPREAD
    first: float = FIRST_SECONDS


class SyncEngine:
    """Answers ``ports.SecretSync`` where there is an API server."""

    def __init__(
        self, cluster: Cluster, writer: Writer, disk: DiskWorkers, metrics: DriverMetrics, limits: Limits
    ) -> None:
        self._cluster = cluster
        self._writer = writer
        self._disk = disk
        self._metrics = metrics
        self._limits = limits
        self._table = jobs.Table()
        self._classes: dict[ClassRef, ProviderClass] = {}
        self._stale: set[ClassRef] = set()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        cluster.on_class_change(self._class_changed)

    async def run(self) -> None:
        """Start what is due, for ever."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                for class_ref in list(self._stale):
                    self._stale.discard(class_ref)
                    self._spawn(self._read_class(class_ref))
                for job in [job for job in self._table.jobs.values() if job.due <= loop.time()]:
                    self._start(job)
                try:
                    async with asyncio.timeout_at(min(self._table.next_due(), loop.time() + 3600)):
                        await self._wake.wait()
                except TimeoutError:
                    pass  # something is due
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """Run the jobs of the volume's class, and wait a little for them, if there is anything new."""
        former = self._table.members.get(record.target_path)
        member = jobs.Member.of(record, provider_class.provider)
        if former is not None and former.pod == member.pod and not former.gone:
            member.owners = former.owners
        self._table.members[record.target_path] = member
        if self._classes.get(provider_class.class_ref) != provider_class:
            # The class may have changed again while the volume was published: a look at what is remembered.
            self._stale.add(provider_class.class_ref)
            self._wake.set()
        replanned = self._plan(provider_class)
        if former is None or changed:  # noqa: SIM108
            due = self._table.of_class(provider_class.class_ref)
        else:
            due = replanned
        tasks = [self._start(job) for job in due]
        if tasks:
            await asyncio.wait(tasks, timeout=self._limits.first)

    def restored(self, records: Iterable[VolumeRecord]) -> None:
        """Volumes that were there before this driver."""
        for record in records:
            if record.class_ref.name and record.target_path not in self._table.members:
                self._table.members[record.target_path] = jobs.Member.of(record, "")
                self._stale.add(record.class_ref)
        self._wake.set()

    def forget(self, target_path: str) -> None:
        """The volume is gone; with the last one of its class the jobs go."""
        member = self._table.members.pop(target_path, None)
        if member is not None and not self._table.uses(member.class_ref):
            self._classes.pop(member.class_ref, None)
            for job in self._table.of_class(member.class_ref):
                del self._table.jobs[job.class_ref, job.secret_name]

    def _class_changed(self, class_ref: ClassRef) -> None:
        if self._table.uses(class_ref):
            self._stale.add(class_ref)
            self._wake.set()

    async def _read_class(self, class_ref: ClassRef) -> None:
        """Step 4 and 5. A class that was deleted has nothing to sync any more; its Secrets stay with their owners."""
        try:
            fresh = await self._cluster.get_class(class_ref)
        except NotFound:
            fresh = ProviderClass(class_ref, "", {})
        except Failure as failure:
            log.warning("A class cannot be read for its secretObjects", secretProviderClass=class_ref, err=failure)
            asyncio.get_running_loop().call_later(jobs.jittered(jobs.BACKOFF_LAST), self._class_changed, class_ref)
            return
        if not self._table.uses(class_ref):
            return
        first = class_ref not in self._classes
        for job in self._plan(fresh):
            spread = self._limits.restart_spread if first else 0.0
            job.due = asyncio.get_running_loop().time() + random.uniform(0.0, spread)
        self._wake.set()

    def _plan(self, provider_class: ProviderClass) -> list[Job]:
        """One job for each Secret that the class wants; those whose entry is new or changed."""
        class_ref = provider_class.class_ref
        former = self._classes.get(class_ref)
        self._classes[class_ref] = provider_class
        names = {item.secret_name.strip() for item in provider_class.secret_objects}
        for job in self._table.of_class(class_ref):
            if job.secret_name not in names:
                del self._table.jobs[class_ref, job.secret_name]
        same = former is not None and former.secret_objects == provider_class.secret_objects
        return [
            self._table.jobs.setdefault((class_ref, name), Job(class_ref, name))
            for name in sorted(names)
            if not (same and (class_ref, name) in self._table.jobs)
        ]

    def _start(self, job: Job) -> asyncio.Task[None]:
        """Run a job now; one that is running runs once more."""
        job.due = float("inf")
        if job.task is not None and not job.task.done():
            job.again = True
            return job.task
        job.task = self._spawn(self._run_job(job))
        return job.task

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("Syncing a Secret ended with a bug", exc=bug)

    async def _run_job(self, job: Job) -> None:
        wait = jobs.BACKOFF_LAST  # after a bug
        try:
            while True:
                job.again = False
                async with self._slots:
                    wait = await self._attempt(job)
                if not job.again:
                    break
        finally:
            job.due = asyncio.get_running_loop().time() + jobs.jittered(wait)
            self._wake.set()

    async def _attempt(self, job: Job) -> float:
        """One run; in how many seconds the next is due."""
        users = self._table.users(job.class_ref)
        provider_class = self._classes.get(job.class_ref)
        if not users or provider_class is None:
            return float("inf")
        member = users[-1]
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await self._sync(job, provider_class, users)
        except _Gone:
            return float("inf")  # until the next publish; an ownerless Secret would stay for ever
        except NoContent:  # no event: its pod is going
            return jobs.AWAY_SECONDS
        except TimeoutError:  # no event: it could not be sent either
            log.warning(
                "The API server does not answer; a Secret is synced later",
                secret=job.secret_name,
                secretProviderClass=job.class_ref,
            )
            return jobs.AWAY_SECONDS
        except Failure as failure:
            await self._failed(job, member, failure)
        else:
            if job.failures:
                job.failures = 0
                await self._tell(member, False, SYNCED, f"Secret {job.secret_name} is synced again", job.secret_name)
            return self._limits.check
        return min(jobs.BACKOFF_FIRST * 2.0 ** min(job.failures - 1, 16), jobs.BACKOFF_LAST)

    async def _sync(self, job: Job, provider_class: ProviderClass, users: list[Member]) -> None:
        started = time.monotonic()
        member = users[-1]
        item = _entry(provider_class, job.secret_name)
        secret = await self._disk.run(
            wanted.build,
            provider_class.class_ref,
            item,
            member.target_path,
            self._limits.largest_volume,
            member.last_refresh,
        )
        outcome = await self._writer.ensure(secret, self._owners(users))
        if outcome.written:
            self._metrics.synced(provider_class.provider, time.monotonic() - started)
            log.info("Synced a Secret", secret=str(secret), secretProviderClass=provider_class.class_ref)
        if outcome.adopted:
            await self._tell(
                member,
                False,
                ADOPTED,
                (
                    f"Secret {secret.name} was there before; the keys {', '.join(sorted(secret.data))} are written to it, "  # noqa: E501
                    "the rest of it is kept, and it is not deleted with its pods unless it had an owner"
                ),
                secret.name,
            )
        for key, holder in outcome.taken:
            await self._tell(
                member,
                True,
                TAKEN,
                (
                    f"key {key} of Secret {secret.name} was written by SecretProviderClass {holder} and is now written by "  # noqa: E501
                    f"{secret.class_name}; if both are in use give each another key or secretName"
                ),
                f"{secret.name}/{key}",
            )

    async def _owners(self, users: Sequence[Member]) -> Sequence[Any]:
        """The owners of all pods that use the class; each pod is read once."""
        unread = [member for member in users if member.owners is None]
        found = await asyncio.gather(*(self._writer.owners(member.pod, member.target_path) for member in unread))
        for member, owners in zip(unread, found):  # noqa: B905
            member.owners, member.gone = owners or (), owners is None
        owned_by = [owner for member in users for owner in member.owners or ()]
        if not owned_by:
            raise _Gone("the pods are gone")
        return owned_by

    async def _failed(self, job: Job, member: Member, failure: Failure) -> None:
        job.failures += 1
        await self._tell(member, True, FAILED, redact.text(failure), job.secret_name)

    async def _tell(self, member: Member, warning: bool, reason: str, message: str, subject: str) -> None:
        await self._cluster.event(PodEvent(member.pod, warning, reason, message, subject))


def _entry(provider_class: ProviderClass, secret_name: str) -> SecretObject:
    """The class's one entry for a Secret."""
    found = [item for item in provider_class.secret_objects if item.secret_name.strip() == secret_name]
    if len(found) > 1:
        raise PreconditionFailed(
            f"failed to get data in spc {provider_class.class_ref} for secret {secret_name}, err: "
            "spec.secretObjects names it more than once: list all its data in one entry"
        )
    return found[0]
