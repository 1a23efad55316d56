"""The registration handshake and what the registrar recovers from, with the kubelet stub over real sockets."""

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubelet_stub.dialing import dial
from kubelet_stub.events import Reason
from protos import pluginregistration_pb2, pluginregistration_pb2_grpc
from registrar.driver import Driver
from registrar.state import State
from runtime import directories, inotify
from runtime.errors import Unavailable
from runtime.flags import Duration
from tests.registrar.rig import RegistrarRig, running_registrar, until_error, until_socket, until_state
from tests.support.fake_driver import NAME, FakeDriver, fake_driver
from tests.support.files import inode
from tests.support.waiting import until


def test_handshake(tmp_path: Path) -> None:
    """A driver and a kubelet are there → one socket with kubelet's name and mode 0700, the driver is registered; at the
    end the socket is gone."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await kubelet.wait_registered(NAME)
            await until_state(reconciler, State.REGISTERED)
            assert stat.S_IMODE(rig.socket.stat().st_mode) == 0o700
            assert os.listdir(rig.registry) == [f"{NAME}-reg.sock"]
        assert os.listdir(rig.registry) == []

    asyncio.run(run())


def test_wire_bytes(tmp_path: Path) -> None:
    """The payloads of GetInfo and NotifyRegistrationStatus, byte for byte: field numbers as in kubelet's
    pluginregistration/v1 API."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with (
            fake_driver(rig.csi),
            running_registrar(rig.config(kubelet_registration_path="/x/csi.sock")) as reconciler,
        ):
            await until_socket(rig.socket)
            async with dial(str(rig.socket)) as channel:
                get_info: Any = channel.unary_unary("/pluginregistration.Registration/GetInfo")
                expected = (
                    b"\x0a\x09CSIPlugin" + b"\x12\x10fake.csi.example" + b"\x1a\x0b/x/csi.sock" + b"\x22\x051.0.0"
                )
                assert await get_info(b"") == expected
                notify: Any = channel.unary_unary("/pluginregistration.Registration/NotifyRegistrationStatus")
                assert await notify(b"\x08\x01") == b""
                assert reconciler.registration.state is State.REGISTERED
                assert await notify(b"\x12\x04text") == b""
                assert (reconciler.registration.state, reconciler.registration.error) == (State.REFUSED, "text")

    asyncio.run(run())


def test_late_driver(tmp_path: Path) -> None:
    """No driver yet → the registrar goes on running and reports it; the driver starts → registered."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, running_registrar(rig.config()) as reconciler:
            await until_error(reconciler, "does not exist")
            assert reconciler.registration.state is State.NO_DRIVER and os.listdir(rig.registry) == []
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)

    asyncio.run(run())


@pytest.mark.parametrize("name", ["", "-bad", "bad name", "x" * 64])
def test_invalid_driver_name(tmp_path: Path, name: str) -> None:
    """The driver has an empty or invalid name → it is reported, and a valid name afterwards is registered."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = FakeDriver(name)
        async with (
            rig.kubelet() as kubelet,
            fake_driver(rig.csi, driver),
            running_registrar(rig.config()) as reconciler,
        ):
            await until_error(reconciler, "not a valid CSI driver name")
            driver.name = NAME
            await kubelet.wait_registered(NAME)

    asyncio.run(run())


def test_hanging_driver(tmp_path: Path) -> None:
    """The driver accepts connections but does not answer → each attempt ends after ``--timeout``, and the driver is
    registered once it answers."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = FakeDriver()
        driver.hang = asyncio.Event()
        async with (
            rig.kubelet() as kubelet,
            fake_driver(rig.csi, driver),
            running_registrar(rig.config(timeout=Duration(0.2))) as reconciler,
        ):
            await until_error(reconciler, "DEADLINE_EXCEEDED")
            driver.hang.set()
            await kubelet.wait_registered(NAME)

    asyncio.run(run())


@pytest.mark.parametrize(
    "what, error",
    [
        ("a file", "is not a socket: see --csi-address"),
        ("nobody listens", "no answer within 0.2 s"),
        ("another protocol", "no answer within 0.2 s"),
    ],
)
def test_wrong_socket(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    attempts: Callable[[int], Awaitable[None]],
    what: str,
    error: str,
) -> None:
    """A file, a dead socket or a server with another protocol is at the driver's path → logged once although it is
    tried again and again; the driver that takes its place is registered."""

    async def mail(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        listener = socket.socket(socket.AF_UNIX)  # asyncio's own is unlinked with its server, from Python 3.13 on
        if what == "a file":
            Path(rig.csi).touch()
        else:
            listener.bind(rig.csi)
        server = await asyncio.start_unix_server(mail, sock=listener) if what == "another protocol" else listener
        async with rig.kubelet() as kubelet, running_registrar(rig.config(timeout=Duration(0.2))) as reconciler:
            await until_error(reconciler, error)
            await attempts(3)
            server.close()
            Path(rig.csi).unlink(missing_ok=True)
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records].count("Waiting for the driver") <= 2


def test_driver_changes_its_name(tmp_path: Path) -> None:
    """The driver changes its name → it is registered under the new one, and the old socket is removed."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = FakeDriver("first.example")
        async with rig.kubelet() as kubelet, fake_driver(rig.csi, driver), running_registrar(rig.config()):
            await kubelet.wait_registered("first.example")
            driver.name = "second.example"
            await kubelet.wait_registered("second.example")
            await kubelet.wait_registered("first.example", present=False)
            assert os.listdir(rig.registry) == ["second.example-reg.sock"]

    asyncio.run(run())


def test_a_driver_that_stays_is_rarely_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty polls of a driver that stays → it is not asked for its name again; another driver takes its path → that
    one is registered at the next poll, although the first would still answer."""
    polls = 0
    original = Driver.answered_within

    def counted(driver: Driver, seconds: float) -> bool:
        nonlocal polls
        polls += 1
        return original(driver, seconds)

    monkeypatch.setattr(Driver, "answered_within", counted)
    monkeypatch.setattr("registrar.reconciler.POLL_SECONDS", 0.02)
    # Without inotify, so that only the polls can notice anything.
    monkeypatch.setattr(directories.Directories, "_watch", lambda *_: asyncio.sleep(3600))

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        config = rig.config(driver_gone_after=Duration(25.0))
        async with rig.kubelet() as kubelet, fake_driver(rig.csi) as driver, running_registrar(config):
            await kubelet.wait_registered(NAME)
            asked, before = driver.asked, polls
            await until(lambda: polls >= before + 20, "twenty polls")
            assert driver.asked <= asked + 1
            async with fake_driver(rig.csi, FakeDriver("other.example")):
                await kubelet.wait_registered("other.example")

    asyncio.run(run())


def test_refusal_is_retried(tmp_path: Path) -> None:
    """kubelet refuses the registration → the state has kubelet's text, and the socket is recreated until kubelet
    accepts."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            async with rig.kubelet(refuse_registration="not today") as kubelet:
                await kubelet.events.wait(Reason.REGISTRATION_FAILED)
                await until(lambda: not rig.socket.exists(), "the socket to be removed")
                assert (reconciler.registration.state, reconciler.registration.error) == (State.REFUSED, "not today")
            async with rig.kubelet() as kubelet:
                await kubelet.wait_registered(NAME)
                await until_state(reconciler, State.REGISTERED)
                assert not reconciler.registration.error

    asyncio.run(run())


def test_kubelet_restart_needs_nothing(tmp_path: Path) -> None:
    """kubelet restarts → it finds the existing socket, which is not recreated."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with fake_driver(rig.csi), running_registrar(rig.config()):
            async with rig.kubelet() as kubelet:
                await kubelet.wait_registered(NAME)
                before = rig.socket.stat().st_ino
            async with rig.kubelet() as kubelet:
                await kubelet.wait_registered(NAME)
                assert rig.socket.stat().st_ino == before

    asyncio.run(run())


def test_socket_deleted_by_hand(tmp_path: Path) -> None:
    """The registration socket is deleted → it is recreated at once, and kubelet registers the driver again."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()):
            await kubelet.events.wait(Reason.REGISTERED)
            rig.socket.unlink()
            await kubelet.events.wait(Reason.REGISTERED, count=2)
            await until_socket(rig.socket)

    asyncio.run(run())


def test_without_inotify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has no inotify instance left → polling notices the late driver and the deleted socket."""

    def refused(*_: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(directories, "inotify", SimpleNamespace(Watch=refused, Kind=inotify.Kind))

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, running_registrar(rig.config()) as reconciler:
            await until_error(reconciler, "does not exist")
            async with fake_driver(rig.csi):
                await kubelet.events.wait(Reason.REGISTERED)
                rig.socket.unlink()
                await kubelet.events.wait(Reason.REGISTERED, count=2)

    asyncio.run(run())


def test_directory_missing_and_wiped(tmp_path: Path) -> None:
    """kubelet's plugins_registry is missing at the start, and later replaced → the socket is there as soon as the
    directory is."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        rig.registry.rmdir()
        async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await until_error(reconciler, "does not exist")
            rig.registry.mkdir()
            await until_socket(rig.socket)
            shutil.rmtree(rig.registry)
            rig.registry.mkdir()
            await until_socket(rig.socket)

    asyncio.run(run())


def test_driver_gone_and_back(tmp_path: Path) -> None:
    """The driver is gone for longer than ``driver_gone_after`` → the socket is removed, so that kubelet deregisters it;
    the driver returns → registered again."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, running_registrar(rig.config()):
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)
            await kubelet.wait_registered(NAME, present=False)
            await until(lambda: os.listdir(rig.registry) == [], "the socket to be removed")
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)

    asyncio.run(run())


def test_quick_restart_does_not_flap(tmp_path: Path) -> None:
    """The driver restarts three times, each time within ``driver_gone_after`` → kubelet notices nothing: same socket,
    one registration."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with (
            rig.kubelet() as kubelet,
            running_registrar(rig.config(driver_gone_after=Duration(20.0))) as reconciler,
        ):
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)
                await until_state(reconciler, State.REGISTERED)
                before = inode(rig.socket)
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await reconciler._driver.get_name()
                async with fake_driver(rig.csi) as back:
                    await until(lambda: back.asked, "the driver to be asked for its name")
                    assert inode(rig.socket) == before and reconciler.registration.state is State.REGISTERED
            assert len(kubelet.events.of(Reason.REGISTERED)) == 1

    asyncio.run(run())


def test_surge_roll_out(tmp_path: Path) -> None:
    """A second registrar takes over the socket, as in a rollout with maxSurge → the first one leaves it in place when
    it ends."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), contextlib.AsyncExitStack() as second:
            async with running_registrar(rig.config()) as first:
                await until_state(first, State.REGISTERED)
                before = inode(rig.socket)
                successor = await second.enter_async_context(running_registrar(rig.config()))
                await until_socket(rig.socket, other_than=before)
            assert rig.socket.exists()
            await until(lambda: successor.registration.driver == NAME, "the second registrar to know the driver")
            async with dial(str(rig.socket)) as channel:
                stub = pluginregistration_pb2_grpc.RegistrationStub(channel)
                assert (await stub.GetInfo(pluginregistration_pb2.InfoRequest())).name == NAME
            assert kubelet.csi_node["spec"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_something_else_at_the_path(tmp_path: Path, kind: str) -> None:
    """A file or a directory is at the registration socket's path → it is reported and left alone; it is removed → the
    driver is registered."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        if kind == "file":
            rig.socket.write_text("kept")
        else:
            rig.socket.mkdir()
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await until_error(reconciler, "is not a socket")
            assert rig.socket.exists() and not rig.socket.is_socket()
            rig.socket.unlink() if kind == "file" else rig.socket.rmdir()
            await kubelet.wait_registered(NAME)

    asyncio.run(run())


def test_missing_driver_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, attempts: Callable[[int], Awaitable[None]]
) -> None:
    """The driver does not come, however often it is looked for → one log line."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with running_registrar(rig.config()):
            await attempts(5)

    asyncio.run(run())
    assert len([record for record in caplog.records if record.getMessage() == "Waiting for the driver"]) == 1


@pytest.mark.parametrize("jump, patience, gone", [(3600.0, 60.0, False), (-3600.0, 3.0, True)])
def test_the_wall_clock_jumps(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    attempts: Callable[[int], Awaitable[None]],
    jump: float,
    patience: float,
    gone: bool,
) -> None:
    """The clock is set by an hour, either way, while the driver is gone → its absence counts by the time that has
    passed."""
    real, offset = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + offset)

    async def run() -> None:
        nonlocal offset
        rig = RegistrarRig(tmp_path)
        config = rig.config(driver_gone_after=Duration(patience))
        async with rig.kubelet() as kubelet, running_registrar(config) as reconciler:
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)
                await until_state(reconciler, State.REGISTERED)
            await attempts(2)  # it has noticed that the driver is gone
            offset += jump
            await attempts(2)
            if gone:
                await until_state(reconciler, State.NO_DRIVER)
            assert rig.socket.exists() is not gone

    asyncio.run(run())
