"""A namespace of an API server, real or fake: makers of what a user would make in it, and a whole driver before it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from driver.ports import ClassRef, Pod, VolumeRecord
from tests.support.rig import DRIVER, NODE, OBJECTS, Rig, Volume, rig

Object = dict[str, Any]
CLASS_GROUP = "secrets-store.csi.x-k8s.io"
VOLUMES: Mapping[str, str] = {"secrets": "app"}


class ObjectsApi(Protocol):
    """What the fake and the real API server offer to a test."""

    def get(self, path: str) -> Object:
        """One object, or a collection with its ``items``."""

    def find(self, path: str) -> Object | None:
        """None if it is not there."""

    def create(self, body: Object) -> Object:
        """Create it in the collection of its kind and namespace."""

    def apply(self, body: Object) -> Object:
        """Create or replace it."""


class NamespaceRig:
    """Its subclasses provide ``api``, a fake API server or a real one."""

    namespace: str
    directory: Path

    @property
    def api(self) -> ObjectsApi:
        """The API server, with an administrator's rights."""
        raise NotImplementedError

    def make_class(self, name: str = "app", version: str = "v1", **spec: Any) -> Object:
        """A SecretProviderClass, applied; ``annotations`` go to its metadata."""
        metadata = {"name": name, "namespace": self.namespace, "annotations": spec.pop("annotations", {})}
        return self.api.apply(
            {
                "apiVersion": f"{CLASS_GROUP}/{version}",
                "kind": "SecretProviderClass",
                "metadata": metadata,
                "spec": {"provider": "stub", "parameters": {"objects": OBJECTS}, **spec},
            }
        )

    def make_adoptable_secret(self, **fields: Any) -> Object:
        """Somebody else's Secret ``synced``, which the driver may adopt."""
        annotations = {"secrets-store.csi.k8s.io/adopt": "true"}
        metadata = {"name": "synced", "namespace": self.namespace, "annotations": annotations}
        return self.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **fields})

    def make_pod(
        self,
        name: str = "pod-1",
        owners: list[Object] | None = None,
        volumes: Mapping[str, str] = VOLUMES,
        account: str = "default",
    ) -> Pod:
        """A pod that no kubelet will ever run, with its ``volumes`` of the driver and the class of each."""
        made = self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"namespace": self.namespace, "name": name, "ownerReferences": owners or []},
                "spec": {
                    "containers": [{"name": "main", "image": "nothing"}],
                    "nodeName": NODE,
                    "serviceAccountName": account,
                    "volumes": [_volume(volume, class_name) for volume, class_name in volumes.items()],
                },
            }
        )
        return Pod(self.namespace, name, made["metadata"]["uid"])

    def record(self, pod: Pod, class_name: str = "app", volume: str = "secrets", **fields: Any) -> VolumeRecord:
        """What the driver would record of a volume of the pod."""
        target = f"/var/lib/kubelet/pods/{pod.uid}/volumes/kubernetes.io~csi/{volume}/mount"
        values = {"objects": {"password": "v1"}, **fields}
        return VolumeRecord(pod, ClassRef(self.namespace, class_name), volume, target, **values)

    def path(self, plural: str, name: str = "") -> str:
        """The path of a namespaced object of ours, of a core one otherwise."""
        ours = plural.startswith("secretproviderclass")
        root = f"/apis/{CLASS_GROUP}/v1" if ours else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def volume(self, rig: Rig, pod: Pod, **options: Any) -> Volume:
        """A volume of the pod, as kubelet names and describes it."""
        return Volume(rig, pod.name, namespace=self.namespace, uid=pod.uid, **options)

    def make_owner(self, name: str = "owner") -> Object:
        """An owner reference to an object that no controller touches."""
        made = self.api.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": self.namespace, "name": name}}
        )
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": made["metadata"]["uid"]}

    def status_path(self, pod: str = "pod-1", class_name: str = "app") -> str:
        """The path of a pod status."""
        return self.path("secretproviderclasspodstatuses", f"{pod}-{self.namespace}-{class_name}")

    def listed(self, plural: str) -> list[Object]:
        """All objects of a kind in the namespace."""
        items: list[Object] = self.api.get(self.path(plural))["items"]
        return items

    def events(self, reason: str = "") -> list[Object]:
        """The events in the namespace, of one reason or of all."""
        return [item for item in self.listed("events") if not reason or item["reason"] == reason]

    def secret(self, name: str) -> Object | None:
        """A Secret, if it is there."""
        return self.api.find(self.path("secrets", name))

    @asynccontextmanager
    async def driver_at(self, name: str, **config: Any) -> AsyncIterator[Rig]:
        """A whole driver of this node, with a provider on its socket and kubelet's directories."""
        directory = self.directory / name
        directory.mkdir()
        async with rig(directory, manifests="", **config) as running:
            yield running


def _volume(name: str, class_name: str) -> Object:
    """An inline volume of a pod."""
    attributes = {"secretProviderClass": class_name}
    return {"name": name, "csi": {"driver": DRIVER, "readOnly": True, "volumeAttributes": attributes}}
