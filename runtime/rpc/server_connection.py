"""A client's connection to one of our servers: its calls, each a task, and their responses."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple

from runtime.http2.bounds import Bounds
from runtime.http2.connection import Connection, Headers, Stream
from runtime.rpc import wire
from runtime.rpc.calls import Call, Calls, Outcome
from runtime.rpc.services import Method, Services
from runtime.status_codes import StatusCode

# A client that has connected, to anything but an HTTP/2 server as it may think, begins within this time.
GREETING_SECONDS: Final = 20.0
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD: Final = ((b":status", b"200"), (b"content-type", wire.CONTENT_TYPE))
_NOT_GRPC: Final = ((b":status", b"415"),)
_OK: Final = ((wire.STATUS, b"0"),)


class ServerConnection(Connection):
    """``connections`` is the server's table of all connections, the one idle longest first, and ``most_connections``
    how many it may have."""

    def __init__(
        self,
        services: Services,
        calls: Calls,
        bounds: Bounds,
        connections: "dict[ServerConnection, None]",
        most_connections: int,
    ) -> None:
        super().__init__(bounds, {SettingCodes.MAX_CONCURRENT_STREAMS: bounds.streams}, is_client=False)
        self._services, self._calls = services, calls
        self._connections, self._most_connections = connections, most_connections
        self._preface, self._last_stream = _PREFACE, 0
        self._requests: dict[int, _Request] = {}
        self._timer = self._loop.call_later(GREETING_SECONDS, self._on_silence)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Above the limit, the connection that has been idle longest is closed."""
        super().connection_made(transport)
        self._connections[self] = None
        if len(self._connections) > self._most_connections:
            oldest = next((each for each in self._connections if not each._requests), self)
            oldest.abort()

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody waits for the responses any more."""
        self._timer.cancel()
        self._connections.pop(self, None)
        super().connection_lost(_)

    def abort(self) -> None:
        """Close at once, and leave the table at once: the loop reports the loss only in its next iteration."""
        self._connections.pop(self, None)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Check the client's preface, then handle frames. Our settings go out with the first answer."""
        if self._preface:
            known = data[: len(self._preface)]
            if not self._preface.startswith(known):
                self._transport.abort()  # not HTTP/2: no frame would be understood
                return
            data, self._preface = data[len(known) :], self._preface[len(known) :]
            if self._preface:
                return
            self._greet()
        super().data_received(data)

    def _greet(self) -> None:
        self._http.initiate_connection()
        self._http.receive_data(_PREFACE)

    def on_settings(self) -> None:
        """The client speaks HTTP/2."""
        self._timer.cancel()

    def on_headers(self, stream_id: int, headers: dict[bytes, bytes], *, ends_stream: bool) -> None:
        """A new call, or trailers, of which gRPC's requests have none: they only end it."""
        if stream_id <= self._last_stream:
            if (known := self.streams.get(stream_id)) is not None:
                self.on_data(known)
            return
        self._last_stream = stream_id
        stream = Stream(stream_id, ended=ends_stream)
        if self.closing or len(self._requests) >= self._bounds.streams:
            self._budget.take(self._loop.time())
            self.reset(stream, ErrorCodes.REFUSED_STREAM)
            return
        self.streams[stream_id] = stream
        self._connections[self] = self._connections.pop(self, None)
        self._begin(stream, headers)
        if ends_stream and stream_id in self.streams:
            self.on_data(stream)

    def _begin(self, stream: Stream, headers: Mapping[bytes, bytes]) -> None:
        if headers.get(b":method") != b"POST" or not headers.get(b"content-type", b"").startswith(wire.CONTENT_TYPE):
            self._answer(stream, _NOT_GRPC)
            return
        deadline = None
        if wire.TIMEOUT in headers:
            seconds = wire.parse_timeout(headers[wire.TIMEOUT])
            if seconds is None:
                self._end(stream, StatusCode.INTERNAL, "malformed grpc-timeout")
                return
            deadline = self._loop.time() + seconds
        method = self._services.methods.get(headers.get(b":path", b""))
        if method is None:
            self._end(stream, StatusCode.UNIMPLEMENTED, "Method not found!")
        elif headers.get(wire.ENCODING, b"identity") != b"identity":
            self._end(stream, StatusCode.UNIMPLEMENTED, "compressed requests are not supported")
        else:
            self._requests[stream.id] = _Request(self, stream, method, deadline)

    def on_data(self, stream: Stream) -> None:
        """A part of a request; when it is whole, its call begins."""
        if excess := wire.excess(stream.received, self._bounds.message_bytes):
            self._end(stream, StatusCode.RESOURCE_EXHAUSTED, excess)
        elif stream.ended:
            try:
                data = wire.message_in(stream.received)
            except wire.MessageFault as fault:
                self._end(stream, StatusCode.INTERNAL, str(fault))
                return
            self._budget.message_done()
            stream.received.clear()
            request = self._requests[stream.id]
            self._calls.begin()
            request.task = self._loop.create_task(self._calls.run(request.method, data, Call(request.deadline)))
            request.task.add_done_callback(partial(self._respond, stream))

    def _respond(self, stream: Stream, task: "asyncio.Task[Outcome]") -> None:
        code, sentence, reply = (StatusCode.CANCELLED, "", b"") if task.cancelled() else task.result()
        if stream.id not in self.streams:  # it was answered already, or cancelled, or the client is gone
            self._settle(stream)
        elif code is StatusCode.OK:
            self.send_headers(stream, _HEAD, ends_stream=False)
            self.send_body(stream, wire.framed(reply), _OK)
        else:
            self._end(stream, code, sentence)
        self.write()

    def _end(self, stream: Stream, code: StatusCode, sentence: str) -> None:
        """Answer with an error, in one block of headers."""
        begun = stream.trailers is not None  # trailers have no :status (RFC 9113, section 8.1)
        message = NeverIndexedHeaderTuple(wire.MESSAGE, wire.quoted(sentence))
        self._answer(stream, (*(() if begun else _HEAD), (wire.STATUS, b"%d" % code), message))

    def _answer(self, stream: Stream, headers: Headers) -> None:
        """End a stream with headers."""
        self.send_headers(stream, headers, ends_stream=True)
        if not stream.ended:  # the client may stop sending (RFC 9113, section 8.1)
            self.reset(stream, ErrorCodes.NO_ERROR)
        self.on_sent(stream)

    def on_sent(self, stream: Stream) -> None:
        """The response is on its way."""
        self.forget(stream)
        self._settle(stream)

    def on_reset(self, stream: Stream, _: int | None) -> None:
        """The client has given up the call."""
        self._cancel(stream)
        self._settle(stream)

    def _settle(self, stream: Stream) -> None:
        """Forget a call of which nothing is left: a task counts as running until it has ended, also if nobody waits for
        it any more, and a response until the client's windows have let it go."""
        request = self._requests.get(stream.id)
        if request is not None and (request.task is None or request.task.done()) and stream.id not in self.streams:
            del self._requests[stream.id]
            request.stop_timer()
            if request.task is not None:
                self._calls.end()
        if self.closing and not self._requests:
            self.close()

    def expire(self, stream: Stream) -> None:
        """The call's deadline has passed."""
        if stream.id in self.streams:
            self._end(stream, StatusCode.DEADLINE_EXCEEDED, wire.DEADLINE_DETAILS)
            self.write()
        self._cancel(stream)

    def _cancel(self, stream: Stream) -> None:
        request = self._requests.get(stream.id)
        if request is not None and request.task is not None:
            request.task.cancel()

    def retire(self) -> None:
        """Take no new calls; close when the last one has ended."""
        if self.closing:
            return
        self.say_goodbye()
        if not self._requests:
            self.close()

    def _on_silence(self) -> None:
        self._transport.abort()


class _Request:
    """A call that has begun; ``task`` runs it once all of it was received."""

    def __init__(self, connection: ServerConnection, stream: Stream, method: Method, deadline: float | None) -> None:
        self.method, self.deadline = method, deadline
        self.task: asyncio.Task[Outcome] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, connection.expire, stream)

    def stop_timer(self) -> None:
        """The call has ended."""
        if self._timer is not None:
            self._timer.cancel()
