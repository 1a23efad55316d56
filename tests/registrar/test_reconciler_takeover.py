"""Who serves the socket, and what is told when nobody can: two registrars, dead sockets, a read-only directory."""

import asyncio
import ctypes
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kubelet_stub.events import Reason
from protos import csi_pb2
from registrar.reconciler import Reconciler, pause_after
from registrar.state import State
from runtime import rpc
from runtime.errors import ConfigurationError, PreconditionFailed
from tests.registrar.rig import RegistrarRig, running_registrar, until_error, until_socket, until_state
from tests.support.fake_driver import NAME, FakeDriver, fake_driver
from tests.support.files import NOTHING, inode

_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def another(rig: RegistrarRig) -> Iterator[socket.socket]:
    """Another registrar's socket at the path, as a rename puts it there."""
    with socket.socket(socket.AF_UNIX) as made:
        hidden = rig.registry / ".another"
        made.bind(str(hidden))
        made.listen(16)
        hidden.rename(rig.socket)
        yield made


def test_a_live_successor_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Taken over: ours stands by and says so once, however often it looks; it serves again once the other is gone."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await kubelet.wait_registered(NAME)
            with another(rig):
                theirs = inode(rig.socket)
                await until_error(reconciler, "another registrar serves")
                assert reconciler.registration.state is State.WAITING
                await asyncio.sleep(1.0)  # three looks
                assert inode(rig.socket) == theirs
                rig.socket.unlink()
            await until_socket(rig.socket, other_than=theirs)
            await until_state(reconciler, State.REGISTERED)

    asyncio.run(run())
    told = Counter(record.getMessage() for record in caplog.records if record.name == "registrar.reconciler")
    assert told["Another registrar has taken over; standing by"] == 1


def test_a_live_successor_is_left_alone_by_a_driver_that_comes_back(tmp_path: Path) -> None:
    """Our driver restarts while another registrar serves: ours stands by all the same, it has had its turn."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with running_registrar(rig.config()) as reconciler:
            async with fake_driver(rig.csi):
                await until_socket(rig.socket)
            await until_state(reconciler, State.NO_DRIVER)
            with another(rig):
                theirs = inode(rig.socket)
                async with fake_driver(rig.csi):
                    await until_error(reconciler, "another registrar serves")
                    assert inode(rig.socket) == theirs

    asyncio.run(run())


def test_a_dead_successor_is_replaced(tmp_path: Path) -> None:
    """A socket on which nobody answers (a successor that was killed) is only a file: kubelet gets ours again."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with rig.kubelet() as kubelet, fake_driver(rig.csi), running_registrar(rig.config()):
            await kubelet.events.wait(Reason.REGISTERED)
            with another(rig) as theirs:
                theirs.close()
                dead = inode(rig.socket)
            await until_socket(rig.socket, other_than=dead)
            await kubelet.events.wait(Reason.REGISTERED, count=2)

    asyncio.run(run())


def mount(target: Path, flags: int) -> None:
    """A tmpfs, or the same one with other flags."""
    result = _libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", flags, None)
    assert result == 0, os.strerror(ctypes.get_errno())


@pytest.mark.parametrize("which", ["registry", "driver"])
def test_directory_that_was_deleted_on_the_node(tmp_path: Path, which: str) -> None:
    """A mounted directory whose original is removed is a dead inode: the registrar ends, its container restarts."""

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


def test_directory_that_is_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Told once, though it is tried again and again; served as soon as it can be written."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        mount(rig.registry, _MS_RDONLY)
        try:
            async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
                await until_error(reconciler, "is not writable")
                await asyncio.sleep(1.0)  # three tries
                mount(rig.registry, _MS_REMOUNT)
                await until_socket(rig.socket)
        finally:
            _libc.umount2(os.fsencode(rig.registry), 2)

    asyncio.run(run())
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1


def test_refusals_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three refusals with one text are one line; the state keeps the text while the socket is made anew."""

    caplog.set_level(logging.INFO, "registrar.reconciler")

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:  # noqa: SIM117
            async with rig.kubelet(refuse_registration="not today") as kubelet:
                inodes: set[tuple[int, int]] = set()
                async with asyncio.timeout(10):
                    while len(kubelet.events.of(Reason.REGISTRATION_FAILED)) < 3 or len(inodes - {NOTHING}) < 3:
                        inodes.add(inode(rig.socket))
                        await asyncio.sleep(0.01)
                await until_state(reconciler, State.REFUSED)
                assert reconciler.registration.error == "not today"

    asyncio.run(run())
    told = Counter(record.getMessage() for record in caplog.records if record.name == "registrar.reconciler")
    assert told["Kubelet refused the registration; it is offered again"] == 1
    assert told["Registration socket is served; waiting for kubelet"] == 1


def test_pauses_between_offers() -> None:
    """They double up to half a minute, and stay there for as many refusals as a year has."""
    assert [pause_after(refusals) for refusals in (1, 2, 3)] == [0.4, 0.8, 1.6]
    assert pause_after(8) == pause_after(1_000_000) == 30.0


def test_a_busy_directory_is_no_hot_loop(tmp_path: Path) -> None:
    """Other plugins come and go two hundred times in a second: the driver is asked a few times, not at each of them."""

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
    """Kubelet polls it for ever: well under 5 ms here, where a bench says how much under 1 ms, and no side effect."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await until_socket(rig.socket)
            before = reconciler.registration.snapshot()
            async with rpc.dial(str(rig.socket)) as channel:
                get_info: Any = channel.unary_unary("/pluginregistration.Registration/GetInfo")
                seconds = []
                for _ in range(200):
                    started = asyncio.get_running_loop().time()
                    await get_info(b"")
                    seconds.append(asyncio.get_running_loop().time() - started)
            assert sorted(seconds)[100] < 0.005
            assert reconciler.registration.snapshot() == before

    asyncio.run(run())


class Failing(FakeDriver):
    """Answers with an error until it is told otherwise."""

    failing = True

    async def GetPluginInfo(self, request: csi_pb2.GetPluginInfoRequest, context: Any) -> csi_pb2.GetPluginInfoResponse:
        if self.failing:
            raise PreconditionFailed("no name yet")
        return await super().GetPluginInfo(request, context)


def test_driver_that_answers_with_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Told once with its code and text, waited out in process, and registered as soon as it answers; umask restored."""
    before = os.umask(0o022)

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        driver = Failing()
        async with fake_driver(rig.csi, driver), running_registrar(rig.config()) as reconciler:
            await until_error(reconciler, "FAILED_PRECONDITION no name yet")
            await asyncio.sleep(0.5)
            driver.failing = False
            await until_socket(rig.socket)

    try:
        asyncio.run(run())
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    told = [str(vars(record).get("fields")) for record in caplog.records if record.name == "registrar.reconciler"]
    assert len([text for text in told if "no name yet" in text]) == 1
