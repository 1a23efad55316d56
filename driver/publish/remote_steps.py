"""The steps of a publish that ask the API server and the provider; their order and numbers are those of ``publisher``.
They raise Failures that have their ``error_type``."""

import asyncio

from driver.config import DriverConfig
from driver.ports import Cluster, ProviderClass, SecretSync, VolumeRecord
from driver.providers import wire
from driver.providers.pool import ProviderPool
from driver.publish import attributes, schedule
from driver.publish.failures import counted_as, failed_to_mount, prefixed, time_limit
from driver.publish.reporting import Reporter
from driver.publish.request import Attempt
from driver.registry import Volume
from runtime.errors import Failure, NotFound, PreconditionFailed, Unavailable


class RemoteSteps:
    """Steps 4, 6 and 8."""

    def __init__(
        self, config: DriverConfig, cluster: Cluster, sync: SecretSync, providers: ProviderPool, reporter: Reporter
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._sync = sync
        self._providers = providers
        self._reporter = reporter

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

    async def fetch(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass) -> wire.MountReply:
        """Step 6."""
        request = attempt.request
        with counted_as("FailedToMount"):
            merged = attributes.merge(request, provider_class, pod_overrides=self._config.volume_attributes_override)
            if merged.dropped:
                await self._reporter.reserved_parameters(request.pod, request.class_ref, merged.dropped)
        volume.fingerprint = provider_class.fingerprint
        with counted_as("GRPCProviderError"), prefixed(failed_to_mount(request.pod)):
            return await self._providers.mount(
                provider_class.provider,
                wire.mount_request(
                    merged.attributes, merged.secrets, request.target.path, attributes.PERMISSION, volume.objects
                ),
                attempt.deadline,
                readable_by_group=request.group is not None,
            )

    async def record(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass, changed: bool) -> None:
        """Step 8: the pod status and the Secrets, concurrently. ``changed`` is whether the content or its versions
        did."""
        syncing = asyncio.create_task(self._sync.published(volume.record, provider_class, changed))
        try:
            await self._write_status(volume.record, attempt.deadline)
            volume.recorded = True
        finally:
            await syncing

    async def _write_status(self, record: VolumeRecord, deadline: float) -> None:
        sentence = f"failed to create secret provider class pod status for pod {record.pod}, err: "
        try:
            async with time_limit(deadline, "the API server does not answer"):
                await self._cluster.record(record)
        except Failure as failure:
            # Whatever it was: the content is committed, so the code must not be final.
            raise Unavailable(sentence + str(failure)) from None
