"""The handshake and everything that it heals, against the kubelet stub over real sockets."""

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubelet_stub.events import Reason
from protos import pluginregistration_pb2, pluginregistration_pb2_grpc
from registrar import directories
from registrar.state import State
from runtime import inotify, rpc
from runtime.errors import Unavailable
from runtime.flags import Duration
from tests.registrar.rig import RegistrarRig, running_registrar, until_error, until_socket, until_state
from tests.support.fake_driver import NAME, FakeDriver, fake_driver
from tests.support.files import inode
from tests.support.waiting import until


def test_handshake(tmp_path: Path) -> None:
    """Socket name and mode, GetInfo, verdict: registered, and the socket gone at the end."""

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
    """GetInfo's and NotifyRegistrationStatus' payloads, byte for byte as spec C.3 numbers the fields."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with (
            fake_driver(rig.csi),
            running_registrar(rig.config(kubelet_registration_path="/x/csi.sock")) as reconciler,
        ):
            await until_socket(rig.socket)
            async with rpc.dial(str(rig.socket)) as channel:
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
    """No driver yet: told as such, in process, without an end; registered as soon as it comes."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, running_registrar(rig.config()) as reconciler:
            await until_error(reconciler, "does not exist")
            assert reconciler.registration.state is State.NO_DRIVER and os.listdir(rig.registry) == []
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)

    asyncio.run(run())


@pytest.mark.parametrize("name", ["", "-bad", "bad name", "x" * 64])
def test_driver_with_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    """An empty or invalid name is told and waited out; a good one afterwards is registered."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = FakeDriver(name)
        async with (
            rig.kubelet() as kubelet,
            fake_driver(rig.csi, driver),
            running_registrar(rig.config()) as reconciler,
        ):
            await until_error(reconciler, "no CSI driver name")
            driver.name = NAME
            await kubelet.wait_registered(NAME)

    asyncio.run(run())


def test_hanging_driver(tmp_path: Path) -> None:
    """A driver that hangs at start is waited for with the deadline of --timeout, again and again."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = FakeDriver()
        driver.hang = asyncio.Event()
        async with rig.kubelet() as kubelet, fake_driver(rig.csi, driver):  # noqa: SIM117
            async with running_registrar(rig.config(timeout=Duration(0.2))) as reconciler:
                await until_error(reconciler, "DEADLINE_EXCEEDED")
                driver.hang.set()
                await kubelet.wait_registered(NAME)

    asyncio.run(run())


@pytest.mark.parametrize(
    "what, told",
    [
        ("a file", "is no socket: see --csi-address"),
        ("nobody listens", "nothing within 0.2 s"),
        ("another protocol", "nothing within 0.2 s"),
    ],
)
def test_wrong_socket(tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str, told: str) -> None:
    """A file, a dead socket, a server that speaks something else: told once, however often it is tried, waited out in
    process, and the driver that comes in its place is registered."""

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
            await until_error(reconciler, told)
            await asyncio.sleep(1.5)  # several tries
            server.close()
            Path(rig.csi).unlink(missing_ok=True)
            async with fake_driver(rig.csi):
                await kubelet.wait_registered(NAME)

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records].count("Waiting for the driver") <= 2


def test_name_that_changes(tmp_path: Path) -> None:
    """A driver that comes back under another name is registered under that, and the old socket is removed."""

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


def test_refusal_is_retried(tmp_path: Path) -> None:
    """A refused registration is kept as state with kubelet's text, and offered again by a new socket until it is
    taken."""

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
    """A new kubelet finds the socket that is there; it is not made anew."""

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
    """It is made anew at once, and kubelet registers again."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()):
            await kubelet.events.wait(Reason.REGISTERED)
            rig.socket.unlink()
            await kubelet.events.wait(Reason.REGISTERED, count=2)
            await until_socket(rig.socket)

    asyncio.run(run())


def test_without_inotify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has no inotify instance left: the slow poll heals the same things."""

    def refused(*_: Path) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(directories, "inotify", SimpleNamespace(Watch=refused, Kind=inotify.Kind))

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, running_registrar(rig.config()):
            await asyncio.sleep(0.1)
            async with fake_driver(rig.csi):
                await kubelet.events.wait(Reason.REGISTERED)
                rig.socket.unlink()
                await kubelet.events.wait(Reason.REGISTERED, count=2)

    asyncio.run(run())


def test_directory_missing_and_wiped(tmp_path: Path) -> None:
    """plugins_registry missing at start, and later removed and made again: served as soon as it is there."""

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
    """Gone for longer than the set time: the socket is removed, so that kubelet does not believe in it; back:
    registered again."""

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
    """A driver that restarts three times within the set time, each time found gone and asked anew, is not noticed by
    kubelet: same socket, one registration."""

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
                    await reconciler._driver.name()
                async with fake_driver(rig.csi) as back:
                    await until(lambda: back.asked, "the driver to be asked for its name")
                    assert inode(rig.socket) == before and reconciler.registration.state is State.REGISTERED
            assert len(kubelet.events.of(Reason.REGISTERED)) == 1

    asyncio.run(run())


def test_surge_roll_out(tmp_path: Path) -> None:
    """A second registrar takes the socket over; the first one leaves it in place when it ends."""

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
            async with rpc.dial(str(rig.socket)) as channel:
                stub = pluginregistration_pb2_grpc.RegistrationStub(channel)
                assert (await stub.GetInfo(pluginregistration_pb2.InfoRequest())).name == NAME
            assert kubelet.csi_node["spec"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_something_else_at_the_path(tmp_path: Path, kind: str) -> None:
    """What is no socket stays untouched and is told; once it is moved away the socket is served."""

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


def test_trouble_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A driver that does not come is one line, not one a second."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with running_registrar(rig.config()):
            await asyncio.sleep(2.0)

    asyncio.run(run())
    assert len([record for record in caplog.records if record.getMessage() == "Waiting for the driver"]) == 1
