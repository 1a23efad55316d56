"""The registrar as a command: flags, exit codes, health and signals that scripts may depend on."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.events import Reason
from kubelet_stub.kubelet import KubeletStub
from registrar.config import GO_ONLY, RegistrarConfig
from runtime.flags import flags_of, format_value
from tests.support import unmeasured
from tests.support.fake_driver import NAME, driver_process
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.waiting import until_blocking, wait_until

# Flags and defaults of node-driver-registrar.
OF_THE_ORIGINAL = {
    "csi-address": "/run/csi/socket",
    "kubelet-registration-path": '""',
    "plugin-registration-path": "/registration",
    "timeout": "1s",
    "http-endpoint": '""',
    "health-port": "0",
    "mode": '""',
    "connection-timeout": "0s",
    "version": "false",
    "v": "0",
    "logging-format": "text",
}
WITHOUT_EFFECT = {
    "enable-pprof",
    "automaxprocs",
    "vmodule",
    "log-flush-frequency",
    "log-text-split-stream",
    "log-text-info-buffer-size",
    "log-json-split-stream",
    "log-json-info-buffer-size",
}
REQUIRED = "--kubelet-registration-path=/host/csi.sock"
NO_PROBE = ("--mode=kubelet-registration-probe",)  # ends with success when the flags are right


def test_flags_and_defaults() -> None:
    """Every flag of node-driver-registrar has its name and default; ours come in addition."""
    flags = {item.name: format_value(item.default) for item in flags_of(RegistrarConfig)}
    assert {name: flags[name] for name in OF_THE_ORIGINAL} == OF_THE_ORIGINAL
    assert set(flags) - set(OF_THE_ORIGINAL) == {"driver-gone-after", "status-directory"}
    assert {item.name for item in GO_ONLY} == WITHOUT_EFFECT


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "registrar.main", "--status-directory=", *argv]


@pytest.mark.parametrize(
    "argv, code, text",
    [
        ((), 1, "--kubelet-registration-path is required"),
        (("--mode=kubelet-registration-probe",), 1, "--kubelet-registration-path is required"),
        (("--mode=kubelet-registration-probe", REQUIRED), 0, "--mode is deprecated"),
        ((REQUIRED, "--http-endpoint=:1", "--health-port=1"), 1, "only one of --http-endpoint and --health-port"),
        ((REQUIRED, "--csi-address=tcp://x:1"), 1, "invalid CSI address"),
        ((REQUIRED, "--timeout=0"), 1, "--timeout"),
        ((REQUIRED, "--unknown"), 2, "flag provided but not defined: -unknown"),
        ((REQUIRED, *NO_PROBE, "--connection-timeout=5s"), 0, "--connection-timeout is deprecated"),
        ((REQUIRED, *NO_PROBE, "--health-port=1"), 0, "--health-port is deprecated"),
        ((REQUIRED, *NO_PROBE, "-enable-pprof"), 0, "--enable-pprof has no effect"),
        (
            (REQUIRED, *NO_PROBE, "--vmodule", "main=5", "-v", "2", "--logging-format=json"),
            0,
            "--vmodule has no effect",
        ),
        (("--version",), 0, ""),
        ((REQUIRED, "--health-port=70000"), 1, "--health-port"),
        ((REQUIRED, "--plugin-registration-path=here"), 1, "--plugin-registration-path"),
    ],
)
def test_command_lines(argv: tuple[str, ...], code: int, text: str) -> None:
    """A command line that ends at once → node-driver-registrar's exit code, one sentence, no traceback."""
    done = subprocess.run(command(*argv), capture_output=True, text=True, timeout=20)
    assert done.returncode == code, done.stderr
    assert text in done.stderr and "Traceback" not in done.stderr


def test_http_port_taken() -> None:
    """The health port is in use → exit code 1 and a sentence that names the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            command(REQUIRED, f"--http-endpoint=127.0.0.1:{taken.getsockname()[1]}"),
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr


class RegistrarProcess:
    """A registrar process with its directories and its health port; a driver can be started beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.csi = directory / "csi.sock"
        self.registry = directory / "kubelet" / "plugins_registry"
        self.registry.mkdir(parents=True)
        self.socket = self.registry / f"{NAME}-reg.sock"
        self.port = free_port()
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command(
                    f"--csi-address={self.csi}",
                    f"--kubelet-registration-path={self.csi}",
                    "--driver-gone-after=1s",
                    f"--plugin-registration-path={self.registry}",
                    f"--http-endpoint=127.0.0.1:{self.port}",
                ),
                stderr=log,
                env=unmeasured.environment(),  # most tests kill it
            )

    def healthz(self, path: str = "/healthz") -> tuple[int, str]:
        """Status code and body of /healthz; code 0 while nothing listens."""
        return fetch(self.port, path, timeout=5)

    def driver(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """A driver as a process of its own."""
        return driver_process(self.csi)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RegistrarProcess]:
    """A registrar; no driver runs yet."""
    made = RegistrarProcess(tmp_path)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


async def register(running: RegistrarProcess) -> None:
    """Run a kubelet until it has registered the driver."""
    async with KubeletStub(KubeletConfig(root=str(running.directory / "kubelet"))) as kubelet:
        await kubelet.events.wait(Reason.REGISTERED)  # after its notification


def test_health(running: RegistrarProcess) -> None:
    """No socket → 404 with node-driver-registrar's text; served but not confirmed → 200 with a note; registered → 200
    ok; other paths → 404."""
    wait_until(lambda: running.healthz() == (404, "registration socket does not exist"), "a 404")
    with running.driver():
        wait_until(lambda: running.healthz() == (200, "ok (waiting for kubelet)"), "the state 'waiting for kubelet'")
        asyncio.run(register(running))
        wait_until(lambda: running.healthz() == (200, "ok"), "ok")
        assert running.healthz("/metrics")[0] == 404
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
    assert not running.socket.exists()


def test_health_of_a_refused_registration(running: RegistrarProcess) -> None:
    """kubelet refuses the registration → 500 with kubelet's text."""

    async def refuse() -> None:
        config = KubeletConfig(root=str(running.directory / "kubelet"), refuse_registration="no such plugin here")
        async with KubeletStub(config):
            await until_blocking(lambda: "no such plugin here" in running.healthz()[1], "the refusal")

    with running.driver():
        wait_until(running.socket.exists, "the socket")
        asyncio.run(refuse())
        assert running.healthz()[0] in (404, 500)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_socket_goes_with_the_process(running: RegistrarProcess, ending: signal.Signals) -> None:
    """SIGTERM or SIGINT → exit code 0 and the socket is gone; node-driver-registrar leaves it behind on SIGINT."""
    with running.driver():
        wait_until(running.socket.exists, "the socket")
        running.process.send_signal(ending)
        assert running.process.wait(10) == 0
    assert os.listdir(running.registry) == []


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A killed registrar left its socket → the next one replaces it and the driver is registered."""
    stale = tmp_path / "kubelet" / "plugins_registry" / f"{NAME}-reg.sock"
    made = RegistrarProcess(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(stale))
        with made.driver():
            asyncio.run(asyncio.wait_for(register(made), 10))
    finally:
        made.process.kill()
        made.process.wait()


def test_frozen_driver(running: RegistrarProcess) -> None:
    """The driver stops answering (SIGSTOP) → the socket is removed and one log line says why; it goes on (SIGCONT) →
    the socket is back."""
    with running.driver() as driver:
        wait_until(running.csi.exists, "the driver")
        wait_until(running.socket.exists, "the socket")
        driver.send_signal(signal.SIGSTOP)
        wait_until(lambda: not running.socket.exists(), "the socket to be removed", 15)
        driver.send_signal(signal.SIGCONT)
        wait_until(running.socket.exists, "the socket again")
    lines = (running.directory / "log").read_text()
    assert len(re.findall("The driver is gone", lines)) == 1


def test_json_logs(tmp_path: Path) -> None:
    """``--logging-format=json`` → JSON lines that name the process."""
    process = subprocess.Popen(
        command(
            REQUIRED,
            f"--csi-address={tmp_path}/csi.sock",
            f"--plugin-registration-path={tmp_path}",
            "--logging-format=json",
        ),
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        line = json.loads(process.stderr.readline())
        process.terminate()
        assert process.wait(10) == 0
    assert line["process"] == "registrar"


def test_version() -> None:
    """``--version`` prints ``<argv0> <version>``, as node-driver-registrar does."""
    done = subprocess.run(command("--version"), capture_output=True, text=True, timeout=20)
    assert re.fullmatch(r"\S*registrar/main\.py \S+\n", done.stdout), done.stdout
