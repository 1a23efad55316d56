"""The steps of a publish that ask the API server and the provider; their order and numbers are those of ``publisher``.
They raise Failures that have their ``error_type``."""

import asyncio
from contextlib import AsyncExitStack

from driver.config import DriverConfig
from driver.ports import Cluster, ProviderClass, SecretSync, VolumeRecord
from driver.providers import wire
from driver.providers.pool import ProviderPool
from driver.publish import attributes, schedule
from driver.publish.composed.compose import add_composed_files
from driver.publish.failures import failed_mount, failed_step
from driver.publish.reporting import Reporter
from driver.publish.request import Attempt
from driver.publish.stopping import CALL_SECONDS, DriverStopping, Stopping
from driver.registry import Volume
from runtime.errors import Failure, NotFound, PreconditionFailed, Unavailable


class RemoteSteps:
    """Steps 4, 6 and 8."""

    def __init__(
        self,
        config: DriverConfig,
        cluster: Cluster,
        sync: SecretSync,
        providers: ProviderPool,
        reporter: Reporter,
        stopping: Stopping,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._sync = sync
        self._providers = providers
        self._reporter = reporter
        self._stopping = stopping

    async def find_class(self, attempt: Attempt, deadline: float) -> ProviderClass:
        """Step 4: the class, checked to be usable."""
        class_ref = attempt.request.class_ref
        try:
            async with self._stopping.interruptible(), asyncio.timeout_at(deadline):
                provider_class = await self._cluster.get_class(class_ref)
        except TimeoutError:
            message = f"failed to get secretproviderclass {class_ref}: the API server does not answer"
            raise Unavailable(message, "SecretProviderClassNotFound") from None
        except NotFound as error:
            message = f"failed to get secretproviderclass {class_ref}, error: {error}"
            raise NotFound(message, "SecretProviderClassNotFound") from None
        except Exception as error:
            raise failed_step(error, "SecretProviderClassNotFound") from None
        if not provider_class.provider:
            raise PreconditionFailed(f"provider not set in {class_ref}: set spec.provider", "FailedToMount")
        attempt.provider = provider_class.provider
        if not provider_class.parameters:
            message = f"parameters not set in {class_ref}: set spec.parameters as the provider wants them"
            raise PreconditionFailed(message, "FailedToMount")
        return provider_class

    async def rotation_interval(self, attempt: Attempt, provider_class: ProviderClass) -> float:
        """The class's rotation interval in seconds, or that of the flag if the class has none or an invalid one."""
        try:
            return schedule.interval_of(provider_class.annotations, self._config.rotation_poll_interval)
        except ValueError as error:
            await self._reporter.invalid_interval(attempt.request.pod, provider_class.class_ref, str(error))
            return self._config.rotation_poll_interval

    async def fetch(
        self, attempt: Attempt, volume: Volume, provider_class: ProviderClass, held: AsyncExitStack
    ) -> wire.MountReply:
        """Step 6. The reply has its place in memory until ``held`` is closed."""
        request = attempt.request
        volume.fingerprint, volume.provider_away = provider_class.fingerprint, False
        try:
            merged = attributes.merge(request, provider_class, pod_overrides=self._config.volume_attributes_override)
            if merged.dropped:
                await self._reporter.reserved_parameters(request.pod, request.class_ref, merged.dropped)
            if request.ignored:
                await self._reporter.reserved_attributes(request.pod, request.target.volume_name, request.ignored)
        except Exception as error:
            raise failed_step(error, "FailedToMount") from None
        provider = provider_class.provider
        try:
            async with self._stopping.interruptible(lambda: CALL_SECONDS * self._providers.is_connected(provider)):
                reply = await self._providers.mount(
                    provider,
                    wire.mount_request(merged.attributes, merged.secrets, request.target.path, attributes.PERMISSION),
                    attempt.deadline,
                    readable_by_group=request.group is not None,
                    subject=str(request.class_ref),
                    held=held,
                )
        except Exception as error:
            volume.provider_away = not self._providers.is_connected(provider)
            raise failed_mount(error, "GRPCProviderError", request.pod) from None
        try:
            return await add_composed_files(
                reply, provider_class.files, self._config.max_volume_entries, self._providers, held
            )
        except Exception as error:
            raise failed_step(error, "FailedToMount") from None

    async def provider_is_back(self, volume: Volume, provider_class: ProviderClass) -> bool:
        """Whether the provider's socket, which did not answer at the last attempt to fetch, answers now."""
        return volume.provider_away and await self._providers.answers(provider_class.provider)

    async def record(
        self, attempt: Attempt, record: VolumeRecord, provider_class: ProviderClass, *, changed: bool
    ) -> str:
        """Step 8: the pod status and the Secrets, concurrently. ``changed`` is whether the content or its versions
        did. Returns the name of the pod status; empty if it is written later."""
        syncing = asyncio.create_task(self._sync.published(record, provider_class, changed))
        try:
            async with self._stopping.interruptible(), asyncio.timeout_at(attempt.deadline):
                return await self._cluster.record(record)
        except DriverStopping:
            raise
        except (Failure, TimeoutError) as error:
            # Whatever it was: the content is committed, so the code must not be final.
            reason = str(error) if isinstance(error, Failure) else "the API server does not answer"
            message = f"failed to create secret provider class pod status for pod {record.pod}, err: {reason}"
            raise Unavailable(message) from None
        finally:
            await syncing
