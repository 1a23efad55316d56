"""One run of a job: builds the Secret from the files of a volume, lets the writer do the API calls, and says when the
next run is due (steps 2, 3 and 6 of ``driver.sync.engine``)."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Pod
from driver.sync import wanted
from driver.sync.jobs import Job, Member, Table
from driver.sync.merge import Outcome
from driver.sync.owners import NoOwnerYet, Owners, PodsGone
from driver.sync.parser.client import Parser
from driver.sync.references import Owner
from driver.sync.reporting import Reporter
from driver.sync.wanted import NoContent, Wanted
from driver.volume.workers import TENANT, DiskWorkers
from runtime import clock, logs, redact
from runtime.errors import Failure

log = logs.get(__name__)

RUN_SECONDS = 30.0
CHECK_SECONDS = 300.0
BACKOFF_FIRST, BACKOFF_LAST = 2.0, 300.0
# Retry after an API server that did not answer, after a volume without content, and without all owners.
AWAY_SECONDS = 10.0


class Writer(Protocol):
    """Does the API calls."""

    async def owners(self, pod: Pod, target_path: str) -> Sequence[Owner] | None:
        """Who owns the Secret on behalf of a pod; None if the pod is gone, empty if its owner does not exist yet.
        Raises OwnerRefused if it cannot be written, or another Failure."""

    async def ensure(self, wanted: Wanted, owners: Owners) -> Outcome:
        """Make the Secret what it should be. Raises a Failure that says what to do, PodsGone or NoOwnerYet."""

    async def release(self, class_ref: ClassRef, secret_name: str, owners: Owners) -> None:
        """The class does not list the Secret any more: take it from the Secret's owners. Raises as ``ensure``."""


class Runs:
    """Runs the jobs of a table; ``largest_volume`` is the largest volume that is read, in bytes."""

    def __init__(
        self,
        table: Table,
        writer: Writer,
        disk: DiskWorkers,
        metrics: DriverMetrics,
        reporter: Reporter,
        largest_volume: int,
    ) -> None:
        self._table = table
        self._writer = writer
        self._disk = disk
        self._metrics = metrics
        self._reporter = reporter
        self._largest_volume = largest_volume
        self._parser = Parser()

    async def close(self) -> None:
        """End the process that parses; call it when no job runs any more."""
        await self._parser.close()

    async def run(self, job: Job) -> float:
        """Do what the job is for; returns in how many seconds the next run is due, not yet jittered."""
        members = [item for item in self._table.members.values() if item.class_ref == job.class_ref and not item.gone]
        if not members:
            return float("inf")
        users = sorted(members, key=lambda item: float("-inf") if item.refreshed_at is None else item.refreshed_at)
        TENANT.set(job.class_ref.namespace)
        with redact.withholding():  # what the Secret gets, which an API server may repeat in its refusal
            return await self._run_for(job, users)

    async def _run_for(self, job: Job, users: Sequence[Member]) -> float:
        member, owners = users[-1], Owners(users, self._writer.owners)
        job.lacks_owner = False
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await (self._release(job, owners) if job.ending else self._sync(job, users, owners))
        except PodsGone:
            return float("inf")  # until the next publish
        except NoOwnerYet:  # no event: the publish says why the pod status is not written
            job.lacks_owner, job.problem = True, "the pod status that is to own it is not written yet"
            return AWAY_SECONDS
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
            await self._reporter.failed(member, job)
        else:
            job.synced, job.problem, job.lacks_owner = clock.now(), "", not owners.complete
            if job.failures:
                job.failures = 0
                await self._reporter.recovered(member, job)
            return AWAY_SECONDS if job.lacks_owner else CHECK_SECONDS
        return min(BACKOFF_FIRST * 2.0 ** min(job.failures - 1, 16), BACKOFF_LAST)

    async def _sync(self, job: Job, users: Sequence[Member], owners: Owners) -> None:
        started = time.monotonic()
        member = users[-1]
        entry = job.entries[-1]
        as_stored = await self._disk.run(
            wanted.build, job.class_ref, entry, member.target_path, self._largest_volume, member.refreshed_at
        )
        as_stored = replace(as_stored, class_uid=job.class_uid if entry.stays else "")
        redact.withhold(*as_stored.data.values())
        whole = await wanted.with_objects(as_stored, entry, self._parser)
        secret = await wanted.with_tls(whole, entry, self._parser)
        if secret is not as_stored:
            redact.withhold(*secret.data.values())
        outcome = await self._writer.ensure(secret, owners)
        if outcome.written:
            self._metrics.synced(job.provider, time.monotonic() - started)
            log.info(
                "Synced a Secret",
                secret=f"{job.class_ref.namespace}/{job.secret_name}",
                secretProviderClass=job.class_ref,
            )
        await self._reporter.ensured(member, secret, outcome)
        await self._reporter.repeated(job, member, secret)

    async def _release(self, job: Job, owners: Owners) -> None:
        await self._writer.release(job.class_ref, job.secret_name, owners)
        self._table.end(job)
