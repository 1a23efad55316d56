"""The API server as the driver's backend: puts together what implements ``ports.Cluster``."""

from collections.abc import Sequence

from driver.cluster.api import WATCH_IDLE_SECONDS, Api
from driver.cluster.class_store import ClassStore
from driver.cluster.events import EventRecorder
from driver.cluster.statuses.store import StatusStore
from driver.objects.pod_status import check_node
from driver.ports import PodEvent
from runtime.tasks import BackgroundTask


class ApiCluster:
    """Implements ``ports.Cluster``: each method is that of the part that does the work.

    Nothing is connected until one of the ``tasks``, or the first call, needs it.
    """

    def __init__(self, api: Api, node: str, driver: str, idle_seconds: float = WATCH_IDLE_SECONDS) -> None:
        check_node(node)
        self._api = api
        self._classes = classes = ClassStore(api, idle_seconds)
        self.statuses = statuses = StatusStore(api, node, driver)
        self._events = EventRecorder(api, node)
        self.get_class, self.is_current = classes.get, classes.is_current
        self.forget_class, self.on_class_change = classes.forget, classes.on_change
        self.record, self.remember_record = statuses.record, statuses.remember
        self.forget_record, self.records = statuses.forget, statuses.read

    async def event(self, event: PodEvent) -> None:
        """Queue an event; sending it holds up nobody."""
        self._events.put(event)

    def tasks(self) -> Sequence[BackgroundTask]:
        """Opening the connections ahead, watching classes, writing statuses again, sending events.

        On a new node a burst of publishes follows. A driver that comes back to its volumes makes few calls, and those
        of all nodes may come back at once: they open connections as they need them (docs/scale.md).
        """
        warm = () if self.statuses.any_known else (BackgroundTask("API connections", self._api.warm, finite=True),)
        return (
            *warm,
            BackgroundTask("class watch", self._classes.run),
            BackgroundTask("pod status retries", self.statuses.run),
            BackgroundTask("events", self._events.run),
        )

    async def close(self) -> None:
        """Close the connections to the API server."""
        await self._api.close()
