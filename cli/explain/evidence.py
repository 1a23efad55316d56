"""What the API server knows of a pod, its volumes, their classes, and the driver on its node."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.cluster import Object, items
from cli.validate.users import CLASS_ATTRIBUTE, DRIVER
from driver.cluster.answers import NotServed
from driver.cluster.api import Api
from driver.objects import API_PATH
from driver.objects.classes import PLURAL as CLASSES
from driver.objects.pod_status import PLURAL as STATUSES
from runtime.errors import NotFound, PermissionDenied
from runtime.timestamps import parse_timestamp

# The labels app of the chart's pods, and of the Go driver's static manifests.
DRIVER_PODS = "app in (secrets-store-csi-driver,csi-secrets-store)"
CORE, STORAGE = "/api/v1", "/apis/storage.k8s.io/v1"


@dataclass
class Evidence:
    """Objects as they are in the API. ``csi_driver``, ``csi_node`` and ``node`` are empty if they do not exist, and
    None if they are not known; ``classes`` has None for a class that does not exist; ``driver_pods`` is None if it is
    not known. ``now`` is the server's time (Unix time)."""

    namespace: str
    name: str
    now: float = 0.0
    pod: Object = field(default_factory=dict)
    pods: list[str] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)
    classes: dict[str, Object | None] = field(default_factory=dict)
    all_classes: list[Object] = field(default_factory=list)
    statuses: list[Object] = field(default_factory=list)
    crd_missing: str = ""
    csi_driver: Object | None = None
    csi_node: Object | None = None
    node: Object | None = None
    driver_pods: list[Object] | None = None
    unknown: list[str] = field(default_factory=list)

    @property
    def volumes(self) -> list[Object]:
        """The pod's volumes of the driver."""
        found = (self.pod.get("spec") or {}).get("volumes") or []
        return [item for item in found if (item.get("csi") or {}).get("driver") == DRIVER]

    @property
    def node_name(self) -> str:
        """The pod's node, empty if it has none yet."""
        return str((self.pod.get("spec") or {}).get("nodeName") or "")

    def events_of(self, reason: str) -> list[Object]:
        """The pod's events with a reason, the newest first."""
        return [event for event in self.events if event.get("reason") == reason]

    def lines(self) -> list[str]:
        """The evidence, in a line each."""
        lines = [
            f"event {event.get('reason')}{self._times(event)}: {event.get('message')}" for event in self.events[:10]
        ]
        for name, found in self.classes.items():
            provider = (found or {}).get("spec", {}).get("provider", "")
            lines.append(f"class {name}: " + (f"provider {provider}" if found else "does not exist"))
        for item in self.statuses:
            status = item.get("status") or {}
            failure = status.get("lastFailure") or {}
            state = (
                f"failed {failure.get('count')} times: {failure.get('message')}" if failure else "content is refreshed"
            )
            lines.append(
                f"pod status {item['metadata']['name']}: last refresh {status.get('lastRefresh', '?')}, {state}"
            )
        drivers = [(item["metadata"]["name"], pod_state(item)) for item in self.driver_pods or ()]
        lines += [f"driver {name} on node {self.node_name}: {state}" for name, state in drivers]
        return lines + [f"unknown: {line}" for line in self.unknown]

    def _times(self, event: Object) -> str:
        count, time = event.get("count") or 1, event_time(event)
        age = f", {ago(self.now - time)} ago" if time else ""
        return f" ({count}×{age})" if count > 1 or age else ""


async def gather(api: Api, namespace: str, name: str) -> Evidence:
    """Everything about a pod. What the user may not read is noted as unknown; without the right to read the pod itself
    it raises PermissionDenied."""
    found = Evidence(namespace, name)
    place = f"{CORE}/namespaces/{namespace}"
    try:
        found.pod = await api.call("GET", f"{place}/pods/{name}")
    except NotFound:
        pods = await _optional(found, "pods", items(api, f"{place}/pods"))
        found.pods = [item["metadata"]["name"] for item in pods or ()]
        return found
    found.now = api.server_time()
    await asyncio.gather(_events(api, found, place), _classes(api, found), _statuses(api, found), _node(api, found))
    return found


async def _events(api: Api, found: Evidence, place: str) -> None:
    uid = found.pod["metadata"]["uid"]
    selector = {"fieldSelector": f"involvedObject.name={found.name},involvedObject.kind=Pod"}
    events = await _optional(found, "events", items(api, f"{place}/events", selector)) or []
    mine = [event for event in events if (event.get("involvedObject") or {}).get("uid") in (uid, None)]
    found.events = sorted(mine, key=event_time, reverse=True)


async def _classes(api: Api, found: Evidence) -> None:
    names = {(item["csi"].get("volumeAttributes") or {}).get(CLASS_ATTRIBUTE) for item in found.volumes}
    path = f"{API_PATH}/namespaces/{found.namespace}/{CLASSES}"
    for name in sorted(name for name in names if name):
        try:
            found.classes[name] = await api.call("GET", f"{path}/{name}")
        except NotServed as failure:
            found.crd_missing = str(failure)
            return
        except NotFound:
            found.classes[name] = None
        except PermissionDenied as failure:
            found.unknown.append(f"class {name}: {failure}")
    if None in found.classes.values():
        everywhere = await _optional(found, "classes of other namespaces", items(api, f"{API_PATH}/{CLASSES}"))
        if everywhere is None:
            everywhere = await _optional(found, "classes", items(api, path))
        found.all_classes = everywhere or []


async def _statuses(api: Api, found: Evidence) -> None:
    if not found.volumes:
        return
    uid = found.pod["metadata"]["uid"]
    path = f"{API_PATH}/namespaces/{found.namespace}/{STATUSES}"
    statuses = await _optional(found, "pod statuses", items(api, path)) or []
    found.statuses = [
        item
        for item in statuses
        if uid in [owner.get("uid") for owner in item["metadata"].get("ownerReferences") or ()]
    ]


async def _node(api: Api, found: Evidence) -> None:
    found.csi_driver = await _object(api, found, f"{STORAGE}/csidrivers/{DRIVER}")
    if not found.node_name:
        return
    found.csi_node = await _object(api, found, f"{STORAGE}/csinodes/{found.node_name}")
    found.node = await _object(api, found, f"{CORE}/nodes/{found.node_name}")
    query = {"labelSelector": DRIVER_PODS, "fieldSelector": f"spec.nodeName={found.node_name}"}
    found.driver_pods = await _optional(found, "the driver's pods", items(api, f"{CORE}/pods", query))


async def _object(api: Api, found: Evidence, path: str) -> Object | None:
    """Empty if it does not exist, None if it is not known."""
    try:
        item: Object | None = await _optional(found, path, api.call("GET", path))
        return item
    except NotFound:
        return {}


async def _optional(found: Evidence, what: str, call: Awaitable[Any]) -> Any:
    """What a call returns; None if the user may not make it, or the server does not know such objects."""
    try:
        return await call
    except (PermissionDenied, NotServed) as failure:
        found.unknown.append(f"{what}: {failure}")
        return None


def event_time(event: Mapping[str, Any]) -> float:
    """When an event was seen last (Unix time); 0 if it does not say."""
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    )
    return next((found for time in times if (found := parse_timestamp(time))), 0.0)


def ago(seconds: float) -> str:
    """A duration for people: 40 s, 5 min, 3 h, 2 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def pod_state(pod: Mapping[str, Any]) -> str:
    """``ready``, or why a pod is not."""
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', 'see its log')}"
    ready = {item.get("type"): item.get("status") for item in status.get("conditions") or ()}.get("Ready")
    return "ready" if ready == "True" else f"not ready ({status.get('phase', 'unknown')})"
