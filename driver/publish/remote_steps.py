"""The steps of a publish that ask the API server; their order and numbers are those of ``publisher``. They raise
Failures that have their ``error_type``."""

import asyncio

from driver.config import DriverConfig
from driver.ports import Cluster, ProviderClass, SecretSync, VolumeRecord
from driver.publish import schedule
from driver.publish.failures import failed_step
from driver.publish.reporting import Reporter
from driver.publish.request import Attempt
from driver.publish.stopping import DriverStopping, Stopping
from runtime.errors import Failure, NotFound, PreconditionFailed, Unavailable


class RemoteSteps:
    """Steps 4 and 8."""

    def __init__(
        self,
        config: DriverConfig,
        cluster: Cluster,
        sync: SecretSync,
        reporter: Reporter,
        stopping: Stopping,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._sync = sync
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

    async def record(
        self, attempt: Attempt, record: VolumeRecord, provider_class: ProviderClass, *, changed: bool
    ) -> str:
        """Step 8: the pod status and the Secrets, concurrently. ``changed`` is whether the content or its versions
        did. Returns the name of the pod status; empty if it is written later."""
        syncing = asyncio.create_task(self._sync.published(record, provider_class, changed))
        try:
            async with self._stopping.interruptible(), asyncio.timeout_at(attempt.deadline):
                name = await self._cluster.record(record)
            self._sync.recorded(record.target_path)
            return name
        except DriverStopping:
            raise
        except (Failure, TimeoutError) as error:
            # Whatever it was: the content is committed, so the code must not be final.
            reason = str(error) if isinstance(error, Failure) else "the API server does not answer"
            message = f"failed to create secret provider class pod status for pod {record.pod}, err: {reason}"
            raise Unavailable(message) from None
        finally:
            await syncing
