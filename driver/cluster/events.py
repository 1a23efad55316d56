"""Events on pods: one object a series, counted up when it repeats, sent beside the work that caused them."""

import asyncio
import hashlib
import time
from typing import Any

from driver.cluster.answers import Conflict
from driver.cluster.api import MERGE_PATCH, Api
from driver.ports import PodEvent
from runtime import logs
from runtime.errors import Failure, NotFound
from runtime.timestamps import timestamp

log = logs.get(__name__)

COMPONENT = "secrets-store-csi-driver"
WAITING, REMEMBERED = 256, 1024
SEND_SECONDS = 30.0
LONGEST_MESSAGE = 1024  # the API server refuses longer ones


class EventRecorder:
    """Takes events at once and sends them in order; when it cannot keep up, or the server is away, the log has them."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._queue: asyncio.Queue[PodEvent] = asyncio.Queue(WAITING)
        self._counts: dict[str, int] = {}

    def put(self, event: PodEvent) -> None:
        """Log the event and queue it."""
        (log.warning if event.warning else log.info)("Event", pod=event.pod, reason=event.reason, message=event.message)
        if event.pod.name and not self._queue.full():
            self._queue.put_nowait(event)

    async def run(self) -> None:
        """Send for ever."""
        while True:
            event = await self._queue.get()
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
            except Conflict:  # a series of this driver's former life; the next write counts this time too
                count = 1 + int((await self._count(path, name, event, None)).get("count") or 0)
        else:
            try:
                await self._count(path, name, event, count)
            except NotFound:  # expired: the server keeps events for an hour
                count = 1
                await self._api.call("POST", path, body=self._object(event, name))
        self._counts[name] = count
        while len(self._counts) > REMEMBERED:
            self._counts.pop(next(iter(self._counts)))

    async def _count(self, path: str, name: str, event: PodEvent, count: int | None) -> dict[str, Any]:
        patch: dict[str, Any] = {"message": event.message[:LONGEST_MESSAGE], "lastTimestamp": timestamp(time.time())}
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
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": event.pod.namespace,
                "name": event.pod.name,
                "uid": event.pod.uid,
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:LONGEST_MESSAGE],
            "source": {"component": COMPONENT, "host": self._node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }


def _series(event: PodEvent) -> str:
    """One name for each (pod, reason, subject); a pod's name leaves room for the digest within 253 characters."""
    digest = hashlib.sha256(f"{event.pod.uid}|{event.reason}|{event.subject}".encode()).hexdigest()[:16]
    return f"{event.pod.name[:230].rstrip('.-')}.{digest}"
