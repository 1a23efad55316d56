"""Clients that break HTTP/2's rules or waste our time: each costs its own connection only, and is told why."""

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import hpack
import pytest
from h2.errors import ErrorCodes

from protos import csi_pb2
from runtime import rpc
from runtime.endpoints import UnixEndpoint
from runtime.http2 import bounds, connection
from runtime.rpc import server, server_connection, wire
from tests.support import http2_frames as frames
from tests.support.fake_driver import FakeDriver, fake_driver
from tests.support.waiting import until

PROBE = "/csi.v1.Identity/Probe"
HELLO = frames.PREFACE + frames.settings({})


def head(**changed: str) -> bytes:
    """The header block of a call of Probe; ``changed`` by name, with ``_`` for ``-``."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": PROBE,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    return frames.block((name.encode(), value.encode()) for name, value in fields.items())


def request(stream: int = 1, **changed: str) -> bytes:
    """A whole call of Probe."""
    return frames.headers(stream, head(**changed), ends_stream=False) + frames.frame(
        frames.DATA, frames.END_STREAM, stream, wire.framed(b"")
    )


class Raw:
    """A client that sends what a test wants; ``frames`` are those that the server has sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader, self._frames, self.ended = reader, frames.FrameReader(), False
        self.frames: list[frames.Frame] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: Path) -> "Raw":
        """Connect, and send nothing."""
        return cls(*await asyncio.open_unix_connection(str(path)))

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65536):
                self.frames += self._frames.read(data)
        except ConnectionError:
            pass
        self.ended = True

    async def until_ended(self) -> list[int]:
        """Wait until the server has closed the connection; the codes of its GOAWAY frames."""
        await until(lambda: self.ended, "the end of the connection")
        return [int.from_bytes(each.payload[4:8]) for each in self.frames if each.type == frames.GOAWAY]

    async def until_answered(self, stream: int) -> dict[str, str]:
        """Wait for the trailers of a stream, and return all its headers."""

        def ended() -> bool:
            kinds = (frames.HEADERS, frames.DATA)
            return any(
                each.stream == stream and each.type in kinds and each.flags & frames.END_STREAM for each in self.frames
            )

        await until(ended, f"the answer on stream {stream}")
        decoder = hpack.Decoder()
        blocks = [each for each in self.frames if each.type == frames.HEADERS]
        found = [(each.stream, dict(decoder.decode(each.payload))) for each in blocks]
        return {str(name): str(value) for number, block in found if number == stream for name, value in block.items()}

    async def close(self) -> None:
        """Close the connection."""
        self._reading.cancel()
        self.writer.close()


def control(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return frames.frame(kind, flags, stream, payload)


WINDOW = frames.INITIAL_WINDOW_SIZE.to_bytes(2) + (2**31).to_bytes(4)
FAULTS: dict[str, tuple[bytes, ErrorCodes]] = {
    "a frame that is too long": (b"\x01\x00\x00" + b"\x00" * 6, ErrorCodes.FRAME_SIZE_ERROR),
    "a block that is not continued": (
        frames.frame(frames.HEADERS, 0, 1, head()) + control(frames.PING, bytes(8)),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "a continuation of nothing": (control(frames.CONTINUATION, head(), 4, 1), ErrorCodes.PROTOCOL_ERROR),
    "headers of stream 0": (frames.headers(0, head(), ends_stream=True), ErrorCodes.PROTOCOL_ERROR),
    "an even stream": (frames.headers(2, head(), ends_stream=True), ErrorCodes.PROTOCOL_ERROR),
    "a stream below the last": (request(7) + request(5), ErrorCodes.PROTOCOL_ERROR),
    "data of no stream": (control(frames.DATA, b"x", 0, 9), ErrorCodes.PROTOCOL_ERROR),
    "the end of no stream": (control(frames.RST_STREAM, bytes(4), 0, 9), ErrorCodes.PROTOCOL_ERROR),
    "a push": (control(frames.PUSH_PROMISE, bytes(4), 0, 1), ErrorCodes.PROTOCOL_ERROR),
    "padding longer than its frame": (
        frames.frame(frames.HEADERS, frames.PADDED | frames.END_HEADERS, 1, b"\xffx"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "half a setting": (control(frames.SETTINGS, b"12345"), ErrorCodes.FRAME_SIZE_ERROR),
    "a window that is too large": (control(frames.SETTINGS, WINDOW), ErrorCodes.FLOW_CONTROL_ERROR),
    "a window that grows too large": (
        control(frames.WINDOW_UPDATE, frames.MAX_WINDOW.to_bytes(4)),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "a window update by 0": (control(frames.WINDOW_UPDATE, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
    "a short ping": (control(frames.PING, b"1234"), ErrorCodes.FRAME_SIZE_ERROR),
    "a block that cannot be decoded": (
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "a header that is too long": (
        frames.headers(1, head(x="y" * 20_000), ends_stream=False),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "a header that unfolds": (
        # An entry of 4 KB in the table of the connection, named again and again by one byte.
        frames.headers(1, b"\x40\x01x\x7f\xa0\x1e" + b"y" * 3999 + b"\xbe" * 200, ends_stream=False),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "pings": (control(frames.PING, bytes(8)) * 3000, ErrorCodes.ENHANCE_YOUR_CALM),
    "settings": (control(frames.SETTINGS) * 3000, ErrorCodes.ENHANCE_YOUR_CALM),
    "priorities": (control(frames.PRIORITY, bytes(5), 0, 1) * 3000, ErrorCodes.ENHANCE_YOUR_CALM),
    "unknown frames": (control(77) * 3000, ErrorCodes.ENHANCE_YOUR_CALM),
    "many settings at once": (frames.settings({1000 + name: 1 for name in range(100)}), ErrorCodes.ENHANCE_YOUR_CALM),
    "data after a reset": (
        request() + control(frames.RST_STREAM, bytes(4), 0, 1) + control(frames.DATA, b"x" * 100, 0, 1) * 3000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "data after the end": (
        request() + control(frames.DATA, b"x" * 100, 0, 1) * 3000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "headers after a reset": (
        request() + control(frames.RST_STREAM, bytes(4), 0, 1) + frames.headers(1, head(), ends_stream=True) * 3000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "empty continuations": (
        frames.frame(frames.HEADERS, 0, 1, b"") + control(frames.CONTINUATION, b"", 0, 1) * 3000,
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "empty data": (
        frames.headers(1, head(), ends_stream=False) + control(frames.DATA, b"", 0, 1) * 3000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "data of padding only": (
        frames.headers(1, head(), ends_stream=False) + control(frames.DATA, b"\x00", frames.PADDED, 1) * 3000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "calls without a message": (
        b"".join(frames.headers(number, head(), ends_stream=True) for number in range(1, 6001, 2)),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "calls that are cancelled at once": (
        b"".join(
            request(number) + control(frames.RST_STREAM, ErrorCodes.CANCEL.to_bytes(4), 0, number)
            for number in range(1, 6001, 2)
        ),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(tmp_path: Path, fault: str) -> None:
    """A client breaks a rule, or sends thousands of frames that move nothing → it reads why, and its connection ends;
    other clients are answered."""
    data, code = FAULTS[fault]

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(HELLO + data)
            assert await client.until_ended() == [code]
            await client.close()
            await probe(tmp_path / "s")

    asyncio.run(run())


async def probe(path: Path, seconds: float = 5.0) -> csi_pb2.ProbeResponse:
    """What a client without faults is answered."""
    return await rpc.call_once(str(path), PROBE, csi_pb2.ProbeRequest(), csi_pb2.ProbeResponse, seconds)


STREAM_FAULTS = {
    "headers after the end": request(1),
    "data after the end": control(frames.DATA, b"x", frames.END_STREAM, 1),
    "data after the end of another size": control(frames.DATA, b"x" * 10_000, 0, 1),
}


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_stream_fault(tmp_path: Path, fault: str) -> None:
    """A client goes on with a call that it has ended, while it runs → this call ends, no other."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")) as driver:
            driver.hang = asyncio.Event()
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(HELLO + request(1) + request(3))
            await until(lambda: driver.probes == 2, "both calls")
            client.writer.write(STREAM_FAULTS[fault])
            await until(lambda: any(each.type == frames.RST_STREAM for each in client.frames), "the end of the call")
            reset = next(each for each in client.frames if each.type == frames.RST_STREAM)
            assert (reset.stream, int.from_bytes(reset.payload)) == (1, ErrorCodes.STREAM_CLOSED)
            driver.hang.set()
            assert (await client.until_answered(3))["grpc-status"] == "0"
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.1", bytes(range(200, 250))])
def test_another_protocol(tmp_path: Path, data: bytes) -> None:
    """What is sent is not HTTP/2 → the connection ends at once, without an answer."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(data)
            assert await client.until_ended() == [] and client.frames == []
            await client.close()

    asyncio.run(run())


def test_the_first_frame_is_no_settings(tmp_path: Path) -> None:
    """A call without a greeting → PROTOCOL_ERROR."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(frames.PREFACE + request())
            assert await client.until_ended() == [ErrorCodes.PROTOCOL_ERROR]
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("sent", [b"", b"PRI * HT", frames.PREFACE])
def test_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """A client connects, and sends nothing or half a greeting → it is closed after a while."""
    monkeypatch.setattr(server_connection, "GREETING_SECONDS", 0.2)

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(sent)
            assert await client.until_ended() == []
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "changed, status, text",
    [
        ({":path": "/csi.v1.Identity/Steal"}, 12, "Method not found!"),
        ({"grpc_encoding": "gzip"}, 12, "compressed requests are not supported"),
        ({"grpc_timeout": "soon"}, 13, "malformed grpc-timeout"),
        ({"grpc_timeout": "123456789S"}, 13, "malformed grpc-timeout"),
    ],
)
def test_requests_that_are_refused(tmp_path: Path, changed: dict[str, str], status: int, text: str) -> None:
    """A request with a header that cannot be served → a status that says why; the next call is served."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(HELLO + request(1, **changed) + request(3))
            answer = await client.until_answered(1)
            assert (answer["grpc-status"], answer["grpc-message"]) == (str(status), text)
            assert (await client.until_answered(3))["grpc-status"] == "0"
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "body, status",
    [
        (b"", 13),
        (b"\x00\x00", 13),
        (b"\x01\x00\x00\x00\x00", 13),
        (wire.framed(b"") * 2, 13),
        (b"\x00\x00\x00\x00\x02x", 13),
        (b"\x00\xff\xff\xff\xff", 8),
    ],
)
def test_bodies_that_are_no_message(tmp_path: Path, body: bytes, status: int) -> None:
    """A body that is empty, cut, compressed, two messages, or announced as too large → a status."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            data = frames.headers(1, head(), ends_stream=False) + frames.frame(frames.DATA, 1, 1, body)
            client.writer.write(HELLO + data + request(3))
            assert (await client.until_answered(1))["grpc-status"] == str(status)
            assert (await client.until_answered(3))["grpc-status"] == "0"
            await client.close()

    asyncio.run(run())


def test_a_browser(tmp_path: Path) -> None:
    """A GET, or another content type → HTTP 415 without a gRPC status."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            get = frames.block([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")])
            client.writer.write(HELLO + frames.headers(1, get, ends_stream=True))
            assert await client.until_answered(1) == {":status": "415"}
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("knows", [False, True], ids=["before the limit is read", "in spite of the limit"])
def test_too_many_calls_at_once(tmp_path: Path, knows: bool) -> None:
    """A client begins 300 calls that take long → as many as the greeting announces run, the others are refused one by
    one; the first ones are answered in the end."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")) as driver:
            driver.hang = asyncio.Event()
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(HELLO)
            await until(lambda: bool(client.frames), "the greeting")
            assert frames.MAX_CONCURRENT_STREAMS.to_bytes(2) + (100).to_bytes(4) in client.frames[0].payload
            client.writer.write(control(frames.SETTINGS, flags=frames.ACK) * knows)
            client.writer.write(b"".join(request(number) for number in range(1, 601, 2)))
            await until(lambda: driver.probes == 100, "a hundred calls")
            driver.hang.set()
            await client.until_answered(199)
            resets = [each for each in client.frames if each.type == frames.RST_STREAM]
            refused = {each.stream: int.from_bytes(each.payload) for each in reversed(resets)}  # of each the first
            assert list(refused.values()) == [ErrorCodes.REFUSED_STREAM] * 200 and driver.probes == 100
            await client.close()

    asyncio.run(run())


def test_cancelled_and_expired(tmp_path: Path) -> None:
    """A client cancels a call, another's deadline passes, another disconnects → the method is cancelled each time, and
    the second client reads DEADLINE_EXCEEDED."""

    class Counting(FakeDriver):
        cancelled = 0

        async def Probe(self, request: csi_pb2.ProbeRequest, context: object) -> csi_pb2.ProbeResponse:
            try:
                return await super().Probe(request, context)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

    async def run() -> None:
        driver = Counting()
        driver.hang = asyncio.Event()
        async with fake_driver(str(tmp_path / "s"), driver):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(HELLO + request(1) + request(3, grpc_timeout="50m") + request(5))
            await until(lambda: driver.probes == 3, "the calls")
            client.writer.write(control(frames.RST_STREAM, ErrorCodes.CANCEL.to_bytes(4), 0, 1))
            assert (await client.until_answered(3))["grpc-status"] == "4"
            await until(lambda: driver.cancelled == 2, "two to be cancelled")
            await client.close()
            await until(lambda: driver.cancelled == 3, "the last to be cancelled")

    asyncio.run(run())


def test_expired_calls_count_until_they_end(tmp_path: Path) -> None:
    """The deadlines of a hundred calls pass, and their tasks take their time to end → further calls are refused until
    then, and served after."""

    class Slow(FakeDriver):
        def __init__(self) -> None:
            super().__init__()
            self.expired, self.ended, self.may_end = 0, 0, asyncio.Event()

        async def Probe(self, request: csi_pb2.ProbeRequest, context: object) -> csi_pb2.ProbeResponse:
            try:
                return await super().Probe(request, context)
            except asyncio.CancelledError:
                self.expired += 1
                await self.may_end.wait()
                self.ended += 1
                raise

    async def run() -> None:
        driver = Slow()
        driver.hang = asyncio.Event()
        async with fake_driver(str(tmp_path / "s"), driver):
            client = await Raw.connect(tmp_path / "s")
            calls = b"".join(request(number, grpc_timeout="300m") for number in range(1, 201, 2))
            client.writer.write(HELLO + calls)
            await until(lambda: driver.expired == 100, "all to expire")
            client.writer.write(request(201))
            await until(lambda: any(each.type == frames.RST_STREAM for each in client.frames), "the refusal")
            driver.may_end.set()
            driver.hang.set()
            await until(lambda: driver.ended == 100, "the ends of the tasks")
            client.writer.write(request(203))
            assert (await client.until_answered(203))["grpc-status"] == "0"
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("opens", [True, False])
def test_a_response_that_waits_when_the_server_stops(tmp_path: Path, opens: bool) -> None:
    """The server stops while a response waits for the client's window → it is sent if the client opens the window, and
    given up at the end of the time otherwise."""

    async def run() -> None:
        driver = FakeDriver()
        running = await server.start(UnixEndpoint(str(tmp_path / "s")), driver.register)
        client = await Raw.connect(tmp_path / "s")
        client.writer.write(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + request())
        await until(lambda: any(each.type == frames.HEADERS for each in client.frames), "the headers")
        stopping = asyncio.create_task(running.stop(60.0 if opens else 0.1))
        await until(lambda: any(each.type == frames.GOAWAY for each in client.frames), "the goodbye")
        if opens:
            client.writer.write(frames.window_update(1, 1000))
            assert (await client.until_answered(1))["grpc-status"] == "0"
        await stopping
        assert await client.until_ended() == [ErrorCodes.NO_ERROR] and not running.connections
        await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("reads", [True, False])
def test_a_connection_is_closed_before_all_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    """The server closes a connection whose client has not read everything yet → the client has some time for that, and
    is cut off afterwards; nothing fails once it is gone."""
    monkeypatch.setattr(connection, "GOODBYE_SECONDS", 0.2)
    raised: list[object] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: raised.append(context))
        driver = FakeDriver("x" * 2**20)
        running = await server.start(UnixEndpoint(str(tmp_path / "s")), driver.register)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            windows = frames.settings({frames.INITIAL_WINDOW_SIZE: 2**22}) + frames.window_update(0, 2**22)
            client.sendall(frames.PREFACE + windows + request(1, **{":path": "/csi.v1.Identity/GetPluginInfo"}))
            client.setblocking(False)
            await until(lambda: driver.asked == 1 and running.calls.idle.is_set(), "the response")
            (closed,) = running.connections
            closed.close()
            closed.close()
            data = b""
            while reads and (more := await loop.sock_recv(client, 2**20)):
                data += more
            assert len(data) > 2**20 or not reads
            await closed.gone
            closed.close()
            waited = loop.create_future()
            loop.call_later(0.2, waited.set_result, None)
            await waited
        await running.stop()

    asyncio.run(run())
    assert not raised


@pytest.mark.parametrize(
    "end",
    [
        frames.frame(frames.DATA, 0, 1, wire.framed(b"")) + frames.headers(1, frames.block([]), ends_stream=True),
        frames.frame(frames.DATA, 0, 1, wire.framed(b"")) + control(frames.DATA, b"", frames.END_STREAM, 1),
        frames.frame(frames.DATA, frames.END_STREAM, 1, wire.framed(b"")) + control(frames.GOAWAY, bytes(8)),
        frames.frame(frames.DATA, frames.END_STREAM, 1, wire.framed(b"")) + control(frames.PRIORITY, bytes(5), 0, 1),
    ],
    ids=["trailers", "an empty frame", "goodbye", "a priority"],
)
def test_other_ends_of_a_request(tmp_path: Path, end: bytes) -> None:
    """A request ends in a way that is allowed, though no gRPC library sends it → it is answered."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(HELLO + frames.headers(1, head(), ends_stream=False) + end)
            assert (await client.until_answered(1))["grpc-status"] == "0"
            await client.close()

    asyncio.run(run())


def test_small_windows(tmp_path: Path) -> None:
    """A client allows no byte of a response, then one at a time → it gets the whole response, in so many frames."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + request())
            await until(lambda: any(each.type == frames.HEADERS for each in client.frames), "the headers")
            reply = wire.framed(b"\x0a\x02\x08\x01")
            for _ in reply:
                client.writer.write(frames.window_update(1, 1))
            assert (await client.until_answered(1))["grpc-status"] == "0"
            data = [each.payload for each in client.frames if each.type == frames.DATA]
            assert b"".join(data) == reply and len(data) == len(reply)
            await client.close()

    asyncio.run(run())


def test_a_client_that_confirms_each_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client confirms every DATA frame of long responses, on the stream and on the connection → it gets them: these
    frames are for what we have sent."""
    monkeypatch.setattr(bounds, "FRAMES", 50.0)

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")) as driver:
            driver.name = "x" * 2**19
            client = await Raw.connect(tmp_path / "s")
            client.writer.write(HELLO)
            for stream in (1, 3):
                client.writer.write(request(stream, **{":path": "/csi.v1.Identity/GetPluginInfo"}))
                received = 0
                while received < 2**19:
                    await until(lambda: bool(client.frames) or client.ended, "data")
                    assert not client.ended
                    sizes = [len(each.payload) for each in client.frames if each.type == frames.DATA]
                    client.frames.clear()
                    for size in sizes:
                        client.writer.write(frames.window_update(0, size) + frames.window_update(stream, size))
                    received += sum(sizes)
            await client.close()

    asyncio.run(run())


def test_large_requests(tmp_path: Path) -> None:
    """A request of 3 MiB, sent as the windows permit → answered; one of more than is allowed → RESOURCE_EXHAUSTED
    before it was sent as a whole."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")):
            padding = csi_pb2.GetPluginInfoResponse(name="x" * 3 * 2**20)  # unknown fields of the request
            assert await rpc.call_once(str(tmp_path / "s"), PROBE, padding, csi_pb2.ProbeResponse, 20)
            padding.name += "x" * 2 * 2**20
            with pytest.raises(rpc.CallFailed) as caught:
                await rpc.call_once(str(tmp_path / "s"), PROBE, padding, csi_pb2.ProbeResponse, 20)
            assert caught.value.code is rpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in str(caught.value)

    asyncio.run(run())


def test_who_does_not_read_is_not_read(tmp_path: Path) -> None:
    """A client makes calls for ever and reads no answer → the server stops reading it, and keeps little; others are
    answered."""

    async def run() -> None:
        async with fake_driver(str(tmp_path / "s")) as driver:
            driver.error = rpc.RemoteFailure(rpc.StatusCode.NOT_FOUND, "x" * 4000)
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            writer.write(HELLO)
            sent, stuck_since = 1, time.monotonic()
            while time.monotonic() - stuck_since < 1.0:
                writer.write(b"".join(request(sent + number) for number in range(0, 100, 2)))
                sent += 100
                try:
                    async with asyncio.timeout(0.1):
                        await writer.drain()
                        await asyncio.sleep(0.005)  # so that not too many calls run at once
                    stuck_since = time.monotonic()
                except TimeoutError:
                    pass
            answered = driver.probes
            driver.error = None
            await probe(tmp_path / "s")
            assert driver.probes == answered + 1 < 2000
            writer.transport.abort()

    asyncio.run(run())


def test_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More idle connections than are kept → those idle longest are closed, one with a running call is not."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 10)

    async def run() -> None:
        driver = FakeDriver()
        driver.hang = asyncio.Event()
        async with rpc.serve(UnixEndpoint(str(tmp_path / "s")), driver.register):
            calling = asyncio.create_task(probe(tmp_path / "s", 20))
            await until(lambda: driver.probes == 1, "the call")
            idle = [await Raw.connect(tmp_path / "s") for _ in range(30)]
            await until(lambda: sum(each.ended for each in idle) == 21, "21 to be closed")
            assert all(each.ended for each in idle[:21])
            driver.hang.set()
            assert (await calling).ready.value
            for each in idle:
                await each.close()

    asyncio.run(run())


MALFORMED: dict[str, Callable[[], bytes]] = {
    "no status": lambda: frames.headers(1, frames.block([(b":status", b"200")]), ends_stream=True),
    "HTTP 404": lambda: frames.headers(1, frames.block([(b":status", b"404")]), ends_stream=True),
    "a status that is no number": lambda: frames.headers(
        1, frames.block([(b":status", b"200"), (b"grpc-status", b"\xff\x00")]), ends_stream=True
    ),
    "OK without a message": lambda: frames.headers(
        1, frames.block([(b":status", b"200"), (b"grpc-status", b"0")]), ends_stream=True
    ),
    "headers without end": lambda: b"".join(
        frames.headers(1, frames.block([(b":status", b"103"), (b"x%d" % number, b"y")]), ends_stream=False)
        for number in range(100)
    ),
    "a page instead of a message": lambda: (
        frames.headers(1, frames.block([(b":status", b"200"), (b"content-type", b"text/html")]), ends_stream=False)
        + frames.frame(frames.DATA, frames.END_STREAM, 1, b"<html>secret</html>")
    ),
    "a message announced as huge": lambda: frames.frame(frames.DATA, 0, 1, b"\x00\xff\xff\xff\xff"),
    "a message announced as huge, and its end": lambda: (
        frames.headers(
            1, frames.block([(b":status", b"200"), (b"content-type", b"application/grpc")]), ends_stream=False
        )
        + frames.frame(frames.DATA, frames.END_STREAM, 1, b"\x00\xff\xff\xff\xff")
    ),
    "the end of the stream": lambda: control(frames.RST_STREAM, ErrorCodes.INTERNAL_ERROR.to_bytes(4), 0, 1),
    "goodbye": lambda: control(frames.GOAWAY, bytes(8) + b"secret"),
    "frames of another stream": lambda: control(frames.DATA, b"x", 0, 99),
    "garbage": lambda: b"220 mail.example ESMTP\r\n",
}


@pytest.mark.parametrize("answer", MALFORMED)
def test_malformed_answers(tmp_path: Path, answer: str) -> None:
    """A server answers a call with what is no reply → the client fails with a code and a sentence at once, not at its
    deadline."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not (await reader.read(65536)).endswith(wire.framed(b"")):
            pass
        writer.write(frames.settings({}) + MALFORMED[answer]())
        await reader.read()
        writer.close()
        served.set()

    served = asyncio.Event()

    async def run() -> None:
        listener = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
        with pytest.raises(rpc.CallFailed) as caught:
            await probe(tmp_path / "s", 30)
        assert not caught.value.is_unanswered and caught.value.details and "secret" not in str(caught.value)
        await served.wait()
        listener.close()

    asyncio.run(run())
