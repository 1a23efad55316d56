"""Events on pods, or on other objects: one object per series, with a count, sent in the background."""

import asyncio
import hashlib
import time
from typing import Any

from driver import limits
from driver.cluster.answers import Conflict
from driver.cluster.api import MERGE_PATCH, Api
from driver.cluster.event_rate import EventRate
from driver.ports import PodEvent
from runtime import logs, redact
from runtime.errors import Failure, NotFound
from runtime.timestamps import timestamp

log = logs.get(__name__)

COMPONENT = "secrets-store-csi-driver"
MAX_QUEUED, MAX_SERIES = 256, 1024
SEND_SECONDS = 30.0
LONGEST_MESSAGE = 1024  # the API server rejects longer ones


class EventRecorder:
    """Sends events in order. All are logged; those beyond a pod's rate, the node's rate or the queue are only
    logged and counted (``event_rate``).

    ``component`` sends them, and ``involved`` is the API version and kind of the objects that a ``PodEvent`` is about
    if they are no pods.
    """

    def __init__(
        self, api: Api, node: str, component: str = COMPONENT, involved: tuple[str, str] = ("v1", "Pod")
    ) -> None:
        self._api = api
        self._source = {"component": component, **({"host": node} if node else {})}
        self._involved = involved
        self._queue: asyncio.Queue[PodEvent] = asyncio.Queue(MAX_QUEUED)
        self._counts: dict[str, int] = {}
        self._rate = EventRate()

    def put(self, event: PodEvent) -> None:
        """Log the event and queue it, without blocking."""
        (log.warning if event.warning else log.info)("Event", pod=event.pod, reason=event.reason, message=event.message)
        if not event.pod.name:
            return
        if self._queue.full():
            self._rate.suppress(event.pod)
        elif self._rate.allows(event.pod):
            self._queue.put_nowait(event)

    async def run(self) -> None:
        """Send events until cancelled."""
        loop = asyncio.get_running_loop()
        summary_due = loop.time() + limits.EVENT_SUMMARY_SECONDS
        while True:
            if loop.time() >= summary_due:
                for summary in self._rate.summaries():
                    await self._try_to_send(summary)
                summary_due = loop.time() + limits.EVENT_SUMMARY_SECONDS
            try:
                async with asyncio.timeout_at(summary_due):
                    event = await self._queue.get()
            except TimeoutError:
                continue
            await self._try_to_send(event)

    async def _try_to_send(self, event: PodEvent) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(event)
        except (Failure, TimeoutError) as error:
            log.warning("An event could not be sent", pod=event.pod, reason=event.reason, err=error)

    async def _send(self, event: PodEvent) -> None:
        name = _series(event)
        count = self._counts.pop(name, 0) + 1
        path = f"/api/v1/namespaces/{event.pod.namespace}/events"
        if count == 1:
            try:
                await self._api.call("POST", path, body=self._object(event, name))
            except Conflict:  # a series from before a restart; there is no right to read its count
                count = 1 + int((await self._count(path, name, event, None)).get("count") or 0)
                await self._count(path, name, event, count)
        else:
            try:
                await self._count(path, name, event, count)
            except NotFound:  # the API server deletes events after an hour
                count = 1
                await self._api.call("POST", path, body=self._object(event, name))
        self._counts[name] = count
        while len(self._counts) > MAX_SERIES:
            self._counts.pop(next(iter(self._counts)))

    async def _count(self, path: str, name: str, event: PodEvent, count: int | None) -> dict[str, Any]:
        patch: dict[str, Any] = {"message": _shown(event), "lastTimestamp": timestamp(time.time())}
        if count is not None:
            patch["count"] = count
        return await self._api.call("PATCH", f"{path}/{name}", body=patch, content_type=MERGE_PATCH)

    def _object(self, event: PodEvent, name: str) -> dict[str, Any]:
        now = timestamp(time.time())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": event.pod.namespace},
            "involvedObject": {
                "apiVersion": self._involved[0],
                "kind": self._involved[1],
                "namespace": event.pod.namespace,
                "name": event.pod.name,
                "uid": event.pod.uid,
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": _shown(event),
            "source": self._source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }


def _shown(event: PodEvent) -> str:
    """The message as people read it: a name of others that it quotes may contain characters that are not visible."""
    return redact.visible(event.message)[:LONGEST_MESSAGE]


def _series(event: PodEvent) -> str:
    """The name for a (pod, reason, subject); the pod's name is shortened to leave room for the digest."""
    digest = hashlib.sha256(f"{event.pod.uid}|{event.reason}|{event.subject}".encode()).hexdigest()[:16]
    return f"{event.pod.name[:230].rstrip('.-')}.{digest}"
