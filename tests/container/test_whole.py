"""The whole container, three roles under supervisord: what kubelet, Prometheus and people see of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.events import Reason
from kubelet_stub.kubelet import KubeletStub
from provider_stub.running import running
from runtime.flags import Duration
from tests.support.http_client import fetch
from tests.support.mounts import bind, unmount_below
from tests.support.ports import free_port
from tests.support.waiting import wait_until

DRIVER = "secrets-store.csi.k8s.io"
SECRET = "s3cret-content-that-nobody-shows"


class Container:
    """A running container with its directories."""

    def __init__(self, directory: Path, *argv: str) -> None:
        self.directory = directory
        self.port, self.metrics_port, self.status_port = free_port(), free_port(), free_port()
        for name in ("kubelet/pods", "kubelet/plugins_registry", "providers", "store", "manifests"):
            (directory / name).mkdir(parents=True)
        (directory / "store" / "password").write_text(SECRET)
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "container.start",
                    f"--endpoint=unix://{directory}/csi.sock",
                    "--nodeid=node-1",
                    f"--manifests={directory}/manifests",
                    f"--provider-volume={directory}/providers",
                    "--additional-provider-volume-paths=",
                    f"--kubelet-pods-dir={directory}/kubelet/pods",
                    f"--metrics-addr=127.0.0.1:{self.metrics_port}",
                    f"--status-directory={directory}/status",
                    f"--kubelet-registration-path={directory}/csi.sock",
                    f"--plugin-registration-path={directory}/kubelet/plugins_registry",
                    f"--probe-http-endpoint=127.0.0.1:{self.port}",
                    f"--status-endpoint=127.0.0.1:{self.status_port}",
                    *argv,
                ],
                stderr=log,
            )

    def fetch(self, path: str) -> tuple[int, str]:
        """Status code and body of a page of the probe; code 0 while nothing listens."""
        return fetch(self.status_port if path in ("/", "/status") else self.port, path, timeout=5)

    def roles(self) -> dict[str, psutil.Process]:
        """The processes of the three roles, by name."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it died while we looked
                found[child.name()] = child
        return found

    def kill(self) -> None:
        """Kill it, unless it has ended; its roles end with the supervisor, and remove their sockets until then."""
        if self.process.poll() is None:
            roles = psutil.Process(self.process.pid).children()
            self.process.kill()
            self.process.wait()
            psutil.wait_procs(roles, timeout=10)

    def write_class(self, name: str, parameters: dict[str, str]) -> None:
        """Write the manifest of a class of the stub provider."""
        (self.directory / "manifests" / f"{name}.yaml").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "secrets-store.csi.x-k8s.io/v1",
                    "kind": "SecretProviderClass",
                    "metadata": {"name": name, "namespace": "default"},
                    "spec": {"provider": "stub", "parameters": parameters},
                }
            )
        )


@contextmanager
def started(directory: Path, *argv: str) -> Iterator[Container]:
    """A container, killed at the end if it still runs."""
    made = Container(directory, *argv)
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A healthy container, killed at the end if it still runs."""
    with started(tmp_path) as made:
        wait_until(lambda: made.fetch("/healthz") == (200, "ok"), "healthz")
        yield made


def pod(name: str, class_name: str) -> dict[str, Any]:
    """A pod with one volume."""
    csi = {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"secretProviderClass": class_name}}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {"volumes": [{"name": "secrets", "csi": csi}]},
    }


def test_readyz_and_status(container: Container) -> None:
    """No kubelet and no provider → /readyz is 503 with both reasons; both are there → 200 ok, and the pages show
    volumes, registration and processes, but no secrets."""

    async def run() -> None:
        reasons = ["registrar: waiting for kubelet", "no provider is installed"]
        await asyncio.to_thread(
            wait_until, lambda: all(reason in container.fetch("/readyz")[1] for reason in reasons), "the reasons"
        )
        assert container.fetch("/readyz")[0] == 503
        assert container.fetch("/readyz?exclude=providers") == (503, "registrar: waiting for kubelet")
        assert container.fetch("/livez") == (200, "ok")
        config = KubeletConfig(root=f"{container.directory}/kubelet", republish_interval=Duration(0))
        async with (
            running(container.directory / "providers" / "stub.sock", container.directory / "store"),
            KubeletStub(config) as kubelet,
        ):
            await kubelet.wait_registered(DRIVER)
            await asyncio.to_thread(wait_until, lambda: container.fetch("/readyz") == (200, "ok"), "readyz")
            container.write_class("app", {"objects": "- objectName: password", "roleName": "r0le-name"})
            started = await kubelet.add_pod(pod("one", "app"))
            await kubelet.wait_mounted(started)
            status = json.loads((await asyncio.to_thread(container.fetch, "/status"))[1])
            assert status["not_ready"] == [] and status["registrar"]["state"] == "registered"
            assert [(v["pod"], v["class"]) for v in status["driver"]["volumes"]] == [("default/one", "default/app")]
            assert {item["role"] for item in status["processes"]} == {"driver", "registrar", "probe", "supervisor"}
            roles = [item for item in status["processes"] if item["role"] != "supervisor"]  # which measures later
            assert all(0 < item["proportional_bytes"] < item["resident_bytes"] for item in roles)
            pages = [
                (await asyncio.to_thread(container.fetch, path))[1] for path in ("/", "/status", "/metrics", "/readyz")
            ]
            assert "default/one" in pages[0] and "registered" in pages[0]
            assert (
                'process_resident_memory_bytes{role="driver"}' in pages[2]
                and "secrets_store_registered 1.0" in pages[2]
            )
            for page in pages:
                assert SECRET not in page and "r0le-name" not in page
            await kubelet.delete_pod(started)

    asyncio.run(run())


def test_the_csi_socket_is_removed(container: Container) -> None:
    """Somebody removes the CSI socket, twice → the next pod gets its volume, no role is restarted for that, the driver
    is not registered anew, and /healthz is good again."""

    async def run() -> None:
        config = KubeletConfig(root=f"{container.directory}/kubelet", republish_interval=Duration(0))
        container.write_class("app", {"objects": "- objectName: password"})
        async with (
            running(container.directory / "providers" / "stub.sock", container.directory / "store"),
            KubeletStub(config) as kubelet,
        ):
            await kubelet.wait_registered(DRIVER)
            before = {name: process.pid for name, process in container.roles().items()}
            for name in ("one", "two"):
                (container.directory / "csi.sock").unlink()
                started = await kubelet.add_pod(pod(name, "app"))
                await kubelet.wait_mounted(started)
                await asyncio.to_thread(wait_until, lambda: container.fetch("/healthz") == (200, "ok"), "healthz")
                await kubelet.delete_pod(started)
            assert {name: process.pid for name, process in container.roles().items()} == before
            assert len(kubelet.events.of(Reason.REGISTERED)) == 1

    asyncio.run(run())


def test_a_killed_role_is_counted(container: Container) -> None:
    """kill -9 of the driver → it is restarted, and /metrics and /status count the restart."""
    container.roles()["driver"].kill()
    wait_until(
        lambda: 'secrets_store_role_restarts_total{role="driver"} 1.0' in container.fetch("/metrics")[1], "the restart"
    )
    wait_until(lambda: container.fetch("/healthz") == (200, "ok"), "healthz")
    (driver,) = (item for item in json.loads(container.fetch("/status")[1])["processes"] if item["role"] == "driver")
    assert (driver["restarts"], driver["last_exit"]) == (1, -9)


def test_frozen_driver(container: Container) -> None:
    """The driver hangs → /healthz is 500, so that kubelet restarts the container; the other pages still answer."""
    driver = container.roles()["driver"]
    driver.suspend()
    try:
        assert container.fetch("/healthz")[0] == 500
        assert container.fetch("/livez") == (200, "ok")
        assert json.loads(container.fetch("/status")[1])["driver"] is None
    finally:
        driver.resume()
    wait_until(lambda: container.fetch("/healthz") == (200, "ok"), "healthz")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_shutdown(container: Container, ending: signal.Signals) -> None:
    """SIGTERM or SIGINT → all three roles end, exit code 0, no socket is left."""
    wait_until(lambda: os.listdir(container.directory / "kubelet" / "plugins_registry"), "the registration socket")
    container.process.send_signal(ending)
    assert container.process.wait(20) == 0
    assert os.listdir(container.directory / "kubelet" / "plugins_registry") == []
    assert not (container.directory / "csi.sock").exists()
    assert os.listdir(container.directory / "status") == []


def test_a_role_that_cannot_start(tmp_path: Path) -> None:
    """The metrics port is in use → the driver is started a few times, then the container ends with exit code 1 and the
    reason."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with started(tmp_path, f"--metrics-addr=127.0.0.1:{taken.getsockname()[1]}") as made:
            assert made.process.wait(40) == 1
    log = (tmp_path / "log").read_text()
    assert "[driver] " in log and "cannot listen on 127.0.0.1" in log
    assert "driver could not be kept running (exit code 1)" in log


def test_registry_deleted_on_the_node(container: Container) -> None:
    """kubelet's registry is deleted on the node, which leaves a dead inode in the container that a restarted role would
    find again → the container ends with exit code 1 and the reason, so that kubelet mounts the new directory."""
    original, ours = container.directory / "original", container.directory / "kubelet" / "plugins_registry"
    original.mkdir()
    bind(original, ours)
    try:
        wait_until(
            lambda: os.listdir(ours), "the registration socket, in the directory that was mounted over the first"
        )
        for path in original.iterdir():
            path.unlink()
        original.rmdir()
        assert container.process.wait(40) == 1
    finally:
        unmount_below(ours)
    log = (container.directory / "log").read_text()
    assert f"{ours} was deleted on the node" in log
    assert "registrar could not be kept running (exit code 1)" in log


def test_json_logs(tmp_path: Path) -> None:
    """--log-format-json → every line of every process is JSON and names its process."""
    with started(tmp_path, "--log-format-json") as made:
        wait_until(lambda: made.fetch("/healthz") == (200, "ok"), "healthz")
        made.roles()["driver"].kill()
        wait_until(lambda: made.fetch("/healthz") == (200, "ok"), "healthz")
        made.process.terminate()
        assert made.process.wait(20) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {line["process"] for line in lines} == {"driver", "registrar", "probe", "supervisor"}
