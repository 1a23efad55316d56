"""What the informers of a replayed Go driver know: of the node's own pod statuses and Secrets all, of the rest only
that it has arrived."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from bench.nodes.fleet import CLASS_API, SHARED, PodVolume
from bench.nodes.informer import Informer
from bench.nodes.throttled import Object, ThrottledClient
from bench.nodes.trio_objects import MANAGED_LABEL
from driver.objects.pod_status import NODE_LABEL

# Names come first in the metadata of a Secret as the API server writes it; a custom resource's keys are sorted.
_NAME = re.compile(rb'"metadata":\{"name":"([^"]+)"')
_MARK = re.compile(rb'"mark":"([^"]*)"')
_SHARED = f'"name":"{SHARED}"'.encode()


class Caches:
    """``volumes`` are the node's, by the names of their pod statuses; ``reconcile`` is called with such a name."""

    def __init__(self, volumes: Mapping[str, PodVolume], reconcile: Callable[[str], None]) -> None:
        self._volumes, self._reconcile = volumes, reconcile
        self._own_secrets = {volume.secret_name for volume in volumes.values()}
        self.statuses: dict[str, Object] = {}
        self.secrets: dict[str, Object] = {}
        self.shared_mark = ""

    def is_owned(self, volume: PodVolume) -> bool:
        """Whether the Secret has the owner that the pod brings: names are compared."""
        references: list[Any] = self.secrets.get(volume.secret_name, {}).get("metadata", {}).get("ownerReferences", [])
        return any(reference["name"] == volume.owner["name"] for reference in references)

    def version_of(self, status: str, name: str) -> str:
        """The version of an object in a pod status."""
        objects = self.statuses[status]["status"]["objects"]
        return str(next(each["version"] for each in objects if each["id"] == name))

    def informer(self, what: str, client: ThrottledClient, node: str) -> Informer:
        """The informer that fills one of the caches."""
        if what == "statuses":
            path = f"/apis/{CLASS_API}/secretproviderclasspodstatuses"
            return Informer(client, path, self._statuses, self._status, labelSelector=f"{NODE_LABEL}={node}")
        if what == "classes":
            return Informer(client, f"/apis/{CLASS_API}/secretproviderclasses", _ignore, self._class)
        if what == "secrets":
            return Informer(
                client, "/api/v1/secrets", self._all_secrets, self._secret, labelSelector=f"{MANAGED_LABEL}=true"
            )
        return Informer(client, "/api/v1/pods", _ignore, _ignore, fieldSelector=f"spec.nodeName={node}")

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
            self._reconcile(name)

    def _class(self, line: bytes) -> None:
        if _SHARED in line and (found := _MARK.search(line)):
            self.shared_mark = found[1].decode()

    def _all_secrets(self, body: bytes) -> None:
        for item in json.loads(body)["items"]:
            if item["metadata"]["name"] in self._own_secrets:
                self.secrets[item["metadata"]["name"]] = item

    def _secret(self, line: bytes) -> None:
        found = _NAME.search(line)
        if found and found[1].decode() in self._own_secrets:
            item = json.loads(line)["object"]
            self.secrets[item["metadata"]["name"]] = item


def _ignore(_: bytes) -> None:
    pass
