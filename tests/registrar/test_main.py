"""The registrar as a command: every row of spec C.1, C.2 and C.4 that a person's script can depend on."""

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
from tests.support.fake_driver import NAME, driver_process
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(30)

# spec C.1
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
    """Every flag of the original under its name with its default; ours beside them."""
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
def test_ends_at_once(argv: tuple[str, ...], code: int, text: str) -> None:
    """Exit codes as the original's, one sentence, no traceback."""
    done = subprocess.run(command(*argv), capture_output=True, text=True, timeout=20)
    assert done.returncode == code, done.stderr
    assert text in done.stderr and "Traceback" not in done.stderr


def test_http_port_taken() -> None:
    """A health port in use: why, and exit code 1; no socket stays behind."""
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


class Running:
    """A registrar process with its directories, its health port, and a driver that can be started beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.csi = directory / "csi.sock"
        self.registry = directory / "kubelet" / "plugins_registry"
        self.registry.mkdir(parents=True)
        self.socket = self.registry / f"{NAME}-reg.sock"
        self.port = free_port()
        self.process = subprocess.Popen(
            command(
                f"--csi-address={self.csi}",
                f"--kubelet-registration-path={self.csi}",
                "--driver-gone-after=1s",
                f"--plugin-registration-path={self.registry}",
                f"--http-endpoint=127.0.0.1:{self.port}",
            ),
            stderr=(directory / "log").open("wb"),
        )

    def healthz(self, path: str = "/healthz") -> tuple[int, str]:
        """Code and body; 0 while nobody listens."""
        return fetch(self.port, path, timeout=5)

    def driver(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """A driver process."""
        return driver_process(self.csi)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A registrar without a driver yet."""
    made = Running(tmp_path)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


async def register(running: Running) -> None:
    """A kubelet that comes, registers, and goes."""
    async with KubeletStub(KubeletConfig(root=str(running.directory / "kubelet"))) as kubelet:
        await kubelet.events.wait(Reason.REGISTERED)  # after its notification


def test_health(running: Running) -> None:
    """No socket: 404 in the original's words; served but not confirmed: 200 and told; registered: 200 ok; other paths
    404."""
    wait_until(lambda: running.healthz() == (404, "registration socket does not exist"), "404")
    with running.driver():
        wait_until(lambda: running.healthz() == (200, "ok (waiting for kubelet)"), "waiting")
        asyncio.run(register(running))
        wait_until(lambda: running.healthz() == (200, "ok"), "ok")
        assert running.healthz("/metrics")[0] == 404
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
    assert not running.socket.exists()


def test_health_of_a_refused_registration(running: Running) -> None:
    """Refused: 500 with kubelet's text."""

    async def refuse() -> None:
        config = KubeletConfig(root=str(running.directory / "kubelet"), refuse_registration="no such plugin here")
        async with KubeletStub(config):
            async with asyncio.timeout(10):
                while "no such plugin here" not in (await asyncio.to_thread(running.healthz))[1]:
                    await asyncio.sleep(0.02)

    with running.driver():
        wait_until(running.socket.exists, "the socket")
        asyncio.run(refuse())
        assert running.healthz()[0] in (404, 500)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_socket_goes_with_the_process(running: Running, ending: signal.Signals) -> None:
    """Both signals end it in order: exit code 0, the socket gone (the original leaves it behind on SIGINT)."""
    with running.driver():
        wait_until(running.socket.exists, "the socket")
        running.process.send_signal(ending)
        assert running.process.wait(10) == 0
    assert os.listdir(running.registry) == []


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket that a killed registrar left is taken over."""
    stale = tmp_path / "kubelet" / "plugins_registry" / f"{NAME}-reg.sock"
    made = Running(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(stale))
        with made.driver():
            asyncio.run(asyncio.wait_for(register(made), 10))
    finally:
        made.process.kill()
        made.process.wait()


def test_frozen_driver(running: Running) -> None:
    """A driver that accepts and answers nothing is waited for, for as long as it takes; one log line tells."""
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
    """--logging-format=json writes JSON lines with the process's name."""
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
    assert process.stderr is not None
    line = json.loads(process.stderr.readline())
    process.terminate()
    assert process.wait(10) == 0
    assert line["process"] == "registrar"


def test_version() -> None:
    """``<argv0> <version>``, as the original prints it."""
    done = subprocess.run(command("--version"), capture_output=True, text=True, timeout=20)
    assert re.fullmatch(r"\S*registrar/main\.py \S+\n", done.stdout), done.stdout
