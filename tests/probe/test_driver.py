"""The probe's channel to the driver: concurrent checks share a call, it reconnects by itself, and results and metrics
are those of livenessprobe."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from probe.driver import GET_PLUGIN_INFO, NOT_CONNECTED, PROBE, DriverProbe, ProbeResult
from protos import csi_pb2
from runtime import metrics, rpc
from runtime.errors import DeadlineExceeded, Unavailable
from tests.support.dials import Dials
from tests.support.fake_driver import NAME, FakeDriver, driver_process, fake_driver
from tests.support.other_program import other_program
from tests.support.waiting import until

OK = ProbeResult(True, "ok")


@asynccontextmanager
async def probing(directory: Path, timeout: float = 2.0) -> AsyncIterator[tuple[DriverProbe, CollectorRegistry]]:
    """A probe of the driver socket in a directory, with its metrics."""
    registry = metrics.registry()
    probe = DriverProbe(f"{directory}/csi.sock", timeout, registry)
    try:
        yield probe, registry
    finally:
        probe.close()


def count(registry: CollectorRegistry, code: str, method: str = PROBE, name: str = NAME) -> float:
    """How many calls of a method ended with a code, by the metrics."""
    labels = {"driver_name": name, "method_name": method, "grpc_status_code": code}
    return registry.get_sample_value("csi_sidecar_operations_seconds_count", labels) or 0.0


def test_concurrent_checks_share_a_call(tmp_path: Path) -> None:
    """Fifty checks while a Probe call is under way → they share it, even if one of them is cancelled; the next check
    makes a new call."""

    async def run() -> None:
        async with fake_driver(f"{tmp_path}/csi.sock") as driver, probing(tmp_path) as (probe, registry):
            assert await probe.check() == OK
            driver.hang = asyncio.Event()
            checks = [asyncio.create_task(probe.check()) for _ in range(50)]
            await until(lambda: driver.probes == 2, "the shared call")
            checks.append(asyncio.create_task(probe.check()))
            await asyncio.sleep(0)  # the last task has begun
            checks.pop(0).cancel()
            driver.hang.set()
            assert await asyncio.gather(*checks) == [OK] * 50
            assert driver.probes == 2
            assert await probe.check() == OK
            assert (driver.probes, count(registry, "OK")) == (3, 3.0)

    asyncio.run(run())


def test_restarts(tmp_path: Path) -> None:
    """The driver restarts ten times and has a new socket each time → the next check finds it."""

    async def run() -> None:
        async with probing(tmp_path, 3.0) as (probe, _):
            for _ in range(10):
                async with fake_driver(f"{tmp_path}/csi.sock"):
                    assert await probe.check() == OK
                    assert await probe.check() == OK

    asyncio.run(run())


def test_budget(tmp_path: Path) -> None:
    """GetPluginInfo and Probe share one deadline; a check without a connection takes all of it and is in no metric."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with probing(tmp_path, 0.3) as (probe, registry):
            started = loop.time()
            assert not (await probe.check()).healthy
            assert 0.3 <= loop.time() - started < 5.0
            assert registry.get_sample_value("csi_sidecar_operations_seconds_count") is None
            async with fake_driver(f"{tmp_path}/csi.sock") as driver:
                driver.hang = asyncio.Event()
                text = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
                verdict = ProbeResult(False, NOT_CONNECTED)
                while verdict.text.startswith(NOT_CONNECTED):  # the next attempt to connect may come later
                    started = loop.time()
                    verdict = await probe.check()
                assert verdict == ProbeResult(False, text)
                assert loop.time() - started < 5.0
                assert count(registry, "DeadlineExceeded", GET_PLUGIN_INFO, "unknown-driver") == 1
                driver.hang.set()
                assert await probe.check() == OK
                assert count(registry, "OK", GET_PLUGIN_INFO, "unknown-driver") == 1
                assert (count(registry, "OK"), count(registry, "OK", GET_PLUGIN_INFO)) == (1, 0)

    asyncio.run(run())


def test_before_and_after_the_first_answer(tmp_path: Path) -> None:
    """A driver that has never answered → the reason; one that answered before and is gone → livenessprobe's text."""

    async def run() -> None:
        path = f"{tmp_path}/csi.sock"
        async with probing(tmp_path, 0.2) as (probe, _):
            never = f"{NOT_CONNECTED}: the driver has not answered yet on {path}; "
            assert await probe.check() == ProbeResult(False, never + "the socket does not exist")
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(path)
                assert await probe.check() == ProbeResult(False, never + "nobody answers there")
            async with fake_driver(path):
                while await probe.check() != OK:
                    pass
            assert await probe.check() == ProbeResult(False, NOT_CONNECTED)

    asyncio.run(run())


@pytest.mark.parametrize(
    "failure, text",
    [
        (Unavailable("come back later"), "rpc error: code = Unavailable desc = come back later"),
        (
            DeadlineExceeded("the vault took too long"),
            "rpc error: code = DeadlineExceeded desc = the vault took too long",
        ),
    ],
)
def test_errors_of_the_driver_itself(tmp_path: Path, failure: Exception, text: str) -> None:
    """The driver itself answers UNAVAILABLE or DEADLINE_EXCEEDED → its own text, and no second call as after a lost
    connection."""

    async def run() -> None:
        async with fake_driver(f"{tmp_path}/csi.sock") as driver, probing(tmp_path) as (probe, _):
            assert await probe.check() == OK
            driver.error, driver.probes = failure, 0
            assert await probe.check() == ProbeResult(False, text)
            assert driver.probes == 1

    asyncio.run(run())


def test_another_program_serves_the_path(tmp_path: Path) -> None:
    """Another gRPC server is at the path, whose replies are no messages of CSI, to the first question or to Probe →
    unhealthy with a reason, and counted as Internal, as in Go."""

    async def run() -> None:
        path = tmp_path / "csi.sock"
        unreadable = ProbeResult(False, f"rpc error: code = Internal desc = {rpc.UNREADABLE}")
        async with probing(tmp_path) as (probe, registry):
            async with other_program(path):
                assert await probe.check() == unreadable
            assert count(registry, "Internal", GET_PLUGIN_INFO, "unknown-driver") == 1
            async with fake_driver(str(path)):
                assert await probe.check() == OK
            async with other_program(path):
                assert await probe.check() == unreadable
            assert count(registry, "Internal") == 1

    asyncio.run(run())


def test_driver_without_a_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The driver's name is empty → unhealthy with the reason, logged once; it gets a name → healthy."""

    async def run() -> None:
        async with (
            fake_driver(f"{tmp_path}/csi.sock", FakeDriver("")) as driver,
            probing(tmp_path) as (probe, registry),
        ):
            for _ in range(20):
                assert await probe.check() == ProbeResult(False, "driver name is empty")
            driver.name = NAME
            assert await probe.check() == OK
            assert count(registry, "OK") == 1

    with caplog.at_level(logging.INFO, "probe.driver"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records if record.name == "probe.driver"] == [
        "The driver is unhealthy",
        "The driver is healthy",
    ]


def test_socket_is_removed(tmp_path: Path) -> None:
    """The driver runs on, but its socket is removed, or another driver's takes its place → the check says what kubelet
    would find: unhealthy, or the other driver."""

    async def run() -> None:
        path = tmp_path / "csi.sock"
        async with fake_driver(str(path)) as driver, probing(tmp_path, 0.5) as (probe, _):
            while await probe.check() != OK:
                pass
            asked = driver.probes
            path.unlink()
            for _ in range(3):
                assert await probe.check() == ProbeResult(False, NOT_CONNECTED)
            async with fake_driver(str(path)) as other:
                while await probe.check() != OK:
                    pass
                assert other.probes > 0
                async with fake_driver(str(path)) as third:  # by a rename over the socket
                    while not third.probes:
                        await probe.check()
                    before = other.probes
                    assert await probe.check() == OK
                    assert other.probes == before
            assert driver.probes == asked

    asyncio.run(run())


def test_path_leads_elsewhere(tmp_path: Path) -> None:
    """The path becomes a dead socket, a file or a dangling link while the driver runs on → unhealthy; the driver's
    socket is moved back → healthy."""

    async def run() -> None:
        path, kept = tmp_path / "csi.sock", tmp_path / "kept.sock"
        async with fake_driver(str(path)), probing(tmp_path, 0.3) as (probe, _):
            while await probe.check() != OK:
                pass
            path.rename(kept)
            for put in (lambda: path.write_text(""), lambda: path.symlink_to("nowhere"), lambda: bind(path)):
                put()
                assert not (await probe.check()).healthy
                path.unlink()
            kept.rename(path)
            while await probe.check() != OK:
                pass

    asyncio.run(run())


def bind(path: Path) -> None:
    """A socket on which nobody listens."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_frozen_driver_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is frozen, and each call that it does not even read takes memory → after some of them the connection
    is given up, and checks wait for the next one without calling; the driver goes on → healthy."""
    dials = Dials(monkeypatch)

    async def run() -> None:
        with driver_process(tmp_path / "csi.sock") as driver:
            async with probing(tmp_path, 10.0) as (probe, registry):
                for _ in range(2):  # the first one may have begun before there was a socket
                    assert await probe.check() == OK
                probe._timeout, before, tasks = 0.05, dials.count, len(asyncio.all_tasks())
                driver.send_signal(signal.SIGSTOP)
                for _ in range(40):
                    assert not (await probe.check()).healthy
                assert count(registry, "DeadlineExceeded") == rpc.MAX_UNANSWERED
                assert dials.count == before + 1
                assert len(asyncio.all_tasks()) <= tasks + 1  # the one that waits for the connection
                driver.send_signal(signal.SIGCONT)
                probe._timeout = 10.0
                assert await probe.check() == OK

    asyncio.run(run())


class WithoutProbe(FakeDriver):
    """A driver without the method Probe."""

    async def Probe(self, request: csi_pb2.ProbeRequest, context: Any) -> csi_pb2.ProbeResponse:
        raise NotImplementedError


def test_wrong_socket(tmp_path: Path) -> None:
    """A server without Probe, or with another protocol than HTTP/2, has the socket → unhealthy with the reason, within
    the deadline."""

    async def run() -> None:
        async with fake_driver(f"{tmp_path}/csi.sock", WithoutProbe()), probing(tmp_path) as (probe, _):
            assert (await probe.check()).text.startswith("rpc error: code = Unimplemented desc =")

        async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_unix_server(other, f"{tmp_path}/csi.sock")
        async with probing(tmp_path, 0.3) as (probe, _):
            assert (await probe.check()).text.startswith(NOT_CONNECTED)
        server.close()

    asyncio.run(run())


def test_names_of_codes() -> None:
    """Every gRPC code has the name that Go gives it."""
    names = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ]
    assert [rpc.go_name(code) for code in sorted(rpc.StatusCode)] == names
