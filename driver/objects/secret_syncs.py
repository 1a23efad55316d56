"""SecretSync objects: a Secret that is to be made from a class without a pod.

Group, fields and their meaning are those of the official controller
(https://github.com/kubernetes-sigs/secrets-store-sync-controller), whose objects this program takes over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from types import MappingProxyType
from typing import Any

from driver.objects.classes import key_sources
from driver.ports import ClassRef, KeySource

GROUP = "secret-sync.x-k8s.io"
GROUP_VERSION = f"{GROUP}/v1alpha1"
API_PATH = f"/apis/{GROUP_VERSION}"
KIND, PLURAL = "SecretSync", "secretsyncs"
RESERVED_PREFIX = "secrets-store.sync.x-k8s.io"
FIELD_MANAGER = "secrets-store-sync-controller"

Object = dict[str, Any]
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SyncRef:
    """The namespace and name of a SecretSync; its Secret has the same."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """The path of the SecretSync in the API."""
        return f"{API_PATH}/namespaces/{self.namespace}/{PLURAL}/{self.name}"

    @property
    def secret_path(self) -> str:
        """The path of its Secret in the API."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.name}"


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of the status. Most texts are the same in all SecretSyncs, and in memory once."""

    type: str
    status: str
    generation: int
    reason: str
    message: str
    since: str

    def document(self) -> Object:
        """As it is in the API."""
        return {
            "type": self.type,
            "status": self.status,
            "observedGeneration": self.generation,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": self.since,
        }


@dataclass(frozen=True, slots=True)
class SecretSync:
    """A SecretSync as it is in the API.

    ``data`` has (targetKey, sourcePath) pairs: a key of the Secret and the file of the provider's reply that it gets;
    ``data_from`` has whole objects.
    ``conditions``, ``sync_hash`` and ``last_sync`` are its status, which the controller itself writes: two objects that
    differ in nothing else are equal.
    """

    ref: SyncRef
    uid: str
    generation: int
    class_name: str
    service_account: str
    type: str
    data: tuple[tuple[str, str], ...]
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    annotations: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    data_from: tuple[KeySource, ...] = ()
    force: str = ""
    controller: str = ""
    conditions: tuple[Condition, ...] = field(default=(), compare=False)
    sync_hash: str = field(default="", compare=False)
    last_sync: str = field(default="", compare=False)

    @property
    def class_ref(self) -> ClassRef:
        """The class, which is in the same namespace."""
        return ClassRef(self.ref.namespace, self.class_name)

    def owner_reference(self) -> Object:
        """The entry in the Secret's ``metadata.ownerReferences``."""
        return {"apiVersion": GROUP_VERSION, "kind": KIND, "name": self.ref.name, "uid": self.uid}


def parse_secret_sync(document: Mapping[str, Any]) -> SecretSync:
    """An object that the CRD's schema accepts; fields that are absent are empty. All are kept in memory: only what the
    controller needs, and texts that many of them share once."""
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    secret = spec.get("secretObject") or {}
    data = secret.get("data") or ()
    return SecretSync(
        ref=SyncRef(intern(metadata["namespace"]), metadata["name"]),
        uid=metadata["uid"],
        generation=int(metadata.get("generation") or 0),
        class_name=intern(spec.get("secretProviderClassName") or ""),
        service_account=intern(spec.get("serviceAccountName") or ""),
        type=intern(secret.get("type") or "Opaque"),
        data=tuple((intern(item.get("targetKey") or ""), intern(item.get("sourcePath") or "")) for item in data),
        labels=dict(secret.get("labels") or {}) or NOTHING,
        annotations=dict(secret.get("annotations") or {}) or NOTHING,
        data_from=key_sources(secret),
        force=spec.get("forceSynchronization") or "",
        controller=intern(spec.get("secretSyncControllerName") or ""),
        conditions=tuple(map(_condition, status.get("conditions") or ())),
        sync_hash=status.get("syncHash") or "",
        last_sync=status.get("lastSuccessfulSyncTime") or "",
    )


def _condition(document: Mapping[str, Any]) -> Condition:
    return Condition(
        type=intern(document.get("type") or ""),
        status=intern(document.get("status") or ""),
        generation=int(document.get("observedGeneration") or 0),
        reason=intern(document.get("reason") or ""),
        message=intern(document.get("message") or ""),
        since=document.get("lastTransitionTime") or "",
    )
