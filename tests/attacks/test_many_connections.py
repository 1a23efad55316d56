"""Clients that open connections and send nothing: as many as there are descriptors, or as fast as they can."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from runtime import descriptors
from runtime.errors import ConfigurationError
from runtime.limits import WANTED_DESCRIPTORS
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.waiting import wait_until


@contextmanager
def probe(directory: Path, limit: int) -> Iterator[tuple[int, Path]]:
    """A probe that may open ``limit`` files: its port and its log."""
    port, log = free_port(), directory / "log"
    argv = [
        sys.executable,
        "-m",
        "probe.main",
        f"--http-endpoint=127.0.0.1:{port}",
        "--status-endpoint=",
        "--status-directory=",
    ]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                "prlimit",
                f"--nofile={limit}:{limit}",
                *argv,
                f"--csi-address={directory}/csi.sock",
                "--status-directory=",
            ],
            stderr=stderr,
        )
    try:
        wait_until(lambda: fetch(port, "/livez") == (200, "ok"), "the probe")
        yield port, log
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("limit", [256, 1024, 4096])
def test_idle_connections(tmp_path: Path, limit: int) -> None:
    """400 idle clients, more than there are descriptors → the next request is answered at once, with next to nothing
    in the log."""
    with probe(tmp_path, limit) as (port, log), ExitStack() as clients:
        for _ in range(400):
            clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        started = time.monotonic()
        assert [fetch(port, "/livez", timeout=5) for _ in range(20)] == [(200, "ok")] * 20
        print(f"20 requests beside 400 idle clients: {time.monotonic() - started:.3f} s")
        assert len(log.read_text().splitlines()) < 10


def test_accept_failures_are_logged_once(tmp_path: Path) -> None:
    """No descriptor is left when clients connect → one line, for as long as it lasts, and service as soon as there is
    one again."""
    with probe(tmp_path, 256) as (port, log), ExitStack() as clients:
        (pid,) = _listeners(port)
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, 256))
        for _ in range(50):
            clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        wait_until(lambda: "Cannot accept connections" in log.read_text(), "the line")
        with pytest.raises(TimeoutError):  # three more tries of the loop
            clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=3)).recv(1)
        assert log.read_text().count("accept") == 1 and len(log.read_text().splitlines()) < 10
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (256, 256))
        wait_until(lambda: fetch(port, "/livez", timeout=5) == (200, "ok"), "service")


def _listeners(port: int) -> list[int]:
    """The processes that listen on a port."""
    found = psutil.net_connections("tcp4")
    return [each.pid for each in found if each.pid and each.status == "LISTEN" and each.laddr[1:] == (port,)]


@pytest.mark.parametrize("before", [0, 1, 60, 300])
def test_burst_of_connections(tmp_path: Path, before: int) -> None:
    """A burst of 400 idle connections, more than the server keeps, around one that has sent its request → the request
    is answered and not reset."""
    with probe(tmp_path, 1024) as (port, _), ExitStack() as clients:

        def connect() -> socket.socket:
            return clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))

        (pid,) = _listeners(port)
        os.kill(pid, signal.SIGSTOP)  # so that it finds all of them at once
        try:
            for _ in range(before):
                connect()
            client = connect()
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in range(400 - before):
                connect()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert client.recv(1024).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "soft, hard, may_raise, result",
    [
        (1024, 524288, False, WANTED_DESCRIPTORS),
        (64, 64, True, WANTED_DESCRIPTORS),
        (64, 256, False, 256),
        (64, 1024, False, 1024),
        (64, resource.RLIM_INFINITY, False, WANTED_DESCRIPTORS),
        (8192, 8192, False, 8192),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, False, resource.RLIM_INFINITY),
        (64, 64, False, None),
        (64, 255, False, None),
    ],
)
def test_limit_of_descriptors(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, may_raise: bool, result: int | None
) -> None:
    """The limit is raised as far as is permitted and wanted; if that is too little, one sentence says what to do."""
    limits = [(soft, hard)]

    def set_limit(_: int, wanted: tuple[int, int]) -> None:
        if hard != resource.RLIM_INFINITY and wanted[1] > hard and not may_raise:
            raise ValueError("not allowed to raise maximum limit")
        limits.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    if result is None:
        with pytest.raises(ConfigurationError, match="LimitNOFILE"):
            descriptors.raise_limit()
    else:
        descriptors.raise_limit()
        assert limits[-1][0] == result


def test_container_with_too_few_descriptors() -> None:
    """A limit of 64 that the container may not raise → exit code 1 and our sentence, not one about supervisord's
    configuration file."""
    argv = [sys.executable, "-m", "container.main", "--kubelet-registration-path=/x", "--nodeid=n"]
    limited = ["unshare", "--user", "--map-root-user", "prlimit", "--nofile=64:64", *argv]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=30)
    if done.stderr.startswith("unshare:"):
        pytest.skip("the machine permits no user namespaces")
    assert done.returncode == 1
    assert "the container may open 64 files only, and needs 256" in done.stderr and "minfds" not in done.stderr
