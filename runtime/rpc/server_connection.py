"""A client's connection to one of our servers: its calls, each a task, and their responses."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Final

from runtime.http2 import frames, headers
from runtime.http2.connection import Connection
from runtime.http2.frames import ConnectionFault, ErrorCode
from runtime.http2.stream import Bounds, Stream
from runtime.rpc import wire
from runtime.rpc.calls import Call, Calls, Outcome
from runtime.rpc.services import Method, Services
from runtime.status_codes import StatusCode

# A client that has connected, to anything but an HTTP/2 server as it may think, begins within this time.
GREETING_SECONDS: Final = 20.0
_HEAD = [(b":status", b"200"), (b"content-type", wire.CONTENT_TYPE)]
_RESPONSE: Final = headers.encode(_HEAD)
_OK: Final = headers.encode([(wire.STATUS, b"0")])


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
        super().__init__(bounds)
        self._services, self._calls = services, calls
        self._connections, self._most_connections = connections, most_connections
        self._preface = frames.PREFACE
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
            self._out += _greeting(self._bounds)
        super().data_received(data)

    def on_settings(self) -> None:
        """The client speaks HTTP/2."""
        self._timer.cancel()

    def on_headers(self, stream_id: int, found: Mapping[bytes, bytes], *, ends_stream: bool) -> None:
        """A new call."""
        if stream_id in self.streams or stream_id <= self._last_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block of a stream that has begun")
        if not stream_id % 2:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream with an even number")
        if self.closing:
            return
        self._last_stream = stream_id
        stream = Stream(stream_id, self._stream_window)
        if len(self._requests) >= self._bounds.streams:
            self._take_token()
            self.reset(stream, ErrorCode.REFUSED_STREAM)
            return
        self.streams[stream_id] = stream
        self._connections[self] = self._connections.pop(self, None)
        self._begin(stream, found)
        if ends_stream and stream_id in self.streams:
            self.on_data(stream, ends_stream=True)

    def _begin(self, stream: Stream, found: Mapping[bytes, bytes]) -> None:
        if found.get(b":method") != b"POST" or not found.get(b"content-type", b"").startswith(wire.CONTENT_TYPE):
            self.send_headers(stream, headers.encode([(b":status", b"415")]), ends_stream=True)
            self.forget(stream)
            return
        deadline = None
        if wire.TIMEOUT in found:
            seconds = wire.parse_timeout(found[wire.TIMEOUT])
            if seconds is None:
                self._end(stream, StatusCode.INTERNAL, "malformed grpc-timeout")
                return
            deadline = self._loop.time() + seconds
        method = self._services.methods.get(found.get(b":path", b""))
        if method is None:
            self._end(stream, StatusCode.UNIMPLEMENTED, "Method not found!")
        elif found.get(wire.ENCODING, b"identity") != b"identity":
            self._end(stream, StatusCode.UNIMPLEMENTED, "compressed requests are not supported")
        else:
            self._requests[stream.id] = _Request(self, stream, method, deadline)

    def on_data(self, stream: Stream, *, ends_stream: bool) -> None:
        """A part of a request; when it is whole, its call begins."""
        request = self._requests.get(stream.id)
        if request is None or request.task is not None:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "DATA after the end of a request")
        size = max(wire.announced_size(stream.received), len(stream.received) - wire.PREFIX_BYTES)
        if size > self._bounds.message_bytes:
            text = f"Received message larger than max ({size} vs. {self._bounds.message_bytes})"
            self._end(stream, StatusCode.RESOURCE_EXHAUSTED, text)
        elif ends_stream:
            try:
                data = wire.message_in(stream.received)
            except wire.MessageFault as fault:
                self._end(stream, StatusCode.INTERNAL, str(fault))
                return
            self._budget.message_done()
            stream.received.clear()
            request.ended = True
            self._calls.begin()
            request.task = self._loop.create_task(self._calls.run(request.method, data, Call(request.deadline)))
            request.task.add_done_callback(partial(self._respond, stream))

    def _respond(self, stream: Stream, task: "asyncio.Task[Outcome]") -> None:
        code, sentence, reply = (StatusCode.CANCELLED, "", b"") if task.cancelled() else task.result()
        if self.streams.get(stream.id) is not stream:  # the client has cancelled it, or is gone
            self._forget_request(stream)
        elif code is StatusCode.OK:
            self.send_headers(stream, _RESPONSE, ends_stream=False)
            self.send_body(stream, wire.framed(reply), _OK)
        else:
            self._end(stream, code, sentence)
        self.write()
        self._calls.end()

    def _end(self, stream: Stream, code: StatusCode, sentence: str) -> None:
        """Answer with an error, in one block of headers."""
        begun = stream.trailers is not None  # trailers have no :status (RFC 9113, section 8.1)
        status = [(wire.STATUS, b"%d" % code), (wire.MESSAGE, wire.quoted(sentence))]
        block = headers.encode(status if begun else _HEAD + status)
        self.send_headers(stream, block, ends_stream=True)
        request = self._requests.get(stream.id)
        if request is None or not request.ended:  # the client may stop sending (RFC 9113, section 8.1)
            self.reset(stream, ErrorCode.NO_ERROR)
        self.on_sent(stream)

    def on_sent(self, stream: Stream) -> None:
        """The response is on its way."""
        self.forget(stream)
        self._forget_request(stream)

    def _forget_request(self, stream: Stream) -> None:
        request = self._requests.pop(stream.id, None)
        if request is not None:
            request.stop_timer()
        if self.closing and not self._requests:
            self.close()

    def on_reset(self, stream: Stream, _: int | None) -> None:
        """The client has given up the call. It counts as open until its task has ended."""
        request = self._requests.get(stream.id)
        if request is None:
            return
        request.stop_timer()
        if request.task is None or request.task.done():
            self._requests.pop(stream.id)
        else:
            request.task.cancel()

    def expire(self, stream: Stream) -> None:
        """The call's deadline has passed."""
        request = self._requests.get(stream.id)
        if request is not None and stream.id in self.streams:
            task = request.task
            self._end(stream, StatusCode.DEADLINE_EXCEEDED, wire.DEADLINE_DETAILS)
            self.write()
            if task is not None:
                task.cancel()

    def retire(self) -> None:
        """Take no new calls; close when the last one has ended."""
        if self.closing:
            return
        self.say_goodbye()
        self.write()
        if not self._requests:
            self.close()

    def _on_silence(self) -> None:
        self._transport.abort()


class _Request:
    """A call that has begun; ``ended``: all of it was received."""

    def __init__(self, connection: ServerConnection, stream: Stream, method: Method, deadline: float | None) -> None:
        self.method, self.deadline = method, deadline
        self.ended = False
        self.task: asyncio.Task[Outcome] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, connection.expire, stream)

    def stop_timer(self) -> None:
        """The call has ended."""
        if self._timer is not None:
            self._timer.cancel()


@lru_cache(maxsize=8)
def _greeting(bounds: Bounds) -> bytes:
    values = {frames.MAX_CONCURRENT_STREAMS: bounds.streams, frames.MAX_HEADER_LIST_SIZE: bounds.header_bytes}
    return frames.settings(values)
