"""A connection to a server: calls, each with a deadline, as many at a time as the server takes."""

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple

from runtime.http2.bounds import DEFAULT_WINDOW, Bounds, ConnectionFault
from runtime.http2.connection import Connection, Headers, Stream
from runtime.rpc import wire
from runtime.rpc.failures import CallFailed, Refused, Unsent, failure_of_reset
from runtime.status_codes import StatusCode

# Providers reject any other authority than this one.
_AUTHORITY: Final = b"localhost"
# Of one reply: some that are informational, its own and its trailers.
_MOST_BLOCKS: Final = 16


@dataclass(eq=False, slots=True)
class _Reply:
    """What has arrived of a reply, and who waits for it."""

    future: asyncio.Future[bytes]
    most_bytes: int
    headers: dict[bytes, bytes] = field(default_factory=dict)
    blocks: int = 0


class ClientConnection(Connection):
    """``greeted`` is set when the server's settings have arrived, or when the connection is lost."""

    def __init__(self, bounds: Bounds) -> None:
        settings = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: bounds.window}
        super().__init__(bounds, settings, is_client=True)
        self.greeted = asyncio.Event()
        self._replies: dict[int, _Reply] = {}
        self._most_streams = bounds.streams
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._why = (StatusCode.UNAVAILABLE, "the server closed the connection")

    @property
    def ready(self) -> bool:
        """Whether the server has answered the greeting, and calls may be made."""
        return self.greeted.is_set() and not self.closing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves; calls need not wait for the server's settings."""
        super().connection_made(transport)
        self._http.initiate_connection()
        if self._bounds.window > DEFAULT_WINDOW:
            self._http.increment_flow_control_window(self._bounds.window - DEFAULT_WINDOW)
        self.write()

    def connection_lost(self, _: Exception | None) -> None:
        """All calls fail."""
        super().connection_lost(_)
        self.greeted.set()
        self._let_in(len(self._waiting))

    def pause_writing(self) -> None:
        """What the server sends is read in any case (RFC 9113, section 5.2.2): our requests wait, not their replies."""

    def on_fault(self, fault: ConnectionFault) -> None:
        """The server has broken a rule: the call by which it has fails with what it was, and the others because the
        connection is closed; all with what it was, if it was by none of them."""
        too_much = fault.code is ErrorCodes.ENHANCE_YOUR_CALM
        self._why = (StatusCode.RESOURCE_EXHAUSTED if too_much else StatusCode.INTERNAL, str(fault))
        if (stream := self.streams.get(fault.stream)) is not None:
            self._fail(stream, CallFailed(*self._why))
            self._why = (StatusCode.UNAVAILABLE, f"the connection was closed because of another call: {fault}")

    async def call(self, path: str, message: bytes, seconds: float, most_bytes: int | None = None) -> bytes:
        """Call a method with a message; returns the reply's, which may have ``most_bytes``, by default those of the
        connection's bounds. Raises CallFailed.

        A call that the server has refused is made once more, as gRPC's libraries do
        (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#transparent-retries). A server on gRPC's core
        refuses calls within its limit: it counts those that it has answered for a moment longer. If the connection is
        closing, Refused is raised: the call may be made over another one.
        """
        most = most_bytes or self._bounds.message_bytes
        try:
            async with asyncio.timeout(seconds):
                deadline = self._loop.time() + seconds
                try:
                    return await self._take_turn(path, message, deadline, most)
                except Refused:
                    if self.closing:
                        raise
                    return await self._take_turn(path, message, deadline, most)
        except TimeoutError:
            raise CallFailed(StatusCode.DEADLINE_EXCEEDED, wire.DEADLINE_DETAILS) from None

    async def _take_turn(self, path: str, message: bytes, deadline: float, most_bytes: int) -> bytes:
        while len(self._replies) >= self._most_streams and not self.closing:
            await self._wait()
        return await self._exchange(path, message, deadline - self._loop.time(), most_bytes)

    async def _wait(self) -> None:
        """Until another call has ended."""
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:  # it was this call's turn: it is the next one's now
                self._let_in(1)
            raise

    async def _exchange(self, path: str, message: bytes, seconds: float, most_bytes: int) -> bytes:
        if self.closing:
            raise Unsent(*self._why)
        stream = Stream(self._http.get_next_available_stream_id())
        reply = self._replies[stream.id] = _Reply(self._loop.create_future(), most_bytes)
        self.streams[stream.id] = stream
        timeout = NeverIndexedHeaderTuple(wire.TIMEOUT, wire.timeout(seconds))
        self.send_headers(stream, [*_request_head(path), timeout], ends_stream=False)
        self.send_body(stream, wire.framed(message), None)
        self.write()
        try:
            return await reply.future
        finally:
            del self._replies[stream.id]
            if stream.id in self.streams:
                self.reset(stream, ErrorCodes.CANCEL)
                self.write()
            self._let_in(1)
            if self.closing and not self._replies:
                self.close()

    def _let_in(self, count: int) -> None:
        while count and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def on_settings(self) -> None:
        """The server speaks HTTP/2, and may have changed how many calls it takes."""
        self.greeted.set()
        self._most_streams = min(self._http.remote_settings.max_concurrent_streams, self._bounds.streams)
        self._let_in(len(self._waiting))

    def on_headers(self, stream_id: int, headers: dict[bytes, bytes], *, ends_stream: bool) -> None:
        """The beginning of a reply, or its trailers."""
        stream = self.streams.get(stream_id)
        if stream is None:  # of a call that was given up
            return
        reply = self._replies[stream_id]
        kept, reply.blocks = reply.headers, reply.blocks + 1
        if reply.blocks > _MOST_BLOCKS:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "too many header blocks", stream_id)
        kept.update((name, headers[name]) for name in wire.RESPONSE_HEADERS if name in headers)
        if ends_stream:
            self._finish(stream)
        elif wire.is_foreign(kept):  # its body is for people
            stream.sending = memoryview(b"")
            self.reset(stream, ErrorCodes.CANCEL)
            self._finish(stream)

    def on_data(self, stream: Stream) -> None:
        """A part of a reply."""
        if excess := wire.excess(stream.received, self._replies[stream.id].most_bytes):
            self.reset(stream, ErrorCodes.CANCEL)
            self._fail(stream, CallFailed(StatusCode.RESOURCE_EXHAUSTED, excess))
        elif stream.ended:
            self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        self._budget.message_done()
        if stream.sending:  # the server does not want the rest
            self.reset(stream, ErrorCodes.NO_ERROR)
        self.forget(stream)
        reply = self._replies[stream.id]
        code, details = wire.status_in(reply.headers)
        if code is not StatusCode.OK:
            self._fail(stream, CallFailed(code, details))
            return
        try:
            message = wire.message_in(stream.received)
        except wire.MessageFault as fault:
            self._fail(stream, CallFailed(StatusCode.INTERNAL, str(fault)))
            return
        if not reply.future.done():
            reply.future.set_result(message)

    def _fail(self, stream: Stream, failure: CallFailed) -> None:
        reply = self._replies.get(stream.id)
        if reply is not None and not reply.future.done():
            reply.future.set_exception(failure)

    def on_sent(self, stream: Stream) -> None:
        """The request is on its way."""

    def on_reset(self, stream: Stream, code: int | None) -> None:
        """The server has ended the call, or is gone."""
        if code is None:
            self._fail(stream, CallFailed(*self._why))
        else:
            self._fail(stream, failure_of_reset(code))

    def on_goodbye(self, last_stream: int, code: int) -> None:
        """The server takes no more calls."""
        self.closing = True
        self._why = (StatusCode.UNAVAILABLE, f"the server ended the connection, with HTTP/2's error code {code}")
        self._let_in(len(self._waiting))
        for stream in [each for each in self.streams.values() if each.id > last_stream]:
            self.forget(stream)
            self._fail(stream, Refused(*self._why))
        if not self._replies:
            self.close()


@lru_cache(maxsize=32)
def _request_head(path: str) -> Headers:
    return (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", _AUTHORITY),
        (b"te", b"trailers"),
        (b"content-type", wire.CONTENT_TYPE),
        (b"user-agent", b"grpc-python-secrets-store-csi"),
    )


async def connect(path: str, bounds: Bounds) -> ClientConnection:
    """Connect to a Unix socket, which takes no time. Raises OSError, BlockingIOError if too many wait there already:
    asyncio's own way would take that for a connection."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        client.connect(path)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: ClientConnection(bounds), sock=client)
    except BaseException:
        client.close()
        raise
    return connection
