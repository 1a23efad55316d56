"""This driver on a node, without a provider and kubelet: the code that talks to the API server is that of the driver,
put together by ``driver.backend``, and it is called in the order in which the publish path calls it."""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from bench.nodes.fleet import NAMESPACE, OBJECT, VOLUME, NodeSpec, PodVolume
from driver.backend import open_backend
from driver.config import DriverConfig
from driver.metrics import DriverMetrics
from driver.ports import Backend, ClassRef, Pod, PodEvent, VolumeRecord
from driver.volume import layout
from driver.volume.workers import DiskWorkers
from runtime import clock
from runtime.tasks import BackgroundTask, TaskSupervisor
from tests.support.waiting import until

# Checks are due at times of their own in reality; here they are spread over this time.
CHECK_SPREAD = 10.0
POLL = 0.1
# The worker ends a job that takes too long.
NO_LIMIT = float("inf")


class OurNode:
    """Implements ``Node``; ``disk`` and ``metrics`` are shared by the nodes of a process."""

    def __init__(self, spec: NodeSpec, directory: Path, disk: DiskWorkers, metrics: DriverMetrics) -> None:
        self._spec = spec
        self._directory = directory / spec.name
        self._disk, self._metrics = disk, metrics
        self._records: dict[str, tuple[VolumeRecord, str]] = {}
        self._running = AsyncExitStack()
        self._backend: Backend

    async def start(self) -> None:
        """As ``driver.server`` starts it."""
        config = DriverConfig(nodeid=self._spec.name, kubeconfig=self._spec.kubeconfig, metrics_addr="")
        self._backend = backend = open_backend(config, self._disk, self._metrics, _answers)
        mark = time.time()
        for record, name in self._records.values():
            backend.cluster.remember_record(record, name, current=True)
        backend.sync.restored(record for record, _ in self._records.values())
        self._running.push_async_callback(backend.cluster.close)
        tasks = [*backend.cluster.tasks(), BackgroundTask("Secret sync", backend.sync.run)]
        running = await self._running.enter_async_context(TaskSupervisor().running(tasks))
        if (opening := running.get("API connections")) is not None:
            await opening
        if self._records:
            await self._synced(mark)

    async def stop(self) -> None:
        """As ``driver.server`` stops it."""
        await self._running.aclose()

    async def publish(self) -> None:
        """All volumes at once, as kubelet does."""
        mark = time.time()
        await asyncio.gather(*(self._publish(volume, "v1") for volume in self._spec.volumes))
        await self._synced(mark)

    async def refresh(self, version: str) -> None:
        """What a republish of a volume that is due does when the provider has new content."""
        mark = time.time()
        await asyncio.gather(*(self._publish(volume, version) for volume in self._spec.volumes))
        await self._synced(mark)

    async def check(self) -> None:
        """The jobs of each class, by a volume that reports a change although nothing has changed."""
        mark = time.time()
        for record, _ in {record.class_ref: (record, name) for record, name in self._records.values()}.values():
            await asyncio.sleep(random.uniform(0.0, CHECK_SPREAD / 2))
            provider_class = await self._backend.cluster.get_class(record.class_ref)
            await self._backend.sync.published(record, provider_class, True)
        await self._synced(mark)

    async def classes_changed(self, mark: str, *names: str) -> None:
        """The cache has them. Their Secrets are as they were, because no entry of ``secretObjects`` has changed."""
        for name in names or self._spec.classes:
            await until(partial(self._has, ClassRef(NAMESPACE, name), mark), f"class {name}", NO_LIMIT, POLL)

    async def event(self) -> None:
        """Queued; ``bench.nodes.run`` waits until the API server has it."""
        record, _ = next(iter(self._records.values()))
        await self._backend.cluster.event(PodEvent(record.pod, True, "Measured", "an event of the benchmark"))

    async def _publish(self, volume: PodVolume, version: str) -> None:
        """Steps 4 and 8 of ``driver.publish.publisher``."""
        cluster, sync = self._backend.cluster, self._backend.sync
        provider_class = await cluster.get_class(ClassRef(NAMESPACE, volume.class_name))
        target = self._directory / volume.uid / "volumes" / "kubernetes.io~csi" / VOLUME / "mount"
        write_content(target, version)
        record = VolumeRecord(
            Pod(NAMESPACE, volume.pod, volume.uid),
            provider_class.class_ref,
            VOLUME,
            str(target),
            {OBJECT: version},
            last_refresh=time.time(),
            refreshed_at=clock.now(),
        )
        syncing = asyncio.create_task(sync.published(record, provider_class, True))
        name = await cluster.record(record)
        await syncing
        self._records[volume.uid] = record, name

    async def _has(self, class_ref: ClassRef, mark: str) -> bool:
        return (await self._backend.cluster.get_class(class_ref)).parameters["mark"] == mark

    async def _synced(self, mark: float) -> None:
        """Wait until all Secrets of the node's classes were found or made right after ``mark``."""
        wanted = {volume.secret_name for volume in self._spec.volumes}

        def synced() -> bool:
            secrets, _ = self._backend.sync.snapshot()
            return wanted <= {each.name for each in secrets if not each.reason and (each.synced or 0.0) >= mark}

        await until(synced, "the Secrets to be synced", NO_LIMIT, POLL)


def write_content(target: Path, version: str) -> None:
    """The files of a volume as the driver's writer leaves them; a directory does in place of a tmpfs."""
    generation = target / layout.new_content_name()
    generation.mkdir(parents=True)
    (generation / OBJECT).write_text(f"the password, {version}")
    unfinished = target / layout.DATA_TMP
    unfinished.symlink_to(generation.name)
    unfinished.replace(target / layout.DATA)
    if not (target / OBJECT).is_symlink():
        (target / OBJECT).symlink_to(f"{layout.DATA}/{OBJECT}")


async def _answers(_: str) -> bool:
    """No provider is asked."""
    return True
