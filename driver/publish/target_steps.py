"""The steps of a publish at the target path; their order and numbers are those of ``publisher``. They raise Failures
that have their ``error_type``."""

from collections.abc import Mapping
from typing import Any

from driver.config import DriverConfig
from driver.objects.volume_details import VolumeDetails
from driver.providers.wire import MountReply
from driver.publish.failures import failed_mount, failed_step, non_final
from driver.publish.reporting import Content
from driver.publish.request import Attempt
from driver.registry import Volume
from driver.volume import operations
from driver.volume.failures import os_errors_as
from driver.volume.memory import MemoryBudget, size_of
from driver.volume.payload import Tree
from driver.volume.target import Target
from driver.volume.workers import DiskWorkers
from runtime import clock, logs
from runtime.errors import Aborted, Failure, Internal

log = logs.get(__name__)


class TargetSteps:
    """Steps 3, 5, 7 and 9."""

    def __init__(self, config: DriverConfig, disk: DiskWorkers, memory: MemoryBudget, noswap: bool) -> None:
        self._volume_size, self._volume_inodes = config.volume_size, config.volume_inodes
        self._noswap, self._noexec = noswap, config.tmpfs_noexec
        self._memory = memory
        self._disk = disk

    async def inspect(self, attempt: Attempt) -> operations.Found:
        """Step 3."""
        try:
            return await self._disk.run(_inspect, attempt.request.target)
        except Internal as failure:  # something may be mounted there, so the code must not be final
            raise Aborted(str(failure), "FailedToEnsureMountPoint") from None
        except Exception as error:
            raise failed_step(error, "FailedToEnsureMountPoint") from None

    async def mount(self, attempt: Attempt, found: operations.Found) -> None:
        """Step 5; a tmpfs that an earlier attempt left there is used again."""
        path = attempt.request.target.path
        if found.foreign_mount:
            raise Aborted(f"target path {path} is a mount that is not a tmpfs: unmount it on the node", "FailedToMount")
        if found.mounted:
            return
        details = Volume(attempt.request.target, attempt.request.pod, attempt.request.class_ref).details.encode()
        try:
            await self._disk.run(
                operations.prepare,
                path,
                self._volume_size,
                self._noswap,
                details,
                self._volume_inodes,
                self._noexec,
            )
        except Exception as error:
            raise failed_step(error, "FailedToMount") from None

    async def commit(
        self, attempt: Attempt, reply: MountReply, details: VolumeDetails, fetched_at: float | None = None
    ) -> bool:
        """Step 7; returns whether the content changed. ``details`` become the volume's record. ``fetched_at`` is the
        moment at which content was fetched that is not of just now."""
        request = attempt.request
        fetched = None if fetched_at is None else clock.wall_time(fetched_at)
        try:
            run = self._disk.run_long if reply.large else self._disk.run
            return await run(
                _commit, self._memory, request.target.path, reply.payload, request.group, details.encode(), fetched
            )
        except Exception as error:
            raise failed_mount(error, "FileWriteError", request.pod) from None

    async def content_since(self, attempt: Attempt, found: operations.Found) -> Content:
        """What a refresh that failed, maybe in the middle of step 7, has made of the content that step 3 found."""
        if found.foreign_entries:
            return Content.UNKNOWN
        try:
            now = await self._disk.run(operations.inspect, attempt.request.target.path)
        except Failure:
            return Content.UNKNOWN
        return Content.OLD if now.content == found.content else Content.NEW

    async def write_record(self, volume: Volume) -> None:
        """Write what is known of the volume into it; a failure is logged."""
        await self._disk.run(operations.write_record, volume.target.path, volume.details.encode())

    async def clear_uncommitted(self, attempt: Attempt, failure: Failure) -> Failure:
        """Step 9; returns the failure to answer."""
        path = attempt.request.target.path
        reason = await self._disk.run(operations.clear_uncommitted, path)
        if not reason:
            return failure
        log.warning("After a failed publish something stays mounted", target=path, reason=reason, err=failure)
        return non_final(failure, reason)


def _inspect(target: Target) -> operations.Found:
    with os_errors_as(f"failed to check target path {target.path}"):
        target.check_disk()
    return operations.inspect(target.path)


def _commit(
    memory: MemoryBudget,
    path: str,
    payload: Tree,
    group: int | None,
    details: Mapping[str, Any],
    fetched: float | None,
) -> bool:
    with memory.reserve(size_of(payload)):
        return operations.commit(path, payload, group, details, fetched)
