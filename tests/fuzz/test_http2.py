"""Frames in any order, wrong in one place or many, on both sides of an HTTP/2 connection: the connection ends, or what
was asked is answered; no exception leaves the protocol, and no call hangs or stays in the books."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

from protos import csi_pb2
from runtime.http2.bounds import Bounds
from runtime.rpc.calls import Calls
from runtime.rpc.client_connection import ClientConnection
from runtime.rpc.failures import CallFailed
from runtime.rpc.server_connection import ServerConnection
from runtime.rpc.services import Services
from runtime.rpc.wire import framed
from tests.fuzz.effort import scaled, source, tally
from tests.support import http2_frames as frames
from tests.support.fake_driver import FakeDriver
from tests.support.waiting import until

FIELDS = (
    *((b":method", b"POST"), (b":method", b"GET"), (b":path", b"/csi.v1.Identity/Probe"), (b":path", b"")),
    *((b":scheme", b"http"), (b":authority", b"localhost"), (b":status", b"200"), (b":status", b"103")),
    *((b":status", b"\xff"), (b":status", b""), (b"content-type", b"application/grpc"), (b"content-type", b"text")),
    *((b"grpc-status", b"0"), (b"grpc-status", b"\xb2"), (b"grpc-status", b"99"), (b"grpc-message", b" %zz\x00 ")),
    *((b"content-length", b"5"), (b"content-length", b"-1"), (b"content-length", b"x"), (b"te", b"trailers")),
    *((b"grpc-timeout", b"1n"), (b"grpc-timeout", b"5S"), (b"grpc-encoding", b"gzip"), (b"", b""), (b"A B", b"\n")),
    *((b"connection", b"close"), (b"cookie", b"a=b"), (b":unknown", b"x"), (b"host", b"elsewhere")),
)
USUAL = {
    True: [(b":method", b"POST"), (b":path", b"/csi.v1.Identity/Probe"), (b"content-type", b"application/grpc")],
    False: [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")],
}


def a_block(numbers: random.Random, *, is_request: bool) -> bytes:
    """Usual headers, with some of the odd ones, or none of both."""
    fields = list(USUAL[is_request]) if numbers.random() < 0.7 else []
    fields += numbers.choices(FIELDS, k=numbers.choice((0, 0, 1, 3)))
    block = bytearray(frames.block(fields))
    if block and numbers.random() < 0.1:
        block[numbers.randrange(len(block))] = numbers.randrange(256)
    return bytes(block)


def a_frame(numbers: random.Random, *, is_request: bool) -> bytes:
    """A frame that makes sense, or would elsewhere, with a mistake in one of ten."""
    stream = numbers.choice((0, 1, 1, 1, 3, 3, 5, 2, 2**31 - 1))
    ends = numbers.choice((0, frames.END_STREAM))
    number = numbers.choice((0, 1, 100, 2**16, 2**31 - 1, 2**32 - 1)).to_bytes(4)
    made: Callable[[], bytes] = numbers.choice(
        (
            lambda: frames.headers(stream, a_block(numbers, is_request=is_request), ends_stream=bool(ends)),
            lambda: frames.frame(frames.HEADERS, ends, stream, a_block(numbers, is_request=is_request)),
            lambda: frames.frame(frames.DATA, ends, stream, numbers.choice((framed(b""), b"", b"\x00", b"x" * 200))),
            lambda: frames.frame(frames.DATA, ends | frames.PADDED, stream, b"\x02" + framed(b"") + bytes(2)),
            lambda: frames.settings({numbers.randrange(8): int.from_bytes(number)}),
            lambda: frames.frame(numbers.randrange(12), numbers.randrange(256), stream, numbers.randbytes(8)),
            lambda: frames.frame(frames.RST_STREAM, 0, stream, number),
            lambda: frames.frame(frames.WINDOW_UPDATE, 0, stream, number),
            lambda: frames.frame(frames.GOAWAY, 0, 0, number + bytes(4)),
            lambda: frames.frame(frames.PRIORITY, 0, stream, number + b"\x05"),
        )
    )
    frame = bytearray(made())
    if numbers.random() < 0.1:
        frame[numbers.randrange(len(frame))] = numbers.randrange(256)
    return bytes(frame)


def a_peer(numbers: random.Random, *, is_request: bool) -> bytes:
    """What a peer sends after its greeting."""
    greeting = frames.settings({}) if numbers.random() < 0.95 else b""
    return greeting + b"".join(a_frame(numbers, is_request=is_request) for _ in range(numbers.randrange(12)))


class Pipe(asyncio.Transport):
    """A transport into nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody reads it."""
        assert not self.closed

    def is_closing(self) -> bool:
        """Whether it was closed by the protocol."""
        return self.closed

    def close(self) -> None:
        """Close it."""
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Nothing is read from it."""

    resume_reading = pause_reading


async def feed(connection: asyncio.Protocol, data: bytes, numbers: random.Random) -> None:
    """Hand data over in pieces, between which calls go on, or not."""
    size, pauses = numbers.choice((1, 7, 1000)), numbers.choice((0.0, 0.1, 1.0))
    for at in range(0, len(data), size):
        connection.data_received(data[at : at + size])
        if numbers.random() < pauses:
            await asyncio.sleep(0)
    for _ in range(numbers.randrange(5)):
        await asyncio.sleep(0)


async def run_checked(work: Callable[[], Awaitable[None]]) -> None:
    """Run ``work``; no exception leaves a callback, for example that of a call's end, which asyncio would only log."""
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    await work()
    assert not raised


def test_a_servers_clients() -> None:
    """Frames from a client → a connection that goes on or is closed; once it is lost, no call of it is left."""
    numbers, count = source("clients"), scaled(1500, 200_000)

    async def run() -> None:
        services, calls, connections = Services(), Calls(), dict[ServerConnection, None]()
        FakeDriver().register(services)  # type: ignore[arg-type]  # has what a generated function calls
        for _ in range(count):
            connection = ServerConnection(services, calls, Bounds(2**20), connections, 10)
            connection.connection_made(Pipe())
            await feed(connection, frames.PREFACE + a_peer(numbers, is_request=True), numbers)
            connection.connection_lost(None)
            assert not connections
            tally("clients of HTTP/2")
        await until(calls.idle.is_set, "the end of all calls")

    asyncio.run(run_checked(run))


def test_a_clients_servers() -> None:
    """Frames from a server, after which it goes → each call has a reply or an error before its deadline."""
    numbers, count = source("servers"), scaled(1500, 200_000)
    request = csi_pb2.ProbeRequest().SerializeToString()

    async def run() -> None:
        for _ in range(count):
            connection = ClientConnection(Bounds(2**20))
            connection.connection_made(Pipe())
            calls = [asyncio.create_task(connection.call("/csi.v1.Identity/Probe", request, 60)) for _ in range(2)]
            await asyncio.sleep(0)
            await feed(connection, a_peer(numbers, is_request=False), numbers)
            connection.connection_lost(None)
            async with asyncio.timeout(10):
                for call in calls:
                    with contextlib.suppress(CallFailed):
                        await call
            assert not connection.streams
            tally("servers of HTTP/2")

    asyncio.run(run_checked(run))
