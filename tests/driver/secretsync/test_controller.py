"""The controller with a provider of its own and an API server that breaks."""

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

import pytest

from driver.objects.secret_syncs import Object, SecretSync, SyncRef
from driver.ports import ClassListener, ClassRef, ProviderClass
from driver.providers.pool import ProviderPool
from driver.providers.sockets import ProviderSockets
from driver.secretsync.controller import Controller
from driver.secretsync.fetching import Identity
from driver.secretsync.metrics import SyncMetrics
from driver.secretsync.reconciler import Cluster, Reconciler
from driver.sync.parser.client import Parser
from driver.volume.memory import MemoryBudget
from driver.volume.workers import TENANT, DiskWorkers
from provider_stub.running import running
from runtime import redact
from runtime.errors import Failure, PermissionDenied
from runtime.log_formats import KlogFormatter
from tests.support.background import running as in_background
from tests.support.waiting import until

CONTENT, TOKEN = "content-canary-Rt72", "token-canary-Kd93mQ"
CANARIES = (CONTENT, TOKEN, base64.b64encode(CONTENT.encode()).decode())
SYNC = SecretSync(SyncRef("ns", "app"), "uid", 1, "app", "default", "Opaque", (("pw", "password"),))


class FailingCluster:
    """Everything that the reconciler asks; writing the Secret fails with what the test wants."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.told: list[str] = []
        self.tenant = ""

    async def get(self, *names: Any) -> Any:
        """The class, or the tokens of a service account."""
        if len(names) == 1:
            return ProviderClass(ClassRef("ns", "app"), "stub", {"objects": "- objectName: password"})
        redact.withhold(TOKEN.encode())
        return f'{{"vault":{{"token":"{TOKEN}"}}}}'

    def forget(self, class_ref: ClassRef) -> None:
        """Nothing."""

    def on_change(self, listener: ClassListener) -> None:
        """Nothing."""

    async def apply(self, secret: Object, *, first: bool) -> str:
        """Fail."""
        self.tenant = TENANT.get()
        self.told.append("asked")
        raise self.failure

    async def is_unchanged(self, ref: SyncRef, version: str) -> bool:
        """Never asked."""
        raise AssertionError

    async def write(self, ref: SyncRef, status: Object) -> None:
        """Keep what is written."""
        self.told.append(str(status))

    def send(self, sync: SecretSync, *, warning: bool, reason: str, message: str) -> None:
        """Keep what is sent."""
        self.told.append(message)


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError(f"cannot encode {CANARIES}"),
        TypeError(f"unexpected {{'data': {{'pw': '{CANARIES[2]}'}}}}"),
        ValueError(f"attributes {TOKEN}"),
        PermissionDenied(f"a webhook says {CANARIES}"),
        Failure(f"{CONTENT} {TOKEN}"),
    ],
)
def test_what_was_sent_is_not_logged(tmp_path: Path, failure: Exception) -> None:
    """Writing a Secret ends with a failure, or a bug, whose text quotes the token that was sent and what the provider
    replied → neither the log nor the condition nor the event has them, and the work was done on the namespace's
    behalf."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(KlogFormatter("").format(record))

    async def run() -> None:
        cluster, workers, parser = FailingCluster(failure), DiskWorkers(), Parser()
        pool = ProviderPool(ProviderSockets((str(tmp_path),)), workers, MemoryBudget(0), 2**22)
        ports: Any = cluster
        reconciler = Reconciler(Cluster(ports, ports, ports, ports, ports), pool, parser, Identity("pod", "uid"))
        controller = Controller(reconciler, pool, SyncMetrics(), 0.0)
        (tmp_path / "secrets").mkdir()
        async with running(tmp_path / "stub.sock", tmp_path / "secrets") as stub, in_background(controller.run()):
            stub.put("password", CONTENT)
            controller.listed([SYNC])
            await until(lambda: "asked" in cluster.told and (len(cluster.told) > 1 or lines), "the end of the sync")
        pool.close()
        workers.close()
        assert cluster.tenant == "ns"
        assert [canary for canary in CANARIES for text in (*cluster.told, *lines) if canary in text] == []

    handler = Handler(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        asyncio.run(run())
    finally:
        logging.getLogger().removeHandler(handler)
    assert bool(lines) == (not isinstance(failure, Failure))
