"""What the informers of a replayed Go driver know: of the node's own pod statuses and Secrets all, of the rest only
that it has arrived."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from bench.nodes.fleet import CLASS_API, PodVolume
from bench.nodes.informer import Informer
from bench.nodes.throttled import Object, ThrottledClient
from bench.nodes.trio_objects import MANAGED_LABEL
from driver.objects.pod_status import NODE_LABEL

# Names come first in the metadata of a Secret as the API server writes it; a custom resource's keys are sorted.
_NAME = re.compile(rb'"metadata":\{"name":"([^"]+)"')
_MARK = re.compile(rb'"mark":"([^"]*)"')


class Caches:
    """``volumes`` are those of the node, by the names of their pod statuses; ``on_status`` is called with such a name
    when its pod status is new or has changed."""

    def __init__(self, client: ThrottledClient, node: str, volumes: Mapping[str, PodVolume]) -> None:
        self._client, self._node, self._volumes = client, node, volumes
        self._own_secrets = {volume.secret_name for volume in volumes.values()}
        self._informers: dict[str, Informer] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.on_status: Callable[[str], None] = _ignore
        self.statuses: dict[str, Object] = {}
        self.secrets: dict[str, Object] = {}
        self._own_classes = {volume.class_name: f'"name":"{volume.class_name}"'.encode() for volume in volumes.values()}
        # Of the node's classes, if they have changed.
        self.marks: dict[str, str] = {}

    async def synced(self, *names: str) -> None:
        """Start these informers unless they run, and wait until they have listed their objects."""
        for name in names:
            if name not in self._informers:
                informer = self._informers[name] = self._informer(name)
                self.tasks.append(asyncio.create_task(informer.run()))
            await self._informers[name].synced.wait()

    def is_owned(self, volume: PodVolume) -> bool:
        """Whether the Secret has the owner that the pod brings: names are compared."""
        references: list[Any] = self.secrets.get(volume.secret_name, {}).get("metadata", {}).get("ownerReferences", [])
        return any(reference["name"] == volume.owner["name"] for reference in references)

    def version_of(self, status: str, name: str) -> str:
        """The version of an object in a pod status."""
        objects = self.statuses[status]["status"]["objects"]
        return str(next(each["version"] for each in objects if each["id"] == name))

    def _informer(self, name: str) -> Informer:
        if name == "statuses":
            path, selector = f"/apis/{CLASS_API}/secretproviderclasspodstatuses", f"{NODE_LABEL}={self._node}"
            return Informer(self._client, path, self._statuses, self._status, labelSelector=selector)
        if name == "classes":
            return Informer(self._client, f"/apis/{CLASS_API}/secretproviderclasses", _ignore, self._class)
        if name == "secrets":
            path, selector = "/api/v1/secrets", f"{MANAGED_LABEL}=true"
            return Informer(self._client, path, self._all_secrets, self._secret, labelSelector=selector)
        assert name == "pods"
        selector = f"spec.nodeName={self._node}"
        return Informer(self._client, "/api/v1/pods", _ignore, _ignore, fieldSelector=selector)

    def _statuses(self, body: bytes) -> None:
        for item in json.loads(body)["items"]:
            self._take_status(item)

    def _status(self, line: bytes) -> None:
        found = json.loads(line)
        if found["type"] != "DELETED":
            self._take_status(found["object"])

    def _take_status(self, item: Object) -> None:
        name = item["metadata"]["name"]
        if name in self._volumes:
            self.statuses[name] = item
            self.on_status(name)

    def _class(self, line: bytes) -> None:
        for name, as_written in self._own_classes.items():
            if as_written in line and (found := _MARK.search(line)):
                self.marks[name] = found[1].decode()

    def _all_secrets(self, body: bytes) -> None:
        for item in json.loads(body)["items"]:
            if item["metadata"]["name"] in self._own_secrets:
                self.secrets[item["metadata"]["name"]] = item

    def _secret(self, line: bytes) -> None:
        found = _NAME.search(line)
        if found and found[1].decode() in self._own_secrets:
            item = json.loads(line)["object"]
            self.secrets[item["metadata"]["name"]] = item


def _ignore(_: object) -> None:
    pass
