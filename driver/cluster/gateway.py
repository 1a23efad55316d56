"""The API server as the driver's world: answers ``ports.Cluster``."""

import asyncio

from driver.cluster.api import WATCH_IDLE_SECONDS, Api
from driver.cluster.class_store import ClassStore
from driver.cluster.events import EventRecorder
from driver.cluster.statuses import StatusStore
from driver.objects.pod_status import check_node
from driver.ports import ClassListener, ClassRef, PodEvent, ProviderClass, VolumeRecord


class ApiCluster:
    """Nothing is connected until ``run``, or the first question, needs it."""

    def __init__(self, api: Api, node: str, idle_seconds: float = WATCH_IDLE_SECONDS) -> None:
        check_node(node)
        self._api = api
        self._classes = ClassStore(api, idle_seconds)
        self.statuses = StatusStore(api, node)
        self._events = EventRecorder(api, node)

    async def run(self) -> None:
        """Open the connections ahead; watch classes and send events for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._api.warm())
                group.create_task(self._classes.run())
                group.create_task(self.statuses.run())
                group.create_task(self._events.run())
        finally:
            await self._api.close()

    async def get_class(self, class_ref: ClassRef) -> ProviderClass:
        """Remembered, or read by name."""
        return await self._classes.get(class_ref)

    def forget_class(self, class_ref: ClassRef) -> None:
        """The last volume that used it is gone."""
        self._classes.forget(class_ref)

    def is_current(self, provider_class: ProviderClass) -> bool:
        """Whether it is the remembered one."""
        return self._classes.is_current(provider_class)

    def on_class_change(self, listener: ClassListener) -> None:
        """Hear of changes to remembered classes."""
        self._classes.on_change(listener)

    async def record(self, record: VolumeRecord) -> None:
        """One write, if it tells anything new."""
        await self.statuses.record(record)

    def forget_record(self, target_path: str) -> None:
        """The object goes with its pod."""
        self.statuses.forget(target_path)

    async def records(self) -> list[VolumeRecord]:
        """One LIST by node label."""
        return await self.statuses.read_all()

    async def event(self, event: PodEvent) -> None:
        """Queued, and sent beside."""
        self._events.put(event)
