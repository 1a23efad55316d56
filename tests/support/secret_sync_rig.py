"""A namespace with SecretSyncs, before an API server that is real or fake, and their controller."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from driver.secretsync.config import SyncConfig
from driver.secretsync.server import SyncServer
from provider_stub.running import RunningStub, running
from tests.support.background import running as in_background
from tests.support.fake_api_rig import FakeApiRig
from tests.support.namespace_rig import NamespaceRig, Object
from tests.support.syncing import values
from tests.support.waiting import until_blocking

SYNC_GROUP = "secret-sync.x-k8s.io"
KEYS = [{"sourcePath": "password", "targetKey": "pw"}]


class SecretSyncRigBase(NamespaceRig):
    """A class ``app``, SecretSyncs, a provider and the controller."""

    provider_dir: Path
    secrets_dir: Path

    def prepare(self) -> None:
        """Make the provider's directories."""
        self.provider_dir, self.secrets_dir = self.directory / "provider", self.directory / "secrets"
        self.provider_dir.mkdir()
        self.secrets_dir.mkdir()

    def controllers_kubeconfig(self, path: Path) -> str:
        """Write a kubeconfig of the controller's account."""
        raise NotImplementedError

    def config(self, **changes: Any) -> SyncConfig:
        """The flags of a replica."""
        settings: dict[str, Any] = {
            "kubeconfig": self.controllers_kubeconfig(self.directory / f"kubeconfig-{uuid.uuid4().hex[:6]}"),
            "provider_volume": str(self.provider_dir),
            "metrics_bind_address": "0",
            "health_probe_bind_address": "0",
            "leader_election_namespace": self.namespace,
            "controller_name": self.namespace,  # those of other tests may be in the cluster too
        }
        return SyncConfig(**{**settings, **changes})

    def make_sync(self, name: str = "app", **spec: Any) -> Object:
        """A SecretSync, applied; keyword arguments change its specification, ``secret`` its secretObject."""
        return self.api.apply(self.sync_object(name, **spec))

    def sync_object(self, name: str, **spec: Any) -> Object:
        """What ``make_sync`` applies."""
        secret = {"type": "Opaque", "data": KEYS, **spec.pop("secret", {})}
        return {
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

    def sync_path(self, name: str = "app") -> str:
        """The path of a SecretSync."""
        return f"/apis/{SYNC_GROUP}/v1alpha1/namespaces/{self.namespace}/secretsyncs/{name}"

    def status(self, name: str = "app") -> Object:
        """The status of a SecretSync; empty if there is none."""
        return self.api.get(self.sync_path(name)).get("status") or {}

    def condition(self, kind: str, name: str = "app") -> Object:
        """A condition of a SecretSync; empty if it is not there."""
        return next((item for item in self.status(name).get("conditions") or () if item["type"] == kind), {})

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


class FakeSecretSyncRig(FakeApiRig, SecretSyncRigBase):
    """Before a fake API server."""

    def controllers_kubeconfig(self, path: Path) -> str:
        """Write a kubeconfig."""
        return self.server.kubeconfig(path)

    def sync_object(self, name: str, **spec: Any) -> Object:
        """With its status: the fake API server would replace it."""
        status = (self.api.find(self.sync_path(name)) or {}).get("status")
        return {**super().sync_object(name, **spec), **({} if status is None else {"status": status})}
