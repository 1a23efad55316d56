"""A server whose socket others remove or replace: it serves the path again, and hurts no call by that."""

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc.aio
import pytest

from kubelet_stub.dialing import dial
from protos import csi_pb2, csi_pb2_grpc
from runtime import inotify
from runtime.endpoints import TcpEndpoint, UnixEndpoint
from runtime.rpc import kept_server, server
from tests.support.fake_driver import FakeDriver
from tests.support.files import inode
from tests.support.ports import free_port
from tests.support.waiting import until


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server serves; what inotify does not report is looked for every 0.1 s."""
    monkeypatch.setattr(kept_server, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(kept_server, "RETRY_SECONDS", 0.1)
    directory = tmp_path / "csi"
    directory.mkdir()
    return directory / "csi.sock"


@asynccontextmanager
async def kept(path: Path, name: str = "ours") -> AsyncIterator[FakeDriver]:
    """A driver of this name, whose socket is looked after."""
    driver = FakeDriver(name)
    async with kept_server.serve_kept(UnixEndpoint(str(path)), driver.register) as running:
        keeping = asyncio.create_task(running.keep())
        try:
            yield driver
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping


async def name_at(path: Path) -> str:
    """The name of the driver that a new connection reaches; empty if there is none."""
    async with dial(str(path)) as channel:
        try:
            reply = await csi_pb2_grpc.IdentityStub(channel).GetPluginInfo(csi_pb2.GetPluginInfoRequest(), timeout=5.0)
        except grpc.aio.AioRpcError:
            return ""
        return str(reply.name)


async def until_ours(path: Path) -> None:
    """Wait until new connections reach our driver."""

    async def reached() -> bool:
        return await name_at(path) == "ours"

    await until(reached, "the driver at the path")


@contextmanager
def listening(path: Path) -> Iterator[None]:
    """Another process's socket, put at the path by a rename; afterwards nobody listens on it, but it is there."""
    with socket.socket(socket.AF_UNIX) as other:
        hidden = path.with_name(".other")
        other.bind(str(hidden))
        other.listen()
        hidden.rename(path)
        yield


def remove(path: Path) -> None:
    path.unlink()


def remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)
    time.sleep(0.02)  # the directory that is made next is another one, also by its inode
    path.parent.mkdir()


def empty_directory(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


def move_away(path: Path) -> None:
    path.rename(path.with_name("moved.sock"))


def replace_by_a_dead_socket(path: Path) -> None:
    with listening(path):
        pass


@pytest.mark.parametrize(
    "damage",
    [remove, remove_directory, empty_directory, move_away, replace_by_a_dead_socket],
    ids=lambda it: it.__name__,
)
@pytest.mark.parametrize("watched", [True, False], ids=["inotify", "polling"])
def test_served_again(
    path: Path, damage: Callable[[Path], None], watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody removes or replaces the socket during a call, with or without inotify → new connections reach the driver
    soon, the call that is under way ends as if nothing had happened, and at the end the socket is gone."""
    if not watched:
        monkeypatch.setattr(inotify, "Watch", _no_watch)

    async def run() -> None:
        async with kept(path) as driver, dial(str(path)) as early:
            await until_ours(path)
            driver.hang = asyncio.Event()
            slow = asyncio.ensure_future(csi_pb2_grpc.IdentityStub(early).Probe(csi_pb2.ProbeRequest()))
            await until(lambda: driver.probes == 1, "the call to be under way")
            damage(path)
            hanging, driver.hang = driver.hang, None
            await until_ours(path)
            assert not slow.done()
            hanging.set()
            assert (await slow).ready.value
        assert not path.exists()

    asyncio.run(run())


def test_touched(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody sets the socket's time and mode, and links it under another name → it stays and nothing is
    logged; it is removed → it is served again; at the end it is gone, although it was touched."""

    async def run() -> None:
        async with kept(path):
            first = path.stat().st_ino
            os.utime(path, (0, 0))
            path.chmod(0o600)
            os.link(path, path.with_name("link.sock"))
            await asyncio.sleep(0.4)  # several looks
            assert path.stat().st_ino == first and await name_at(path) == "ours" and not caplog.records
            path.unlink()
            await until_ours(path)
            os.utime(path)
        assert not path.exists()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())


def test_living_successor(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A surge roll-out that is taken back: a second server replaces the socket → it is left alone and that is logged
    once; it stops, and removes its socket → the first one serves again."""

    async def run() -> None:
        async with kept(path):
            async with kept(path, "theirs"):
                theirs = inode(path)
                await asyncio.sleep(0.4)  # several looks
                assert inode(path) == theirs and await name_at(path) == "theirs"
            await until_ours(path)

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records if record.name == "runtime.rpc.kept_server"] == [
        "Another process has taken over the socket; standing by",
        "The socket was removed or replaced; serving it again",
    ]


def test_successor_that_is_killed(path: Path) -> None:
    """The second server is killed, so that its socket stays → the first one serves again. Two servers whose socket is
    removed agree on one of them."""

    async def run() -> None:
        async with kept(path):
            with listening(path):
                theirs = inode(path)
                await asyncio.sleep(0.3)  # several looks
                assert inode(path) == theirs
            await until_ours(path)
            async with kept(path):
                path.unlink()
                await until_ours(path)
                await asyncio.sleep(0.3)  # time to fight
                settled = inode(path)
                await asyncio.sleep(0.3)
                assert inode(path) == settled
            await until_ours(path)

    asyncio.run(run())


def test_something_else_is_in_the_way(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file is put in the socket's place → it is left alone, with one warning that names it; it is removed → served
    again."""

    async def run() -> None:
        async with kept(path):
            path.with_name("file").write_text("kept")
            path.with_name("file").rename(path)
            await until(lambda: "cannot be served again" in caplog.text, "the warning")
            await asyncio.sleep(0.3)  # several attempts
            assert path.read_text() == "kept"
            path.unlink()
            await until_ours(path)

    asyncio.run(run())
    assert caplog.text.count("cannot be served again") == 1


def test_end_while_standing_by(path: Path) -> None:
    """The server ends while another one's socket is at the path → that socket stays, and nothing else is left."""

    async def run() -> None:
        async with kept(path):
            with listening(path):
                theirs = inode(path)
                await asyncio.sleep(0.2)
        assert inode(path) == theirs and os.listdir(path.parent) == [path.name]

    asyncio.run(run())


def test_end_with_a_call_of_the_former_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends while a call that the former one began still runs → the call has the grace period and no
    longer."""
    monkeypatch.setattr(kept_server, "GRACE_SECONDS", 0.3)

    async def run() -> None:
        async with dial(str(path)) as early:
            async with kept(path) as driver:
                driver.hang = asyncio.Event()
                slow = asyncio.ensure_future(csi_pb2_grpc.IdentityStub(early).Probe(csi_pb2.ProbeRequest()))
                await until(lambda: driver.probes == 1, "the call to be under way")
                hanging, driver.hang = driver.hang, None
                path.unlink()
                await until_ours(path)
                started = time.monotonic()
            assert time.monotonic() - started < 20.0  # not LONGEST_CALL_SECONDS
            with pytest.raises(grpc.aio.AioRpcError):
                await slow
            hanging.set()

    asyncio.run(run())


def test_clients_that_do_not_read_delay_no_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is connected and frozen, so that it never confirms the goodbye → the server ends at once and not after
    the grace period; a call that runs still has that."""
    monkeypatch.setattr(server, "GRACE_SECONDS", 120.0)
    monkeypatch.setattr(kept_server, "GRACE_SECONDS", 120.0)

    async def run() -> None:
        async with kept(path):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            await reader.read(1)  # the server's settings: the connection stands
            started = time.monotonic()
        assert time.monotonic() - started < 30.0
        writer.close()
        async with dial(str(path)) as channel:
            async with kept(path) as driver:
                driver.hang = asyncio.Event()
                slow = asyncio.ensure_future(csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest()))
                await until(lambda: driver.probes == 1, "the call to be under way")
                asyncio.get_running_loop().call_later(1.0, driver.hang.set)
            assert (await slow).ready.value

    asyncio.run(run())


def test_tcp() -> None:
    """A TCP endpoint has no path to look after → it is served, and ``keep`` returns."""

    async def run() -> None:
        driver = FakeDriver()
        async with kept_server.serve_kept(TcpEndpoint("127.0.0.1", free_port()), driver.register) as running:
            await running.keep()

    asyncio.run(run())


def _no_watch(*_: object) -> None:
    raise OSError("inotify's limit is reached")
