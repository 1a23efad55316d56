"""The node of the storm: its directories, an API server, a provider, the container, and kubelet."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kubelet_stub.config import Config
from kubelet_stub.events import Event, Reason
from kubelet_stub.kubelet import KubeletStub
from runtime.flags import Duration
from tests.faults.storm import container, content, launcher
from tests.faults.storm.api_server import ApiServer, FakeServer
from tests.faults.storm.kinds import KINDS
from tests.faults.storm.output import Output
from tests.faults.storm.provider import NAME as PROVIDER
from tests.faults.storm.services import Object, Service
from tests.faults.storm.shared import Shared
from tests.support.mounts import bind, mount_small_tmpfs, share, unmount_below
from tests.support.ports import free_port

DRIVER = "secrets-store.csi.k8s.io"
NODE = "node-1"
NAMESPACE = "default"
CLASSES_PATH = f"/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{NAMESPACE}/secretproviderclasses"
STATUSES_PATH = f"/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{NAMESPACE}/secretproviderclasspodstatuses"
CORE_PATH = f"/api/v1/namespaces/{NAMESPACE}"
PUBLISH_SECONDS = 5.0
TMP_BYTES = 4_000_000
PULL_SECRET = "publish-secret"
_NOTED = (Reason.REGISTERED, Reason.REGISTRATION_FAILED, Reason.DEREGISTERED, Reason.LEAKED)


@dataclass
class World:
    """Everything that the storm strikes.

    ``server`` makes the API server, by default a fake one. ``violations`` are the invariants that did not hold,
    ``journal`` is what happened, with the seconds since the start.
    """

    directory: Path
    seed: int
    server: "Callable[[World], ApiServer] | None" = None
    violations: list[str] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    generation: int = 1

    def __post_init__(self) -> None:
        self.host, self.inner = self.directory / "host", self.directory / "c"
        self.canary = f"{content.CANARY}-{secrets.token_hex(12)}"
        self.credential = f"CREDENTIAL-{secrets.token_hex(12)}"
        self.counts = Shared(self.directory / "counts", list(KINDS))
        self.clock = Shared(self.directory / "memory", launcher.NAMES)
        forbidden = [*content.encodings(self.canary), *content.encodings(self.credential)]
        self.forbidden = forbidden
        self.pods_dir = self.host / "pods"
        self.providers_dir = self.host / "providers"
        self.csi_dir = self.host / "plugins" / "csi"
        self.registry_dir = self.host / "plugins_registry"
        self.tmp = self.inner / "tmp"
        self.vault = self.directory / "vault"
        for path in (self.pods_dir, self.registry_dir, self.providers_dir, self.tmp, self.vault):
            path.mkdir(parents=True)
        self.port, self.status_port, self.metrics_port = free_port(), free_port(), free_port()
        counts = self.directory / "counts"
        self.api = self.server(self) if self.server is not None else FakeServer(self.vault, counts, self.complain)
        self.admin = self.api.admin
        self.provider = Service(
            "tests.faults.storm.provider",
            [
                f"--endpoint=unix://{self.providers_dir}/{PROVIDER}.sock",
                f"--canary={self.canary}",
                f"--generation={self.vault}/generation",
                f"--orders={self.vault}/orders",
                f"--counts={self.directory}/counts",
            ],
            Output("the provider", forbidden, self.complain),
            before=lambda: self.providers_dir.mkdir(exist_ok=True),
        )
        self.container = container.Container(
            self.inner,
            self.directory / "memory",
            [
                (self.csi_dir, self.inner / "csi"),
                (self.registry_dir, self.inner / "registration"),
                (self.providers_dir, self.inner / "providers"),
                (self.pods_dir, self.pods_dir),
            ],
            [
                *container.fixed_flags(self.inner, NODE),
                f"--kubeconfig={self.api.kubeconfig}",
                f"--kubelet-pods-dir={self.pods_dir}",
                f"--metrics-addr=127.0.0.1:{self.metrics_port}",
                f"--kubelet-registration-path={self.csi_dir}/csi.sock",
                f"--probe-http-endpoint=127.0.0.1:{self.port}",
                f"--status-endpoint=127.0.0.1:{self.status_port}",
            ],
            self.port,
            Output("the container", forbidden, self.complain),
            self.note,
        )
        self.kubelet: KubeletStub

    def complain(self, what: str) -> None:
        """An invariant did not hold."""
        if what not in self.violations:
            self.violations.append(what)
            self.note(f"VIOLATION {what}")

    def note(self, what: str) -> None:
        """Write something down in the journal."""
        self.journal.append(f"{time.monotonic() - self.started:8.2f} {what}")

    def on_event(self, event: Event) -> None:
        """Write down kubelet's events that are rare."""
        if event.reason in _NOTED:
            self.note(f"kubelet: {event.reason.value} {event.subject} {event.volume} {event.message}")

    def next_generation(self) -> int:
        """Rotate all secrets; returns the new generation."""
        self.generation += 1
        self.write("generation", str(self.generation))
        return self.generation

    def write(self, name: str, text: str) -> None:
        """Replace a file of the vault."""
        draft = self.vault / f".{name}"
        draft.write_text(text)
        draft.replace(self.vault / name)

    async def make_class(self, name: str, **parameters: str) -> None:
        """Create or replace a class."""
        path = f"{CLASSES_PATH}/{name}"
        spec: Object = {"provider": PROVIDER, "parameters": {"content": name, "edit": None, **parameters}}
        if name == "synced":
            data = [{"objectName": item, "key": item} for item in content.CLASSES[name]]
            spec["secretObjects"] = [{"secretName": content.SYNCED_SECRET, "type": "Opaque", "data": data}]
        body: Object = {
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClass",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        if not await self.admin.call("PATCH", path, body, accepted=(404,)):
            if spec["parameters"]["edit"] is None:
                del spec["parameters"]["edit"]
            await self.admin.call("POST", CLASSES_PATH, body, accepted=(409,))

    def kubelet_config(self) -> Config:
        """kubelet's, at a faster pace."""
        return Config(
            root=str(self.host),
            node_name=NODE,
            publish_timeout=Duration(PUBLISH_SECONDS),
            republish_interval=Duration(0.5),
            stats_interval=Duration(2.0),
            plugin_poll_interval=Duration(1.0),
            backoff_base=Duration(0.1),
            backoff_cap=Duration(1.0),
            token_audiences=("storm",),
        )


@asynccontextmanager
async def world(directory: Path, seed: int, server: Callable[[World], ApiServer] | None = None) -> AsyncIterator[World]:
    """A running world; at the end all its processes are killed, and nothing stays mounted."""
    async with AsyncExitStack() as stack:
        stack.callback(unmount_below, directory)
        made = World(directory, seed, server)
        made.write("generation", "1")
        mount_small_tmpfs(made.tmp, TMP_BYTES)
        bind(made.pods_dir, made.pods_dir)
        share(made.pods_dir)
        for process in (made.container, made.provider, made.api):
            stack.callback(process.kill)
        tasks = [asyncio.create_task(process.keep()) for process in (made.api, made.provider, made.container)]

        async def cancel() -> None:
            for task in tasks:
                task.cancel()
            for process in (made.container, made.provider, made.api):
                process.kill()
            await asyncio.gather(*tasks, return_exceptions=True)

        stack.push_async_callback(cancel)
        for name in content.CLASSES:
            await made.make_class(name)
        made.kubelet = await stack.enter_async_context(KubeletStub(made.kubelet_config(), made.on_event))
        made.kubelet.add_secret(
            {"metadata": {"name": PULL_SECRET, "namespace": NAMESPACE}, "stringData": {"password": made.credential}}
        )
        async with asyncio.timeout(60):
            await made.kubelet.wait_registered(DRIVER)
        yield made
