"""All programs that have metrics, at work: a container before kubelet, a driver and a controller of SecretSyncs before
an API server, and a provider. Some of what they do fails, as it does on every node."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.kubelet import KubeletStub
from runtime.flags import Duration
from tests.container.test_whole import DRIVER, Container, pod
from tests.support.fake_api import FakeApi
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.rig import Rig, Volume
from tests.support.secret_sync_rig import FakeSecretSyncRig
from tests.support.waiting import until_blocking

ROOT = Path(__file__).resolve().parents[2]
ENTRY = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "password"}]}
# Kubelet republishes once a minute; here a minute takes this many seconds.
INTERVAL = 0.5


@dataclass
class World:
    """Where each program serves its metrics, and what it takes to keep them busy."""

    ports: dict[str, int]
    here: FakeSecretSyncRig
    driver: Rig
    volumes: list[Volume] = field(default_factory=list)

    def pages(self) -> dict[str, str]:
        """The metrics of each program now."""
        found = {name: fetch(port, "/metrics") for name, port in self.ports.items()}
        assert {status for status, _ in found.values()} == {200}, found
        return {name: page for name, (_, page) in found.items()}

    async def beat(self, number: int, most: int = 12) -> None:
        """What happens in about a minute: a pod comes, the oldest goes if there are too many, all are republished, and
        some have mistakes."""
        made = self.here.make_pod(f"web-{number}")
        volume = self.here.volume(self.driver, made)
        if len(self.volumes) >= most:
            await self.volumes.pop(1).unpublish()
        await volume.publish()
        self.volumes.append(volume)
        for each in self.volumes:
            await each.publish()
        await self._mistakes(number)
        self.here.make_sync(f"sync-{number % 5}", secret={"annotations": {"beat": str(number)}})

    async def _mistakes(self, number: int) -> None:
        """A class of which the provider refuses an object, one that does not exist, and a Secret without its file."""
        for class_name in ("refused", "missing", "no-file"):
            made = self.here.make_pod(f"{class_name}-{number}", volumes={"secrets": class_name})
            try:
                await self.here.volume(self.driver, made, class_name=class_name).publish(timeout=5)
            except grpc.aio.AioRpcError:
                continue
            await self.here.volume(self.driver, made, class_name=class_name).unpublish()

    async def break_a_refresh(self) -> None:
        """Publish a volume whose object then disappears from the store, so that its refresh fails."""
        self.driver.provider.put("short-lived", "x")
        made = self.here.make_pod("broken", volumes={"secrets": "broken"})
        volume = self.here.volume(self.driver, made, class_name="broken")
        await volume.publish()
        (self.driver.secrets_dir / "short-lived").unlink()
        self.volumes.insert(0, volume)


@asynccontextmanager
async def world(directory: Path) -> AsyncIterator[World]:
    """Everything, started and working; one volume cannot be refreshed."""
    async with AsyncExitStack() as stack:
        here = FakeSecretSyncRig(stack.enter_context(FakeApi()), _made(directory / "api"))
        here.prepare()
        here.make_class(secretObjects=[ENTRY])
        here.make_class("broken", parameters={"objects": "array:\n- |\n  objectName: short-lived\n"})
        here.make_class("refused", parameters={"objects": "- objectName: nothing"})
        here.make_class("no-file", secretObjects=[{**ENTRY, "data": [{"objectName": "nothing", "key": "password"}]}])
        ports = {name: free_port() for name in ("api-driver", "sync-controller", "provider")}
        driver = await stack.enter_async_context(
            here.driver(
                metrics_addr=f"127.0.0.1:{ports['api-driver']}",
                enable_secret_rotation=True,
                rotation_poll_interval=INTERVAL,
                sync_secrets=True,
            )
        )
        await stack.enter_async_context(here.provider())
        await stack.enter_async_context(
            here.controller(metrics_bind_address=f"127.0.0.1:{ports['sync-controller']}", leader_elect=False)
        )
        here.make_sync("fails", secret={"data": [{"sourcePath": "nothing", "targetKey": "pw"}]})
        container = await stack.enter_async_context(_container(_made(directory / "container"), ports["provider"]))
        ports |= {"driver": container.metrics_port, "probe": container.port}
        made = World(ports, here, driver)
        try:
            await made.break_a_refresh()
            yield made
        finally:
            for volume in made.volumes:
                await volume.unpublish()


@asynccontextmanager
async def _container(directory: Path, provider_port: int) -> AsyncIterator[Container]:
    """The three roles with a pod, and the stub as a process of its own that has metrics."""
    container = Container(directory)
    provider = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "provider_stub.main",
        f"--endpoint=unix://{directory}/providers/stub.sock",
        f"--secrets-dir={directory}/store",
        f"--metrics-addr=127.0.0.1:{provider_port}",
        cwd=ROOT,
    )
    try:
        config = KubeletConfig(root=f"{directory}/kubelet", republish_interval=Duration(1))
        async with KubeletStub(config) as kubelet:
            await kubelet.wait_registered(DRIVER)
            container.write_class("app", {"objects": "- objectName: password"})
            started = await kubelet.add_pod(pod("one", "app"))
            await kubelet.wait_mounted(started)
            await until_blocking(lambda: container.fetch("/readyz") == (200, "ok"), "the container to be ready")
            yield container
            await kubelet.delete_pod(started)
    finally:
        provider.terminate()
        await provider.wait()
        await asyncio.to_thread(container.kill)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def kinds(page: str) -> dict[str, str]:
    """The kind of each metric of a page, by name."""
    rows: list[Any] = [line.split() for line in page.splitlines() if line.startswith("# TYPE ")]
    return {row[2]: row[3] for row in rows}


def series(page: str) -> set[str]:
    """The names of all series of a page that have a value."""
    lines = [line for line in page.splitlines() if line and not line.startswith("#")]
    return {line.partition("{")[0].partition(" ")[0] for line in lines}
