"""gRPC servers and clients: failures become status codes, sockets are handled with care."""

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kubelet_stub.dialing import dial
from protos import csi_pb2, csi_pb2_grpc
from runtime import errors, rpc
from runtime.endpoints import TcpEndpoint, UnixEndpoint
from runtime.errors import ConfigurationError
from runtime.rpc import channel, server
from tests.support.dials import Dials
from tests.support.emptied import empty_after_bind
from tests.support.waiting import until


class Failing(csi_pb2_grpc.IdentityServicer):
    """An Identity service whose Probe raises an exception."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    async def Probe(self, request: csi_pb2.ProbeRequest, context: Any) -> csi_pb2.ProbeResponse:
        if self.error is not None:
            raise self.error
        return csi_pb2.ProbeResponse()


def registering(servicer: Failing) -> rpc.Register:
    return lambda server: csi_pb2_grpc.add_IdentityServicer_to_server(servicer, server)


class Accepting(csi_pb2_grpc.NodeServicer):
    """A Node service that unpublishes anything."""

    async def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        return csi_pb2.NodeUnpublishVolumeResponse()


def registering_node() -> rpc.Register:
    return lambda server: csi_pb2_grpc.add_NodeServicer_to_server(Accepting(), server)


class Odd(errors.NotFound):
    """A failure that the table of status codes does not list."""


@pytest.mark.parametrize(
    "error, code, text",
    [
        *[(kind("a sentence"), code, "a sentence") for kind, code in rpc.STATUS_CODES.items()],
        (Odd("a sentence"), rpc.StatusCode.NOT_FOUND, "a sentence"),
        (rpc.RemoteFailure(rpc.StatusCode.DATA_LOSS, "a sentence"), rpc.StatusCode.DATA_LOSS, "a sentence"),
        (ValueError("private detail"), rpc.StatusCode.INTERNAL, "internal error"),
        (errors.NotFound("password=hunter2"), rpc.StatusCode.NOT_FOUND, "***stripped***"),
    ],
)
def test_codes(tmp_path: Path, error: Exception, code: rpc.StatusCode, text: str) -> None:
    """A failure → the code of its nearest listed class, and its sentence; any other exception → INTERNAL without its
    text; secrets are redacted."""

    async def run() -> None:
        endpoint = UnixEndpoint(str(tmp_path / "s"))
        async with rpc.serve(endpoint, registering(Failing(error))), dial(endpoint.path) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest())
            assert caught.value.code().name == code.name
            assert text in (caught.value.details() or "")
            assert "hunter2" not in str(caught.value) and "private" not in str(caught.value)

    asyncio.run(run())


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x08", b"\x0a\x01\xff", b"\x0b" * 200])
@pytest.mark.parametrize("verbosity", [0, 5])
def test_what_is_not_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, verbosity: int) -> None:
    """Bytes that are not a request of the method, such as a field that is cut or text that is not UTF-8 → INTERNAL, as
    in Go, with a sentence; no stack is logged, and the next request is answered."""
    caplog.set_level(logging.INFO - verbosity)

    async def run() -> None:
        endpoint = UnixEndpoint(str(tmp_path / "s"))
        async with rpc.serve(endpoint, registering_node()) as _, dial(endpoint.path) as channel:
            method: Any = channel.unary_unary("/csi.v1.Node/NodeUnpublishVolume")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(data)
            assert caught.value.code() == grpc.StatusCode.INTERNAL
            assert caught.value.details() == "the request is not a message of the method's type"
            reply = await csi_pb2_grpc.NodeStub(channel).NodeUnpublishVolume(csi_pb2.NodeUnpublishVolumeRequest())
            assert reply == csi_pb2.NodeUnpublishVolumeResponse()

    asyncio.run(run())
    assert not any(record.exc_info or record.levelno >= logging.ERROR for record in caplog.records)


def test_undefined_method(tmp_path: Path) -> None:
    """A method that the service does not define → UNIMPLEMENTED."""

    async def run() -> None:
        endpoint = UnixEndpoint(str(tmp_path / "s"))
        async with rpc.serve(endpoint, registering(Failing())), dial(endpoint.path) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await csi_pb2_grpc.IdentityStub(channel).GetPluginInfo(csi_pb2.GetPluginInfoRequest())
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(run())


def test_socket(tmp_path: Path) -> None:
    """A server replaces a stale socket by one of mode 0700, leaves no temporary name, removes the socket at the end,
    and restores the umask."""

    async def run() -> None:
        path = tmp_path / "csi.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        before = os.umask(0o022)
        async with rpc.serve(UnixEndpoint(str(path)), registering(Failing())), dial(str(path)) as channel:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert os.listdir(tmp_path) == ["csi.sock"]
            await csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest())
        assert os.listdir(tmp_path) == []
        assert os.umask(before) == 0o022

    asyncio.run(run())


def test_successors_socket_stays(tmp_path: Path) -> None:
    """A successor has taken over the path → the first server leaves the successor's socket in place when it ends."""

    async def run() -> None:
        endpoint = UnixEndpoint(str(tmp_path / "csi.sock"))
        async with rpc.serve(endpoint, registering(Failing(errors.NotFound("old")))):
            successor = rpc.serve(endpoint, registering(Failing()))
            await successor.__aenter__()
        async with dial(endpoint.path) as channel:
            await csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest())
        await successor.__aexit__(None, None, None)
        assert os.listdir(tmp_path) == []

    asyncio.run(run())


def test_channels_do_not_share_failures(tmp_path: Path) -> None:
    """A channel has failed to connect → another channel to the same path connects without waiting."""

    async def probe(path: Path) -> None:
        async with dial(str(path)) as channel:
            await csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest())

    async def run() -> None:
        path = tmp_path / "csi.sock"
        async with dial(str(path)) as early:
            with pytest.raises(grpc.aio.AioRpcError):
                await csi_pb2_grpc.IdentityStub(early).Probe(csi_pb2.ProbeRequest())
            async with rpc.serve(UnixEndpoint(str(path)), registering(Failing())):
                await probe(path)

    asyncio.run(run())


def test_waiting_in_vain_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many callers wait for a missing server → one task tries for all of them, and stops when nobody waits; the server
    starts → all callers are served, over one connection."""
    monkeypatch.setattr(channel, "FIRST_PAUSE", 0.01)
    dials = Dials(monkeypatch)

    async def run() -> None:
        path = tmp_path / "csi.sock"
        waiting, tasks = rpc.SocketChannel(str(path)), asyncio.all_tasks()
        assert not any(await asyncio.gather(*(waiting.wait_ready(0.05) for _ in range(30))))
        assert 1 <= dials.count <= 5
        await until(lambda: asyncio.all_tasks() == tasks, "the end of the attempts")
        before = dials.count
        async with rpc.serve(UnixEndpoint(str(path)), registering(Failing())):
            assert all(await asyncio.gather(*(waiting.wait_ready(10) for _ in range(30))))
            assert dials.count == before + 1
            waiting.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_something_else_at_the_path(tmp_path: Path, kind: str) -> None:
    """A file, a directory or a dangling link at the path → ConfigurationError that names it; it is left alone."""

    async def run() -> None:
        path = tmp_path / "csi.sock"
        if kind == "file":
            path.write_text("kept")
        elif kind == "directory":
            path.mkdir()
        else:
            path.symlink_to("x")
        with pytest.raises(ConfigurationError, match=str(path)):
            async with rpc.serve(UnixEndpoint(str(path)), registering(Failing())):
                pass
        assert os.listdir(tmp_path) == ["csi.sock"]

    asyncio.run(run())


def test_missing_directory(tmp_path: Path) -> None:
    """The socket's directory does not exist → ConfigurationError that says so."""

    async def run() -> None:
        with pytest.raises(ConfigurationError, match="does not exist"):
            async with rpc.serve(UnixEndpoint(str(tmp_path / "absent" / "csi.sock")), registering(Failing())):
                pass

    asyncio.run(run())


def test_path_too_long(tmp_path: Path) -> None:
    """A path too long for a socket → ConfigurationError with the limit."""

    async def run() -> None:
        with pytest.raises(ConfigurationError, match="107 bytes"):
            async with rpc.serve(UnixEndpoint(str(tmp_path / ("x" * 120))), registering(Failing())):
                pass

    asyncio.run(run())


@pytest.mark.parametrize("remove", [False, True], ids=["emptied", "removed"])
def test_a_directory_that_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: bool) -> None:
    """Somebody empties or removes the directory while the socket is made → ConfigurationError, which says so."""
    directory = tmp_path / "csi"
    directory.mkdir()
    empty_after_bind(monkeypatch, directory, remove=remove)

    async def run() -> None:
        with pytest.raises(ConfigurationError, match="No such file or directory; is something else removing"):
            async with rpc.serve(UnixEndpoint(str(directory / "s")), registering(Failing())):
                pass

    asyncio.run(run())


def test_port_taken() -> None:
    """A TCP port in use → ConfigurationError."""

    async def run() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(ConfigurationError, match="cannot listen"):
                async with rpc.serve(TcpEndpoint("127.0.0.1", taken.getsockname()[1]), registering(Failing())):
                    pass

    asyncio.run(run())


def test_authority_is_localhost(tmp_path: Path) -> None:
    """A client of a Unix socket sends ``localhost`` as :authority, because providers refuse anything else, while gRPC's
    default is the socket's path."""
    seen: list[bytes] = []

    async def run() -> None:
        async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The server's settings let the client go on to its HEADERS frame.
            writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            while data := await reader.read(4096):
                seen.append(data)
            writer.close()
            closed.set()

        closed = asyncio.Event()
        server = await asyncio.start_unix_server(record, str(tmp_path / "s"))
        async with dial(str(tmp_path / "s")) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest(), timeout=1.0)
        await closed.wait()
        server.close()

    asyncio.run(run())
    assert b"localhost" in b"".join(seen)
    assert str(tmp_path).encode().replace(b"/", b"%2F") not in b"".join(seen)


def test_channels_do_not_share_back_off(tmp_path: Path) -> None:
    """A channel fails on a dead socket and backs off for a minute → another channel to the same path connects at
    once."""
    path = tmp_path / "csi.sock"

    async def run() -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with dial(str(path), [("grpc.initial_reconnect_backoff_ms", 60_000)]) as first:
            with pytest.raises(grpc.aio.AioRpcError):
                await csi_pb2_grpc.IdentityStub(first).Probe(csi_pb2.ProbeRequest())
            async with (
                rpc.serve(UnixEndpoint(str(path)), registering(Failing())),
                dial(str(path), [("grpc.initial_reconnect_backoff_ms", 60_000)]) as second,
            ):
                await csi_pb2_grpc.IdentityStub(second).Probe(csi_pb2.ProbeRequest())

    asyncio.run(run())


@pytest.mark.parametrize("steps", range(6))
def test_accepted_while_the_server_stops(tmp_path: Path, steps: int) -> None:
    """A client connects, and the server stops while the loop accepts the connection, at each step of it → it is closed,
    and forgotten."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        running = await server.start(UnixEndpoint(str(tmp_path / "s")), registering(Failing(ValueError())))
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(tmp_path / "s"))
            for _ in range(steps):
                await asyncio.sleep(0)
            await running.stop()
            async with asyncio.timeout(10):
                try:
                    while await loop.sock_recv(client, 1000):
                        pass
                except ConnectionResetError:
                    pass  # it was not accepted any more
            await until(lambda: not running.connections, "the connection to be forgotten")

    asyncio.run(run())
