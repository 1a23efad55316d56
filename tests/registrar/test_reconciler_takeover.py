"""Who serves the registration socket, and what is logged while nobody can: two registrars, dead sockets, an unusable
directory."""

import asyncio
import ctypes
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubelet_stub.dialing import dial
from kubelet_stub.events import Reason
from protos import csi_pb2
from registrar.reconciler import Reconciler, retry_delay
from registrar.state import State
from runtime.errors import ConfigurationError, PreconditionFailed
from tests.registrar.rig import RegistrarRig, running_registrar, until_error, until_socket, until_state
from tests.support.fake_driver import NAME, FakeDriver, fake_driver
from tests.support.files import NOTHING, inode
from tests.support.waiting import until

_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def other_registrar(rig: RegistrarRig) -> Iterator[socket.socket]:
    """The listening socket of another registrar at the path, put there by a rename as registrars do."""
    with socket.socket(socket.AF_UNIX) as made:
        hidden = rig.registry / ".another"
        made.bind(str(hidden))
        made.listen(16)
        hidden.rename(rig.socket)
        yield made


def test_a_live_successor_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, attempts: Callable[[int], Awaitable[None]]
) -> None:
    """Another registrar takes over the socket → ours stands by and logs it once, however often it looks; the other one
    ends → ours serves again."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await kubelet.wait_registered(NAME)
            with other_registrar(rig):
                theirs = inode(rig.socket)
                await until_error(reconciler, "another registrar serves")
                assert reconciler.registration.state is State.WAITING
                await attempts(3)
                assert inode(rig.socket) == theirs
                rig.socket.unlink()
            await until_socket(rig.socket, other_than=theirs)
            await until_state(reconciler, State.REGISTERED)

    asyncio.run(run())
    messages = Counter(record.getMessage() for record in caplog.records if record.name == "registrar.reconciler")
    assert messages["Another registrar has taken over; standing by"] == 1


def test_a_live_successor_is_left_alone_by_a_driver_that_comes_back(tmp_path: Path) -> None:
    """Our driver restarts while another registrar serves → ours still stands by: the registrar that started last
    wins."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with running_registrar(rig.config()) as reconciler:
            async with fake_driver(rig.csi):
                await until_socket(rig.socket)
            await until_state(reconciler, State.NO_DRIVER)
            with other_registrar(rig):
                theirs = inode(rig.socket)
                async with fake_driver(rig.csi):
                    await until_error(reconciler, "another registrar serves")
                    assert inode(rig.socket) == theirs

    asyncio.run(run())


def test_a_dead_successor_is_replaced(tmp_path: Path) -> None:
    """The successor was killed and its socket is dead → ours replaces it and kubelet registers again."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()):
            await kubelet.events.wait(Reason.REGISTERED)
            with other_registrar(rig) as theirs:
                theirs.close()
                dead = inode(rig.socket)
            await until_socket(rig.socket, other_than=dead)
            await kubelet.events.wait(Reason.REGISTERED, count=2)

    asyncio.run(run())


def mount(target: Path, flags: int) -> None:
    """Mount a tmpfs, or change the flags of the one that is mounted."""
    result = _libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", flags, None)
    assert result == 0, os.strerror(ctypes.get_errno())


@pytest.mark.parametrize("which", ["registry", "driver"])
def test_directory_deleted_on_the_node(tmp_path: Path, which: str) -> None:
    """The node's directory behind a bind mount is deleted, so that the mount is of a dead inode → the registrar ends
    with an error, because only a restart of the container helps."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        original, ours = tmp_path / "original", tmp_path / "ours"
        original.mkdir()
        ours.mkdir()
        assert _libc.mount(os.fsencode(original), os.fsencode(ours), None, _MS_BIND, None) == 0
        try:
            registry = ours if which == "registry" else rig.registry
            csi = ours / "csi.sock" if which == "driver" else tmp_path / "csi.sock"
            reconciler = Reconciler(rig.config(csi_address=str(csi), plugin_registration_path=str(registry)))
            async with fake_driver(str(csi)):
                running = asyncio.create_task(reconciler.run())
                await until_socket(registry / f"{NAME}-reg.sock")
                for path in original.iterdir():
                    path.unlink()
                original.rmdir()
                with pytest.raises(ConfigurationError, match="was deleted on the node"):
                    await asyncio.wait_for(running, 5)
        finally:
            _libc.umount2(os.fsencode(ours), 2)

    asyncio.run(run())


def test_read_only_directory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, attempts: Callable[[int], Awaitable[None]]
) -> None:
    """kubelet's directory is read-only → logged once although it is tried again and again; it becomes writable → the
    socket is served."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        mount(rig.registry, _MS_RDONLY)
        try:
            async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
                await until_error(reconciler, "is not writable")
                await attempts(3)
                mount(rig.registry, _MS_REMOUNT)
                await until_socket(rig.socket)
        finally:
            _libc.umount2(os.fsencode(rig.registry), 2)

    asyncio.run(run())
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1


def test_refusals_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """kubelet refuses three times with the same text → one log line; the state keeps the text while the socket is
    recreated."""

    caplog.set_level(logging.INFO, "registrar.reconciler")

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with (
            fake_driver(rig.csi),
            running_registrar(rig.config()) as reconciler,
            rig.kubelet(refuse_registration="not today") as kubelet,
        ):
            inodes: set[tuple[int, int]] = set()

            def three_refusals_of_three_sockets() -> bool:
                inodes.add(inode(rig.socket))
                return len(kubelet.events.of(Reason.REGISTRATION_FAILED)) >= 3 and len(inodes - {NOTHING}) >= 3

            await until(three_refusals_of_three_sockets, "three refusals of three sockets")
            await until_state(reconciler, State.REFUSED)
            assert reconciler.registration.error == "not today"

    asyncio.run(run())
    messages = Counter(record.getMessage() for record in caplog.records if record.name == "registrar.reconciler")
    assert messages["Kubelet refused the registration; offering it again"] == 1
    assert messages["Serving the registration socket; waiting for kubelet"] == 1


def test_pauses_between_offers() -> None:
    """The pauses double up to half a minute and stay there, even after a million refusals."""
    assert [retry_delay(refusals) for refusals in (1, 2, 3)] == [0.4, 0.8, 1.6]
    assert retry_delay(8) == retry_delay(1_000_000) == 30.0


def test_busy_directory(tmp_path: Path) -> None:
    """Other plugins' sockets come and go two hundred times within a second → the driver is asked for its name far less
    often."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = FakeDriver()
        async with fake_driver(rig.csi, driver), running_registrar(rig.config()):
            await until_socket(rig.socket)
            before = driver.asked
            for _ in range(200):
                (rig.registry / "other-reg.sock").touch()
                (rig.registry / "other-reg.sock").unlink()
                await asyncio.sleep(0.005)
            assert driver.asked - before < 40

    asyncio.run(run())


def test_get_info_is_cheap(tmp_path: Path) -> None:
    """kubelet polls GetInfo for ever → most of 200 calls take as long as calls that do nothing, and they have no side
    effect."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await until_socket(rig.socket)
            before = replace(reconciler.registration)  # not its snapshot, whose time is translated anew each time
            async with dial(str(rig.socket)) as channel, dial(str(rig.csi)) as to_driver:
                get_info: Any = channel.unary_unary("/pluginregistration.Registration/GetInfo")
                nothing: Any = to_driver.unary_unary("/csi.v1.Identity/Probe")
                seconds: dict[Any, list[float]] = {get_info: [], nothing: []}
                for _ in range(200):
                    for call, found in seconds.items():
                        started = asyncio.get_running_loop().time()
                        await call(b"")
                        found.append(asyncio.get_running_loop().time() - started)
            assert sorted(seconds[get_info])[100] < 3 * sorted(seconds[nothing])[100]
            assert reconciler.registration == before

    asyncio.run(run())


class Failing(FakeDriver):
    """Answers with an error while ``failing``."""

    failing = True

    async def GetPluginInfo(self, request: csi_pb2.GetPluginInfoRequest, context: Any) -> csi_pb2.GetPluginInfoResponse:
        if self.failing:
            raise PreconditionFailed("no name yet")
        return await super().GetPluginInfo(request, context)


def test_driver_that_answers_with_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, attempts: Callable[[int], Awaitable[None]]
) -> None:
    """The driver answers with an error → logged once with its code and text; it answers properly → the socket is
    served, and the umask is what it was."""
    before = os.umask(0o022)

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = Failing()
        async with fake_driver(rig.csi, driver), running_registrar(rig.config()) as reconciler:
            await until_error(reconciler, "FAILED_PRECONDITION no name yet")
            await attempts(2)
            driver.failing = False
            await until_socket(rig.socket)

    try:
        asyncio.run(run())
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    logged = [str(vars(record).get("fields")) for record in caplog.records if record.name == "registrar.reconciler"]
    assert len([text for text in logged if "no name yet" in text]) == 1
