"""Calls to servers that use what HTTP/2 and gRPC permit, in other ways than ours: as grpc-go, grpcio and proxies do."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame

from protos import csi_pb2
from runtime import rpc
from runtime.endpoints import UnixEndpoint
from runtime.http2 import bounds
from runtime.http2.bounds import Bounds
from runtime.http2.protocol import Protocol
from runtime.rpc import channel as channel_module
from runtime.rpc import wire
from tests.support import http2_frames as frames

PROBE = "/csi.v1.Identity/Probe"
REPLY = csi_pb2.ProbeResponse.FromString(b"\x0a\x02\x08\x01")
BODY = wire.framed(REPLY.SerializeToString())
OK_HEAD = frames.block([(b":status", b"200"), (b"content-type", b"application/grpc+proto"), (b"x-extra", b"1")])


@pytest.fixture(autouse=True)
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have much else to do while another connection is opened."""
    monkeypatch.setattr(channel_module, "AGAIN_SECONDS", 10.0)


def trailers(status: int, message: bytes = b"", *, more: list[tuple[bytes, bytes]] | None = None) -> bytes:
    """A header block with a status."""
    return frames.block([(b"grpc-status", b"%d" % status), (b"grpc-message", message), *(more or [])])


def head(stream: int) -> bytes:
    return frames.headers(stream, OK_HEAD, ends_stream=False)


def tail(stream: int, status: int = 0, message: bytes = b"") -> bytes:
    return frames.headers(stream, trailers(status, message), ends_stream=True)


def data(stream: int, body: bytes = BODY) -> bytes:
    return frames.frame(frames.DATA, 0, stream, body)


def page(stream: int, status: bytes, text: bytes) -> bytes:
    """What a server that does not speak gRPC answers."""
    block = frames.block([(b":status", status), (b"content-type", b"text/plain")])
    return frames.headers(stream, block, ends_stream=False) + frames.frame(frames.DATA, frames.END_STREAM, stream, text)


def padded(stream: int, body: bytes) -> bytes:
    return frames.frame(frames.DATA, frames.PADDED, stream, b"\x07" + body + bytes(7))


def split_block(stream: int, block: bytes) -> bytes:
    """A header block in frames of one byte, the first one with a priority."""
    first = frames.frame(frames.HEADERS, frames.HAS_PRIORITY, stream, bytes(5) + block[:1])
    rest = [frames.frame(frames.CONTINUATION, 0, stream, block[at : at + 1]) for at in range(1, len(block) - 1)]
    return b"".join([first, *rest, frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream, block[-1:])])


PING = frames.frame(frames.PING, 0, 0, b"12345678")
ANSWERS: dict[str, Callable[[int], bytes]] = {
    "as ours": lambda stream: head(stream) + data(stream) + tail(stream),
    "byte by byte": lambda stream: (
        head(stream) + b"".join(data(stream, BODY[at : at + 1]) for at in range(len(BODY))) + tail(stream)
    ),
    "padded, between empty frames": lambda stream: (
        head(stream) + data(stream, b"") + padded(stream, BODY) + data(stream, b"") + tail(stream)
    ),
    "continued headers": lambda stream: split_block(stream, OK_HEAD) + data(stream) + tail(stream),
    "pings, settings, windows and unknown frames between": lambda stream: (
        PING
        + head(stream)
        + frames.settings({frames.MAX_FRAME_SIZE: 2**24 - 1, 99: 7})
        + data(stream)
        + frames.window_update(0, 1000)
        + frames.frame(0xFA, 0xFF, stream, b"extension")
        + PING
        + tail(stream)
    ),
    "an informational response first": lambda stream: (
        frames.headers(stream, frames.block([(b":status", b"103")]), ends_stream=False)
        + head(stream)
        + data(stream)
        + tail(stream)
    ),
    "goodbye, and the answer after it": lambda stream: (
        head(stream)
        + frames.frame(frames.GOAWAY, 0, 0, stream.to_bytes(4) + bytes(4) + b"max_age")
        + data(stream)
        + tail(stream)
    ),
    "goodbye in two steps, as grpc-go stops": lambda stream: (
        frames.frame(frames.GOAWAY, 0, 0, frames.MAX_WINDOW.to_bytes(4) + bytes(4))
        + PING
        + head(stream)
        + frames.frame(frames.GOAWAY, 0, 0, stream.to_bytes(4) + bytes(4))
        + data(stream)
        + tail(stream)
    ),
    "a reset after the answer": lambda stream: (
        head(stream) + data(stream) + tail(stream) + frames.frame(frames.RST_STREAM, 0, stream, bytes(4))
    ),
    "frames of the stream after its end": lambda stream: (
        head(stream) + data(stream) + tail(stream) + frames.window_update(stream, 5) + data(stream, b"late")
    ),
}
FAILURES: dict[str, tuple[Callable[[int], bytes], rpc.StatusCode, str]] = {
    "trailers only": (
        lambda stream: frames.headers(
            stream,
            frames.block([(b":status", b"200"), (b"grpc-status", b"5"), (b"grpc-message", b"no")]),
            ends_stream=True,
        ),
        rpc.StatusCode.NOT_FOUND,
        "no",
    ),
    "percent-encoded": (
        lambda stream: head(stream) + tail(stream, 7, b"caf%C3%A9 100%25 %zz%ff%"),
        rpc.StatusCode.PERMISSION_DENIED,
        "café 100% %zz\ufffd%",
    ),
    "a text between spaces, and with a tab": (
        lambda stream: head(stream) + tail(stream, 5, b"  \tno such key "),
        rpc.StatusCode.NOT_FOUND,
        "  \tno such key ",
    ),
    "binary details": (
        lambda stream: (
            head(stream)
            + frames.headers(
                stream, trailers(9, b"x", more=[(b"grpc-status-details-bin", b"CAkSAXg")]), ends_stream=True
            )
        ),
        rpc.StatusCode.FAILED_PRECONDITION,
        "x",
    ),
    "a message, and then an error": (
        lambda stream: head(stream) + data(stream) + tail(stream, 13, b"late"),
        rpc.StatusCode.INTERNAL,
        "late",
    ),
    "half a message": (
        lambda stream: head(stream) + data(stream, BODY[:-1]) + tail(stream),
        rpc.StatusCode.INTERNAL,
        "the body is not one message of the length that it begins with",
    ),
    "compressed": (
        lambda stream: head(stream) + data(stream, b"\x01" + BODY[1:]) + tail(stream),
        rpc.StatusCode.INTERNAL,
        "the message is compressed, which was not offered",
    ),
    "reset: cancelled": (
        lambda stream: frames.frame(frames.RST_STREAM, 0, stream, (8).to_bytes(4)),
        rpc.StatusCode.CANCELLED,
        "HTTP/2's error code 8",
    ),
    "reset after the headers": (
        lambda stream: head(stream) + frames.frame(frames.RST_STREAM, 0, stream, (2).to_bytes(4)),
        rpc.StatusCode.INTERNAL,
        "HTTP/2's error code 2",
    ),
    "a proxy's answer": (
        lambda stream: frames.headers(stream, frames.block([(b":status", b"503")]), ends_stream=True),
        rpc.StatusCode.UNAVAILABLE,
        "the HTTP status is 503",
    ),
    "a proxy's answer with a body": (
        lambda stream: page(stream, b"503", b"secret upstream connect error"),
        rpc.StatusCode.UNAVAILABLE,
        "the HTTP status is 503",
    ),
    "another server's page": (
        lambda stream: page(stream, b"404", b"404 page not found"),
        rpc.StatusCode.UNIMPLEMENTED,
        "the HTTP status is 404",
    ),
    "an error text that unfolds to more than is taken": (
        lambda stream: (
            head(stream)
            + frames.headers(stream, Encoder().encode([(b"grpc-message", b"secret" * 4000)]), ends_stream=True)
        ),
        rpc.StatusCode.RESOURCE_EXHAUSTED,
        "received metadata size exceeds the limit",
    ),
    "an unknown status": (
        lambda stream: head(stream) + tail(stream, 77, b"secret"),
        rpc.StatusCode.UNKNOWN,
        "unknown gRPC status 77",
    ),
}


@asynccontextmanager
async def listening(
    path: Path, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[None]:
    """A server of connections with which ``talk`` talks; all have ended at the end."""
    open_connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        try:
            await talk(reader, writer)
        finally:
            open_connections.discard(writer)
            writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield
    finally:
        server.close()
        while open_connections:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def peer(path: Path, answer: Callable[[int], bytes], *, piece: int = 2**20) -> AsyncIterator[list[bytes]]:
    """A server that answers each call with ``answer``, sent in pieces of a size; yields what it has received."""
    received: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found, buffer = frames.FrameReader(), await reader.readexactly(len(frames.PREFACE))
        writer.write(frames.settings({frames.MAX_CONCURRENT_STREAMS: 2, frames.INITIAL_WINDOW_SIZE: 2**20}))
        with contextlib.suppress(ConnectionError):
            while buffer := await reader.read(65536):
                received.append(buffer)
                for each in found.read(buffer):
                    if each.type == frames.DATA and each.flags & frames.END_STREAM:
                        reply = answer(each.stream)
                        for at in range(0, len(reply), piece):
                            writer.write(reply[at : at + piece])
                            await asyncio.sleep(0)

    async with listening(path, talk):
        yield received


async def probe(channel: rpc.SocketChannel, seconds: float = 10.0) -> csi_pb2.ProbeResponse:
    return await channel.call_when_ready(PROBE, csi_pb2.ProbeRequest(), csi_pb2.ProbeResponse, seconds)


@asynccontextmanager
async def channel_to(path: Path, bounds: Bounds | None = None) -> AsyncIterator[rpc.SocketChannel]:
    channel = rpc.SocketChannel(str(path), bounds or Bounds(2**22))
    try:
        yield channel
    finally:
        channel.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def pieces() -> Iterator[tuple[str, int]]:
    for name in ANSWERS:
        yield name, 2**20
        yield name, 1


@pytest.mark.parametrize("name, piece", list(pieces()))
def test_answers(tmp_path: Path, name: str, piece: int) -> None:
    """A reply in one of the forms that are allowed, sent at once or byte by byte → received, three times."""

    async def work() -> None:
        async with peer(tmp_path / "s", ANSWERS[name], piece=piece), channel_to(tmp_path / "s") as channel:
            for _ in range(3):
                assert await probe(channel) == REPLY

    run(work)


@pytest.mark.parametrize("name", FAILURES)
def test_failures(tmp_path: Path, name: str) -> None:
    """An error in one of the forms that are allowed, or half an answer → its code and text; nothing of what may be a
    secret; the next call of the channel is answered, over another connection if need be."""
    answer, code, text = FAILURES[name]

    async def work() -> None:
        answers = iter([answer])

        def next_answer(stream: int) -> bytes:
            return next(answers, ANSWERS["as ours"])(stream)

        async with peer(tmp_path / "s", next_answer), channel_to(tmp_path / "s") as channel:
            with pytest.raises(rpc.CallFailed) as caught:
                await probe(channel)
            assert caught.value.code is code and text in caught.value.details
            assert "secret" not in caught.value.details
            assert await probe(channel) == REPLY

    run(work)


@pytest.mark.parametrize("size", [100_000, 4 * 2**20 - 100])
@pytest.mark.parametrize("window", [frames.DEFAULT_WINDOW, 256 * 1024])
def test_large_replies(tmp_path: Path, size: int, window: int) -> None:
    """A reply larger than the window, from a server that waits for windows, which ours does → received as a whole."""

    class Large:
        DESCRIPTOR = csi_pb2.DESCRIPTOR.services_by_name["Identity"]

        async def GetPluginInfo(self, _: object, __: object) -> csi_pb2.GetPluginInfoResponse:
            return csi_pb2.GetPluginInfoResponse(name="x" * size)

    async def work() -> None:
        def register(services: rpc.Services) -> None:
            services.add(Large.DESCRIPTOR, Large())

        async with (
            rpc.serve(rpc_endpoint(tmp_path / "s"), register),
            channel_to(tmp_path / "s", Bounds(2**22, window=window)) as channel,
        ):
            method = "/csi.v1.Identity/GetPluginInfo"
            for _ in range(3):
                reply = await channel.call_when_ready(
                    method, csi_pb2.GetPluginInfoRequest(), csi_pb2.GetPluginInfoResponse, 20
                )
                assert len(reply.name) == size
            with pytest.raises(rpc.CallFailed, match="larger than max") as caught:
                await channel.call(method, csi_pb2.GetPluginInfoRequest(), csi_pb2.GetPluginInfoResponse, 20, 50_000)
            assert caught.value.code is rpc.StatusCode.RESOURCE_EXHAUSTED
            assert channel.ready

    run(work)


def rpc_endpoint(path: Path) -> UnixEndpoint:
    return UnixEndpoint(str(path))


def test_the_servers_limit_of_calls(tmp_path: Path) -> None:
    """The server takes two calls at a time → ten are made two by two, in order, and all are answered."""
    begun: list[int] = []

    def answer(stream: int) -> bytes:
        begun.append(stream)
        return ANSWERS["as ours"](stream)

    async def work() -> None:
        async with peer(tmp_path / "s", answer), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            assert await asyncio.gather(*(probe(channel) for _ in range(10))) == [REPLY] * 10
            assert begun == list(range(1, 21, 2))

    run(work)


def test_a_server_that_confirms_each_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server confirms every DATA frame of long requests, on the stream and on the connection → they are answered:
    these frames are for what we have sent."""
    monkeypatch.setattr(bounds, "FRAMES", 50.0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = frames.FrameReader()
        await reader.readexactly(len(frames.PREFACE))
        writer.write(frames.settings({}))
        while buffer := await reader.read(65536):
            for each in found.read(buffer):
                if each.type == frames.DATA:
                    size = len(each.payload)
                    writer.write(frames.window_update(0, size) + frames.window_update(each.stream, size))
                    if each.flags & frames.END_STREAM:
                        writer.write(ANSWERS["as ours"](each.stream))

    async def work() -> None:
        request = csi_pb2.GetPluginInfoResponse(name="x" * 2**19)  # unknown fields of the method's request
        async with listening(tmp_path / "s", talk), channel_to(tmp_path / "s") as channel:
            for _ in range(2):
                assert await channel.call_when_ready(PROBE, request, csi_pb2.ProbeResponse, 10) == REPLY

    run(work)


def test_given_up(tmp_path: Path) -> None:
    """The caller's deadline passes, or it is cancelled → the server is told to stop, and the connection goes on."""

    async def work() -> None:
        silent = [True]

        def answer(stream: int) -> bytes:
            return b"" if silent[0] else ANSWERS["as ours"](stream)

        async with peer(tmp_path / "s", answer) as received, channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            started = time.monotonic()
            with pytest.raises(rpc.CallFailed) as caught:
                await probe(channel, 0.1)
            assert caught.value.is_unanswered and time.monotonic() - started < 5
            cancelled = asyncio.create_task(probe(channel))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            silent[0] = False
            assert await probe(channel) == REPLY
            resets = [each for each in sent(received) if each.type == frames.RST_STREAM]
            assert [(each.stream, int.from_bytes(each.payload)) for each in resets] == [(1, 8), (3, 8)]

    run(work)


def sent(received: list[bytes]) -> list[frames.Frame]:
    """The frames that a client has sent."""
    return list(frames.FrameReader().read(b"".join(received)))


def test_what_is_sent(tmp_path: Path) -> None:
    """A call → the headers that gRPC prescribes, with the deadline and localhost as the authority."""

    async def work() -> None:
        async with peer(tmp_path / "s", ANSWERS["as ours"]) as received, channel_to(tmp_path / "s") as channel:
            await probe(channel, 5)
            block = next(each.payload for each in sent(received) if each.type == frames.HEADERS)
            found = dict(Decoder().decode(block, raw=True))
            seconds = wire.parse_timeout(found.pop(b"grpc-timeout"))
            assert seconds is not None and 4 < seconds <= 5
            assert found == {
                b":method": b"POST",
                b":scheme": b"http",
                b":path": PROBE.encode(),
                b":authority": b"localhost",
                b"te": b"trailers",
                b"content-type": b"application/grpc",
                b"user-agent": b"grpc-python-secrets-store-csi",
            }

    run(work)


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take what comes and say nothing."""
    while await reader.read(65536):
        pass


@pytest.mark.parametrize("gap", [False, True], ids=["replaced", "removed, and created later"])
@pytest.mark.parametrize("waits", [False, True], ids=["before the call", "while a call waits"])
def test_a_silent_server_is_replaced(tmp_path: Path, waits: bool, gap: bool) -> None:
    """Somebody listens and says nothing, and then another server has the path → it is called: nobody waits for a server
    that has left the path. Three calls at once, for one connection."""

    async def work() -> None:
        path = tmp_path / "s.sock"
        async with listening(path, silence), channel_to(path) as channel:
            assert not await channel.wait_ready(0.1)
            calls = [asyncio.create_task(probe(channel)) for _ in range(3 * waits)]
            await asyncio.sleep(0.05)  # they wait for the silent one now
            path.unlink()
            if gap:
                assert not await channel.wait_ready(0.3)
            async with peer(path, ANSWERS["as ours"]):
                calls = calls or [asyncio.create_task(probe(channel)) for _ in range(3)]
                assert await asyncio.gather(*calls) == [REPLY] * 3
                channel.close()

    run(work)


def test_a_silent_server_that_stays_is_waited_for(tmp_path: Path) -> None:
    """Nobody else has the path → one connection, however often it is waited for; it answers later → it is called."""

    async def work() -> None:
        path, greets, connections = tmp_path / "s.sock", asyncio.Event(), 0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await greets.wait()
            writer.write(frames.settings({}))
            await silence(reader, writer)

        async with listening(path, talk), channel_to(path) as channel:
            for _ in range(3):
                assert not await channel.wait_ready(0.3)
            greets.set()
            assert await channel.wait_ready(10.0) and connections == 1

    run(work)


@pytest.mark.parametrize("calls, refused, failing", [(1, {1}, 0), (1, {1, 3}, 1), (5, {1}, 0), (5, {9}, 0)])
def test_refused(tmp_path: Path, calls: int, refused: set[int], failing: int) -> None:
    """The server refuses a call that it has not begun → it is made once more, and answered; it refuses it again → its
    caller reads UNAVAILABLE, and the server is not asked a third time."""

    async def work() -> None:
        asked: list[int] = []

        def answer(stream: int) -> bytes:
            asked.append(stream)
            if stream in refused:
                return frames.frame(frames.RST_STREAM, 0, stream, ErrorCodes.REFUSED_STREAM.to_bytes(4))
            return ANSWERS["as ours"](stream)

        async with peer(tmp_path / "s", answer), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            found = await asyncio.gather(*(probe(channel) for _ in range(calls)), return_exceptions=True)
            failures = [each for each in found if isinstance(each, rpc.CallFailed)]
            assert [each.code for each in failures] == [rpc.StatusCode.UNAVAILABLE] * failing
            assert found.count(REPLY) == calls - failing and len(asked) == calls + 1

    run(work)


def goodbye(last_stream: int, code: int = 0) -> bytes:
    """No stream after ``last_stream`` is taken."""
    return frames.frame(frames.GOAWAY, 0, 0, last_stream.to_bytes(4) + code.to_bytes(4) + b"secret")


class Leaving:
    """A server of three calls at a time, of which ``connections`` end as ``leave`` says once ``calls`` calls were
    received; the others are answered."""

    def __init__(self, leave: Callable[[int], bytes | None], connections: int = 1, calls: int = 1) -> None:
        self._leave, self._left, self._calls = leave, connections, calls
        self.opened = self.received = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.opened += 1
        leaves, found, streams = self.opened <= self._left, frames.FrameReader(), list[int]()
        await reader.readexactly(len(frames.PREFACE))
        writer.write(frames.settings({frames.MAX_CONCURRENT_STREAMS: 3}))
        with contextlib.suppress(ConnectionError):
            while buffer := await reader.read(65536):
                for each in found.read(buffer):
                    if each.type == frames.DATA and each.flags & frames.END_STREAM:
                        self.received += 1
                        streams.append(each.stream)
                        if not leaves:
                            writer.write(ANSWERS["as ours"](each.stream))
                        elif len(streams) == self._calls:
                            said = self._leave(streams[0])
                            if said is None:
                                return
                            writer.write(said)


LEAVING: dict[str, Callable[[int], bytes | None]] = {
    "before the first call": lambda _: goodbye(0),
    "with an error": lambda _: goodbye(0, ErrorCodes.ENHANCE_YOUR_CALM),
    "after the first call, which is answered": lambda first: goodbye(first) + ANSWERS["as ours"](first),
    "in two steps": lambda first: goodbye(frames.MAX_WINDOW) + goodbye(first) + ANSWERS["as ours"](first),
    "in two steps, of which the second takes nothing": lambda _: goodbye(frames.MAX_WINDOW) + goodbye(0),
}


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.parametrize("calls", [1, 3, 10])
def test_goodbye(tmp_path: Path, name: str, calls: int) -> None:
    """The server ends the connection, and says which calls it has not begun; others wait for their turn → all are
    answered, those over another connection, and none is made twice that it may have begun."""

    async def work() -> None:
        server = Leaving(LEAVING[name], calls=min(calls, 3))
        async with listening(tmp_path / "s", server.talk), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            assert await asyncio.gather(*(probe(channel) for _ in range(calls))) == [REPLY] * calls
            unbegun = min(calls, 3) - (BODY in (LEAVING[name](1) or b""))
            assert server.received == calls + unbegun
            assert server.opened == (1 if calls == 1 and not unbegun else 2)

    run(work)


def test_goodbye_twice(tmp_path: Path) -> None:
    """The next connection ends like that, too → UNAVAILABLE; it is not tried a third time."""

    async def work() -> None:
        server = Leaving(LEAVING["before the first call"], connections=2)
        async with listening(tmp_path / "s", server.talk), channel_to(tmp_path / "s") as channel:
            with pytest.raises(rpc.CallFailed, match="the server ended the connection, with HTTP/2's error") as caught:
                await probe(channel)
            assert caught.value.code is rpc.StatusCode.UNAVAILABLE and "secret" not in caught.value.details
            assert server.opened == server.received == 2
            assert await probe(channel) == REPLY

    run(work)


def test_goodbye_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends the connection and is gone → UNAVAILABLE soon, not at the deadline."""
    monkeypatch.setattr(channel_module, "AGAIN_SECONDS", 0.05)

    async def work() -> None:
        server = Leaving(LEAVING["before the first call"])
        async with listening(tmp_path / "s", server.talk), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            (tmp_path / "s").unlink()
            with pytest.raises(rpc.CallFailed) as caught:
                await channel.call(PROBE, csi_pb2.ProbeRequest(), csi_pb2.ProbeResponse, 600)
            assert caught.value.code is rpc.StatusCode.UNAVAILABLE

    run(work)


def test_a_connection_is_lost(tmp_path: Path) -> None:
    """Three calls are running and four wait for their turn when the connection breaks → the three fail, as the server
    may have begun them; the four are made over another connection."""

    async def work() -> None:
        server = Leaving(lambda _: None, calls=3)
        async with listening(tmp_path / "s", server.talk), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            found = await asyncio.gather(*(probe(channel) for _ in range(7)), return_exceptions=True)
            failed = [each for each in found if isinstance(each, rpc.CallFailed)]
            assert [each.code for each in failed] == [rpc.StatusCode.UNAVAILABLE] * 3
            assert found.count(REPLY) == 4 and server.received == 7

    run(work)


BREACHES: dict[str, tuple[Callable[[int], bytes], rpc.StatusCode, str]] = {
    "an error text that is too long": (
        lambda stream: head(stream) + tail(stream, 13, b"x" * 20_000),
        rpc.StatusCode.RESOURCE_EXHAUSTED,
        "received metadata size exceeds the limit",
    ),
    "one that unfolds to more than is taken": (
        lambda stream: frames.headers(stream, Encoder().encode([(b"grpc-message", b"x" * 20_000)]), ends_stream=True),
        rpc.StatusCode.RESOURCE_EXHAUSTED,
        "received metadata size exceeds the limit",
    ),
    "headers without end": (
        lambda stream: frames.headers(stream, frames.block([(b":status", b"103")]), ends_stream=False) * 20,
        rpc.StatusCode.RESOURCE_EXHAUSTED,
        "too many header blocks",
    ),
    "headers that cannot be read": (
        lambda stream: frames.headers(stream, b"\x80", ends_stream=True),
        rpc.StatusCode.INTERNAL,
        "the peer has broken HTTP/2's rules",
    ),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_rule_that_one_reply_breaks(tmp_path: Path, name: str) -> None:
    """One of three replies breaks a rule or a bound, for which the connection is closed → its call fails with what it
    was; the others are UNAVAILABLE, which is tried again."""
    breach, code, text = BREACHES[name]

    async def work() -> None:
        server = Leaving(lambda first: breach(first + 2), calls=3)
        async with listening(tmp_path / "s", server.talk), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            found = await asyncio.gather(*(probe(channel) for _ in range(3)), return_exceptions=True)
            failures = [each for each in found if isinstance(each, rpc.CallFailed)]
            assert [each.code for each in failures] == [rpc.StatusCode.UNAVAILABLE, code, rpc.StatusCode.UNAVAILABLE]
            assert failures[1].details == text
            assert failures[0].details == f"the connection was closed because of another call: {text}"

    run(work)


def test_our_own_goodbye(tmp_path: Path) -> None:
    """Calls run and wait when the channel is closed → they fail; no connection is opened for them."""

    async def work() -> None:
        server = Leaving(lambda _: b"", calls=1000)
        async with listening(tmp_path / "s", server.talk), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            calls = [asyncio.create_task(probe(channel)) for _ in range(7)]
            while server.received < 3:
                await asyncio.sleep(0.001)
            channel.close()
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, rpc.CallFailed) for each in found) and server.opened == 1

    run(work)


def test_a_turn_is_passed_on(tmp_path: Path) -> None:
    """The server takes one call at a time; one that waits is cancelled at the moment at which it is its turn → the next
    one is called instead."""

    async def work() -> None:
        held: list[int] = []
        open_ = asyncio.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found = frames.FrameReader()
            await reader.readexactly(len(frames.PREFACE))
            writer.write(frames.settings({frames.MAX_CONCURRENT_STREAMS: 1}))
            while buffer := await reader.read(65536):
                for each in found.read(buffer):
                    if each.type == frames.DATA and each.flags & frames.END_STREAM:
                        held.append(each.stream)
                        await open_.wait()
                        writer.write(ANSWERS["as ours"](each.stream))

        async with listening(tmp_path / "s", talk), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            first, second, third = (asyncio.create_task(probe(channel, 5)) for _ in range(3))
            first.add_done_callback(lambda _: second.cancel())
            while not held:
                await asyncio.sleep(0.001)
            open_.set()
            assert await first == REPLY and await third == REPLY and second.cancelled()

    run(work)


def test_settings_that_nobody_knows() -> None:
    """A peer names all settings that a frame has room for, most of them unknown → what it means is kept, no more."""
    protocol = Protocol({}, 2**14, is_client=True)
    protocol.initiate_connection()
    usual = len(protocol.remote_settings)
    protocol.receive_data(frames.settings(dict.fromkeys(range(10, 2700), 7)))
    protocol.receive_data(frames.settings({frames.MAX_CONCURRENT_STREAMS: 5, 99: 9}))
    assert protocol.remote_settings.max_concurrent_streams == 5
    assert len(protocol.remote_settings) == usual + 1


def test_frames_are_not_written_out() -> None:
    """h2 makes a text of each frame that it receives → the payload is not in it: that is slow, and may be a secret."""
    assert b"secret".hex() not in repr(DataFrame(1, b"secret"))


def test_the_servers_table_of_headers(tmp_path: Path) -> None:
    """A server that keeps no table of headers → the next block begins by saying that ours is empty (RFC 7541, section
    4.2), which its decoder insists on."""

    async def work() -> None:
        decoder, decoded = Decoder(), []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found = frames.FrameReader()
            await reader.readexactly(len(frames.PREFACE))
            writer.write(frames.settings({frames.HEADER_TABLE_SIZE: 0}))
            decoder.max_allowed_table_size = 0
            while buffer := await reader.read(65536):
                for each in found.read(buffer):
                    if each.type == frames.HEADERS:
                        decoded.append(decoder.decode(each.payload))
                    if each.type == frames.DATA and each.flags & frames.END_STREAM:
                        writer.write(ANSWERS["as ours"](each.stream))

        async with listening(tmp_path / "s", talk), channel_to(tmp_path / "s") as channel:
            assert await channel.wait_ready(5)
            for _ in range(3):
                assert await probe(channel) == REPLY
        assert len(decoded) == 3

    run(work)
