"""The steps of a publish that ask the class, the provider and the cluster, each by itself; ``publish`` puts them in
order and answers for their failures. Numbers are those of the list there."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from driver.config import DriverConfig
from driver.ports import ClassRef, Cluster, PodEvent, ProviderClass, SecretSync, VolumeRecord
from driver.providers import wire
from driver.providers.pool import ProviderPool
from driver.publish import attributes, schedule
from driver.publish.request import PublishRequest
from driver.registry import Volume
from driver.volume import operations
from driver.volume.workers import DiskWorkers
from runtime.errors import Aborted, Failure, NotFound, PreconditionFailed, Unavailable


@dataclass
class Attempt:
    """One publish on its way: what was learned so far, and how a failure of the present step is counted."""

    request: PublishRequest
    deadline: float
    provider: str = ""
    error_type: str = ""

    def counted_as(self, failure: Failure) -> str:
        """The failure's own ``error_type`` if it brings one, else the present step's."""
        return str(getattr(failure, "error_type", self.error_type))


class Steps:
    """Steps 4 to 8. Every one raises a Failure, and has said in the attempt how that is counted."""

    def __init__(
        self,
        config: DriverConfig,
        disk: DiskWorkers,
        cluster: Cluster,
        sync: SecretSync,
        providers: ProviderPool,
        noswap: bool,
    ) -> None:
        self._config = config
        self._disk = disk
        self._cluster = cluster
        self._sync = sync
        self._providers = providers
        self._noswap = noswap
        self._bad_intervals: dict[ClassRef, str] = {}

    async def find_class(self, attempt: Attempt, deadline: float) -> ProviderClass:
        """Step 4: the class, fit for use."""
        class_ref = attempt.request.class_ref
        attempt.error_type = "SecretProviderClassNotFound"
        try:
            async with _until(
                deadline, f"failed to get secretproviderclass {class_ref}: the API server does not answer"
            ):
                provider_class = await self._cluster.get_class(class_ref)
        except NotFound as error:
            raise NotFound(f"failed to get secretproviderclass {class_ref}, error: {error}") from None
        attempt.error_type = "FailedToMount"
        if not provider_class.provider:
            raise PreconditionFailed(f"provider not set in {class_ref}: set spec.provider")
        attempt.provider = provider_class.provider
        if not provider_class.parameters:
            raise PreconditionFailed(
                f"parameters not set in {class_ref}: set spec.parameters as the provider wants them"
            )
        return provider_class

    async def interval(self, attempt: Attempt, provider_class: ProviderClass) -> float:
        """The class's interval, else the flag's; an annotation that is none is told once."""
        try:
            return schedule.interval_of(provider_class.annotations, self._config.rotation_poll_interval)
        except ValueError as error:
            class_ref, sentence = provider_class.class_ref, str(error)
            if self._bad_intervals.get(class_ref) != sentence:
                self._bad_intervals[class_ref] = sentence
                await self._cluster.event(
                    PodEvent(
                        attempt.request.pod,
                        True,
                        "InvalidInterval",
                        f"SecretProviderClass {class_ref}: {sentence}; until then the driver's own interval counts",
                        class_ref.name,
                    )
                )
            return self._config.rotation_poll_interval

    async def mount(self, attempt: Attempt, found: operations.Found) -> None:
        """Step 5; a tmpfs that an earlier try left is used again."""
        attempt.error_type = "FailedToMount"
        path = attempt.request.target.path
        if found.foreign_mount:
            raise Aborted(f"target path {path} is a mount that is not a tmpfs: unmount it on the node")
        if not found.mounted:
            await self._disk.run(operations.prepare, path, self._config.volume_size, self._noswap)

    async def fetch(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass) -> bool:
        """Steps 6 and 7; tells whether the content or its versions changed."""
        request = attempt.request
        merged = attributes.merge(request, provider_class, pod_overrides=self._config.volume_attributes_override)
        if merged.dropped:
            await self._warn_of_dropped(request, merged.dropped)
        attempt.error_type = "GRPCProviderError"
        volume.fingerprint = provider_class.fingerprint
        wire_request = wire.mount_request(
            merged.attributes, merged.secrets, request.target.path, attributes.PERMISSION, volume.objects
        )
        try:
            reply = await self._providers.mount(provider_class.provider, wire_request, attempt.deadline)
            attempt.error_type = "FileWriteError"
            changed = await self._disk.run(operations.commit, request.target.path, reply.files, request.group)
        except Failure as failure:
            raise _prefixed(failure, f"failed to mount secrets store objects for pod {request.pod}, err: ") from None
        changed = changed or dict(reply.objects) != dict(volume.objects)
        volume.provider, volume.objects, volume.last_refresh = provider_class.provider, reply.objects, time.time()
        volume.failure, volume.retry_at = None, 0.0
        return changed

    async def tell(self, attempt: Attempt, volume: Volume, provider_class: ProviderClass, changed: bool) -> None:
        """Step 8: the pod status and the Secrets, side by side."""
        attempt.error_type = ""
        syncing = asyncio.create_task(self._sync.published(volume.record, provider_class, changed))
        try:
            await self._record(volume.record, attempt.deadline)
            volume.recorded = True
        finally:
            await syncing

    async def _record(self, record: VolumeRecord, deadline: float) -> None:
        sentence = f"failed to create secret provider class pod status for pod {record.pod}, err: "
        try:
            async with _until(deadline, sentence + "the API server does not answer"):
                await self._cluster.record(record)
        except Failure as failure:
            # Whatever it was: the content is committed, so the code must be one after which kubelet keeps the volume.
            raise Unavailable(str(failure) if str(failure).startswith(sentence) else sentence + str(failure)) from None

    async def _warn_of_dropped(self, request: PublishRequest, dropped: Iterable[str]) -> None:
        class_ref = request.class_ref
        await self._cluster.event(
            PodEvent(
                request.pod,
                True,
                "ReservedParameter",
                f"SecretProviderClass {class_ref} sets {', '.join(dropped)}, which only kubelet may set; "
                "remove it from spec.parameters",
                class_ref.name,
            )
        )


@asynccontextmanager
async def _until(deadline: float, sentence: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise Unavailable(sentence) from None


def _prefixed(failure: Failure, prefix: str) -> Failure:
    """The same failure, its code and type kept, under the text that users search for."""
    failure.args = (prefix + str(failure),)
    return failure
