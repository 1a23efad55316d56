"""The controller of SecretSyncs with a real API server, an account with its rights, and a provider."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from driver.secretsync.config import SyncConfig
from driver.secretsync.server import SyncServer
from provider_stub.running import RunningStub, running
from tests.cluster.api import Api, Object
from tests.cluster.rig import grant
from tests.cluster.servers import ControlPlane
from tests.support.background import running as in_background
from tests.support.namespace_rig import CLASS_GROUP, NamespaceRig
from tests.support.syncing import values
from tests.support.waiting import until_blocking

ACCOUNT = "secrets-store-sync-controller-manager"  # as in the chart, whose policies limit it
SYNC_GROUP = "secret-sync.x-k8s.io"
KEYS = [{"sourcePath": "password", "targetKey": "pw"}]

RULES: list[Object] = [
    {"apiGroups": [CLASS_GROUP], "resources": ["secretproviderclasses"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    {"apiGroups": [SYNC_GROUP], "resources": ["secretsyncs"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [SYNC_GROUP], "resources": ["secretsyncs/status"], "verbs": ["get", "patch", "update"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]


class SecretSyncRig(NamespaceRig):
    """A namespace of the cluster, with a class ``app`` and a service account ``default``."""

    def __init__(self, cluster: ControlPlane, namespace: str, directory: Path, account: str = ACCOUNT) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.directory = directory
        self.account = account
        self.user = grant(cluster, namespace, RULES, account)
        self.provider_dir = directory / "provider"
        self.secrets_dir = directory / "secrets"
        self.provider_dir.mkdir()
        self.secrets_dir.mkdir()

    @property
    def api(self) -> Api:
        """As administrator."""
        return self.cluster.api

    def config(self, **changes: Any) -> SyncConfig:
        """The flags of a replica."""
        kubeconfig = self.directory / f"kubeconfig-{uuid.uuid4().hex[:6]}"
        settings: dict[str, Any] = {
            "kubeconfig": str(self.cluster.token_kubeconfig(kubeconfig, self.namespace, self.account)),
            "provider_volume": str(self.provider_dir),
            "metrics_bind_address": "0",
            "health_probe_bind_address": "0",
            "leader_election_namespace": self.namespace,
            "controller_name": self.namespace,  # those of other tests are in the cluster too
        }
        return SyncConfig(**{**settings, **changes})

    def make_sync(self, name: str = "app", **spec: Any) -> Object:
        """A SecretSync, applied; keyword arguments change its specification, ``secret`` its secretObject."""
        secret = {"type": "Opaque", "data": KEYS, **spec.pop("secret", {})}
        return self.api.apply(
            {
                "apiVersion": f"{SYNC_GROUP}/v1alpha1",
                "kind": "SecretSync",
                "metadata": {"namespace": self.namespace, "name": name},
                "spec": {
                    "secretProviderClassName": "app",
                    "serviceAccountName": "default",
                    "secretSyncControllerName": self.namespace,
                    "secretObject": secret,
                    **spec,
                },
            }
        )

    def sync_path(self, name: str = "app") -> str:
        """The path of a SecretSync."""
        return f"/apis/{SYNC_GROUP}/v1alpha1/namespaces/{self.namespace}/secretsyncs/{name}"

    def condition(self, kind: str, name: str = "app") -> Object:
        """A condition of a SecretSync; empty if it is not there."""
        found = (self.api.get(self.sync_path(name)).get("status") or {}).get("conditions") or ()
        return next((item for item in found if item["type"] == kind), {})

    async def until_condition(self, kind: str, reason: str, name: str = "app") -> Object:
        """Wait for a condition with a reason."""

        def there() -> Object | None:
            found = self.condition(kind, name)
            return found if found.get("reason") == reason else None

        return await until_blocking(there, lambda: f"{kind} {reason}, not {self.api.get(self.sync_path(name))}") or {}

    async def until_secret(self, data: dict[str, bytes], name: str = "app", seconds: float = 30.0) -> Object:
        """Wait for a Secret with this data."""

        def there() -> Object | None:
            found = self.secret(name)
            return found if found is not None and values(found) == data else None

        return await until_blocking(there, f"Secret {name}", seconds) or {}

    def count(self, since: int) -> Counter[tuple[str, str]]:
        """The controller's calls since a mark by verb and resource."""
        return self.cluster.audit.count(since, self.user)

    @asynccontextmanager
    async def provider(self, name: str = "stub") -> AsyncIterator[RunningStub]:
        """The stub, with one secret."""
        async with running(self.provider_dir / f"{name}.sock", self.secrets_dir) as stub:
            stub.put("password", "s3cret")
            yield stub

    @asynccontextmanager
    async def controller(self, **changes: Any) -> AsyncIterator[SyncServer]:
        """One replica."""
        server = SyncServer(self.config(**changes))
        async with in_background(server.serve(asyncio.Event())):
            yield server
