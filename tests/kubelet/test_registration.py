"""The registrar alone with a real kubelet: the handshake, and what it recovers from."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.kubelet.node import NAME as NODE
from tests.kubelet.node import Node
from tests.support.fake_driver import NAME, driver_process
from tests.support.files import NOTHING, inode
from tests.support.http_client import fetch
from tests.support.ports import free_port

DRIVER_GONE_AFTER = 5


class Plugin:
    """A registrar and a driver as processes on the node, like two containers with hostPath volumes."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.home = node.kubelet_dir / "plugins" / "toy"
        self.home.mkdir(parents=True, exist_ok=True)
        self.csi, self.log, self.port = self.home / "csi.sock", node.directory / "registrar.log", free_port()
        self.registry = node.kubelet_dir / "plugins_registry"
        self.socket = self.registry / f"{NAME}-reg.sock"

    @contextmanager
    def registrar(self, socket: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run a registrar that gives kubelet ``socket`` as the driver's."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "registrar.main",
                    f"--csi-address={self.csi}",
                    "--status-directory=",
                    f"--kubelet-registration-path={socket}",
                    f"--plugin-registration-path={self.registry}",
                    f"--driver-gone-after={DRIVER_GONE_AFTER}s",
                    f"--http-endpoint=127.0.0.1:{self.port}",
                    "-v=5",
                ],
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def driver(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """A driver as a process of its own."""
        return driver_process(self.csi)

    @contextmanager
    def next_driver(self) -> Iterator[subprocess.Popen[bytes]]:
        """Another one, which listens elsewhere until ``take_over``: a program's start may take longer than the driver
        may be gone."""
        with driver_process(self.home / "next.sock") as process:
            self.node.until((self.home / "next.sock").exists, "the next driver")
            yield process

    def take_over(self) -> None:
        """Let the next driver listen at the driver's path."""
        (self.home / "next.sock").replace(self.csi)

    def healthz(self) -> tuple[int, str]:
        """Status code and body of the registrar's /healthz; code 0 while it does not listen."""
        return fetch(self.port, timeout=5)

    def notifications(self) -> int:
        """How often kubelet has called NotifyRegistrationStatus; at this verbosity the registrar logs each call."""
        method = "/pluginregistration.Registration/NotifyRegistrationStatus"
        return self.log.read_text().count(f'"response" method="{method}"')

    def listed(self) -> bool:
        """Whether the node's CSINode lists the driver."""
        found = self.node.cluster.api.find(f"/apis/storage.k8s.io/v1/csinodes/{NODE}") or {}
        return NAME in [item["name"] for item in found.get("spec", {}).get("drivers") or ()]

    def until_registered(self) -> None:
        """Wait until the registrar and CSINode agree that the driver is registered."""
        self.node.until(lambda: self.healthz() == (200, "ok") and self.listed(), "the driver to be registered", 120)

    def until_unlisted(self) -> None:
        """Wait until kubelet has deregistered the driver."""
        self.node.until(lambda: not self.listed(), "the driver to leave CSINode")


@pytest.fixture
def plugin(node: Node) -> Iterator[Plugin]:
    """Nothing runs yet; at the end CSINode does not list the driver."""
    made = Plugin(node)
    yield made
    made.socket.unlink(missing_ok=True)
    made.until_unlisted()


def test_recovery(plugin: Plugin) -> None:
    """A late driver, a deleted socket, a quick driver restart, a kubelet restart, a frozen driver and the end → kubelet
    registers and deregisters the driver accordingly, and does not notice a short absence."""
    with plugin.registrar(plugin.csi) as registrar, ExitStack() as stack:
        plugin.node.until(lambda: plugin.healthz()[0] == 404, "the registrar to wait for the driver")
        with plugin.driver():
            plugin.until_registered()
            before = inode(plugin.socket)
            plugin.socket.unlink()
            plugin.node.until(lambda: inode(plugin.socket) not in (NOTHING, before), "the socket to be recreated")
            plugin.until_registered()
            before = inode(plugin.socket)
            driver = stack.enter_context(plugin.next_driver())
        plugin.take_over()
        notifications = plugin.notifications()
        plugin.node.kubelet.kill()
        plugin.node.kubelet.start()
        plugin.node.until(lambda: plugin.notifications() > notifications, "the new kubelet's notification")
        plugin.until_registered()
        assert inode(plugin.socket) == before
        driver.send_signal(signal.SIGSTOP)
        plugin.until_unlisted()
        assert not plugin.socket.exists()
        driver.send_signal(signal.SIGCONT)
        plugin.until_registered()
        registrar.send_signal(signal.SIGTERM)
        assert registrar.wait(20) == 0
        plugin.until_unlisted()


def test_refusal(plugin: Plugin) -> None:
    """kubelet does not find the driver's socket at the given path → it refuses, its text is logged once; the socket is
    there → registered."""
    socket = plugin.home / "elsewhere.sock"
    with plugin.driver(), plugin.registrar(socket) as registrar:
        plugin.node.until(lambda: "kubelet refused the registration: " in plugin.healthz()[1], "the refusal", 120)
        code, text = plugin.healthz()
        assert code in (200, 500) and str(socket) in text, text
        socket.symlink_to(plugin.csi)
        plugin.until_registered()
        registrar.terminate()
        assert registrar.wait(20) == 0
    lines = [line for line in plugin.log.read_text().splitlines() if "Kubelet refused the registration" in line]
    assert len(lines) == len({line.partition('"')[2] for line in lines}), json.dumps(lines, indent=1)
