"""The steps of a publish that ask the disk, the class, the provider and the cluster. ``publisher`` calls them in order
and handles their failures; the numbers are those of its list. Each raises a Failure that has its ``error_type``."""

import asyncio
import time
from dataclasses import dataclass

from driver.config import DriverConfig
from driver.ports import Cluster, ProviderClass, SecretSync, VolumeRecord
from driver.providers import wire
from driver.providers.pool import ProviderPool
from driver.publish import attributes, schedule
from driver.publish.failures import counted_as, prefixed, time_limit
from driver.publish.reporting import Reporter
from driver.publish.request import PublishRequest
from driver.registry import Volume
from driver.volume import operations
from driver.volume.failures import os_errors_as
from driver.volume.target import Target
from driver.volume.workers import DiskWorkers
from runtime.errors import Aborted, Failure, Internal, NotFound, PreconditionFailed, Unavailable


@dataclass
class Attempt:
    """One publish: its request, the event loop time by which it must be answered, and the provider once it is known."""

    request: PublishRequest
    deadline: float
    provider: str = ""


class Steps:
    """Steps 3 to 9, except for their order."""

    def __init__(
        self,
        config: DriverConfig,
        disk: DiskWorkers,
        cluster: Cluster,
        sync: SecretSync,
        providers: ProviderPool,
        reporter: Reporter,
        noswap: bool,
    ) -> None:
        self._config = config
        self._disk = disk
        self._cluster = cluster
        self._sync = sync
        self._providers = providers
        self._reporter = reporter
        self._noswap = noswap

    async def inspect(self, attempt: Attempt) -> operations.Found:
        """Step 3."""
        with counted_as("FailedToEnsureMountPoint"):
            try:
                return await self._disk.run(_inspect, attempt.request.target)
            except Internal as failure:
                raise Aborted(str(failure)) from None  # something may be mounted there, so the code must not be final

    async def find_class(self, attempt: Attempt, deadline: float) -> ProviderClass:
        """Step 4: the class, checked to be usable."""
        ref = attempt.request.class_ref
        not_found = f"failed to get secretproviderclass {ref}"
        with counted_as("SecretProviderClassNotFound"):
            try:
                async with time_limit(deadline, f"{not_found}: the API server does not answer"):
                    provider_class = await self._cluster.get_class(ref)
            except NotFound as error:
                raise NotFound(f"{not_found}, error: {error}") from None
        with counted_as("FailedToMount"):
            if not provider_class.provider:
                raise PreconditionFailed(f"provider not set in {ref}: set spec.provider")
            attempt.provider = provider_class.provider
            if not provider_class.parameters:
                raise PreconditionFailed(f"parameters not set in {ref}: set spec.parameters as the provider wants them")
        return provider_class

    async def rotation_interval(self, attempt: Attempt, provider_class: ProviderClass) -> float:
        """The class's rotation interval in seconds, or that of the flag if the class has none or an invalid one."""
        try:
            return schedule.interval_of(provider_class.annotations, self._config.rotation_poll_interval)
        except ValueError as error:
            await self._reporter.invalid_interval(attempt.request.pod, provider_class.class_ref, str(error))
            return self._config.rotation_poll_interval

    async def mount(self, attempt: Attempt, found: operations.Found) -> None:
        """Step 5; a tmpfs that an earlier attempt left there is used again."""
        path = attempt.request.target.path
        with counted_as("FailedToMount"):
            if found.foreign_mount:
                raise Aborted(f"target path {path} is a mount that is not a tmpfs: unmount it on the node")
            if not found.mounted:
                await self._disk.run(operations.prepare, path, self._config.volume_size, self._noswap)

    async def fetch(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass) -> wire.MountReply:
        """Step 6."""
        request = attempt.request
        with counted_as("FailedToMount"):
            merged = attributes.merge(request, provider_class, pod_overrides=self._config.volume_attributes_override)
            if merged.dropped:
                await self._reporter.reserved_parameters(request.pod, request.class_ref, merged.dropped)
        volume.fingerprint = provider_class.fingerprint
        with counted_as("GRPCProviderError"), prefixed(_failed_to_mount(request)):
            return await self._providers.mount(
                provider_class.provider,
                wire.mount_request(
                    merged.attributes, merged.secrets, request.target.path, attributes.PERMISSION, volume.objects
                ),
                attempt.deadline,
                readable_by_group=request.group is not None,
            )

    async def commit(self, attempt: Attempt, volume: Volume, reply: wire.MountReply) -> bool:
        """Step 7; returns whether the content or its versions changed."""
        request = attempt.request
        with counted_as("FileWriteError"), prefixed(_failed_to_mount(request)):
            changed = await self._disk.run(operations.commit, request.target.path, reply.payload, request.group)
        changed = changed or dict(reply.objects) != dict(volume.objects)
        volume.provider, volume.objects, volume.last_refresh = attempt.provider, reply.objects, time.time()
        volume.failure, volume.retry_at = None, 0.0
        return changed

    async def record(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass, changed: bool) -> None:
        """Step 8: the pod status and the Secrets, concurrently."""
        syncing = asyncio.create_task(self._sync.published(volume.record, provider_class, changed))
        try:
            await self._write_status(volume.record, attempt.deadline)
            volume.recorded = True
        finally:
            await syncing

    async def clear_uncommitted(self, attempt: Attempt) -> str:
        """Step 9; returns why something stays mounted, or an empty string."""
        return await self._disk.run(operations.clear_uncommitted, attempt.request.target.path)

    async def _write_status(self, record: VolumeRecord, deadline: float) -> None:
        sentence = f"failed to create secret provider class pod status for pod {record.pod}, err: "
        try:
            async with time_limit(deadline, "the API server does not answer"):
                await self._cluster.record(record)
        except Failure as failure:
            # Whatever it was: the content is committed, so the code must not be final.
            raise Unavailable(sentence + str(failure)) from None


def _inspect(target: Target) -> operations.Found:
    with os_errors_as(f"failed to check target path {target.path}"):
        target.check_disk()
    return operations.inspect(target.path)


def _failed_to_mount(request: PublishRequest) -> str:
    return f"failed to mount secrets store objects for pod {request.pod}, err: "
