"""One client's connection: its requests one after the other, answered in order, within bounds.

Bounded are the size of a request head (MAX_HEAD_BYTES), the time to send it (HEAD_SECONDS), the idle time of a
kept-alive connection and the time to read our response (KEEP_ALIVE_SECONDS), and the number of connections
(MAX_CONNECTIONS): when there are more, the one that has been idle longest is closed. A client that pipelines is read
only as far as the next head while its last response is being made, or waits to be read.
"""

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus

from runtime import logs
from runtime.http.messages import BadRequest, Handler, Request, encode, parse_head, text_response

MAX_HEAD_BYTES = 32 * 1024
HEAD_SECONDS, KEEP_ALIVE_SECONDS, LINGER_SECONDS = 10.0, 75.0, 2.0
MAX_CONNECTIONS = 256
HEAD_END = b"\r\n\r\n"
# Only whole ones: a server in front of us that does not take a single CR or LF for a line would see another request.
_EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")

log = logs.get(__name__)


class Connection(asyncio.Protocol):
    """A connection is always in one of three states.

    * Waiting for a request head.
    * Responding: a handler runs; further requests wait in the buffer.
    * Lingering: the last response is written; what the client still sends is discarded until it closes the connection
      or LINGER_SECONDS have passed.

    ``connections`` is the server's table of all connections, the one idle longest first, and ``most_connections`` how
    many it may have.
    """

    def __init__(
        self, routes: Mapping[str, Handler], connections: "dict[Connection, None]", most_connections: int
    ) -> None:
        self._routes = routes
        self._connections = connections
        self._most_connections = most_connections
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._response: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lingering = self._stopping = self._write_paused = self._half_closed = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head; above the limit, the connection that has been idle longest is closed."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections[self] = None
        if len(self._connections) > self._most_connections:
            next((each for each in self._connections if each._response is None), self).abort()
        self._set_timer(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop working: nobody can read the response any more."""
        self._connections.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        if self._response is not None:
            self._response.cancel()

    def data_received(self, data: bytes) -> None:
        """A part of a head, a whole head, or several (a client that pipelines)."""
        if self._lingering:
            return
        if self._response is None and not self._buffer and data.strip(b"\r\n"):
            self._set_timer(HEAD_SECONDS)  # a head begins, perhaps after a long idle time on a kept-alive connection
        self._buffer += data
        if self._response is None:
            self._handle_next()
        self._pace_reading()

    def eof_received(self) -> bool:
        """A client may shut down its sending side after the request (``printf … | nc``); it still gets the response.
        True keeps our side open."""
        self._half_closed = True
        if self._buffer and self._response is None:
            self._loop.call_soon(self._handle_next_if_idle)
        return self._response is not None or bool(self._buffer)

    def pause_writing(self) -> None:
        """The client does not read: its next request waits, while its timer runs."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_paused = False
        if self._response is None and not self._lingering:
            self._handle_next()
        self._pace_reading()

    def close_when_idle(self) -> "asyncio.Task[None] | None":
        """Close at once, or after the running response, whose task is returned."""
        self._stopping = True
        if self._response is None:
            self._transport.close()
        return self._response

    def abort(self) -> None:
        """Close at once, and leave the table at once: the loop reports the loss only in its next iteration, and
        hundreds of connections may arrive in this one."""
        self._connections.pop(self, None)
        self._transport.abort()

    def _handle_next(self) -> None:
        """Start the response to the next request if its head is complete."""
        if self._write_paused:
            return
        if self._buffer.startswith(b"\r\n"):  # RFC 9112, section 2.2: ignore empty lines before a request
            self._buffer = _EMPTY_LINES.sub(b"", self._buffer)
        head, found, rest = self._buffer.partition(HEAD_END)
        if len(head) > MAX_HEAD_BYTES:
            self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if not found:
            if self._half_closed:
                self._transport.abort()
            return
        self._buffer = rest
        try:
            request, closes = parse_head(head)
        except BadRequest as error:
            self._reject(error.status)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._response = self._loop.create_task(self._respond(request, closes))

    async def _respond(self, request: Request, closes: bool) -> None:
        handler = self._routes.get(request.path)
        try:
            response = await handler(request) if handler is not None else text_response("404 page not found\n", 404)
        except Exception as bug:  # the boundary: an unexpected exception is logged, and hidden from the client
            log.error("Unhandled exception in an HTTP handler", exc=bug, path=request.path)
            response, closes = text_response("internal error; the log has the details\n", 500), True
        self._response = None
        closes = closes or self._stopping or self._half_closed and not self._buffer
        self._transport.write(encode(response, head_only=request.method == "HEAD", closes=closes))
        if closes:
            self._linger()
            return
        self._connections[self] = self._connections.pop(self, None)  # to the end: idle since just now
        self._set_timer(KEEP_ALIVE_SECONDS)
        self._pace_reading()
        if self._buffer:
            self._loop.call_soon(self._handle_next_if_idle)

    def _handle_next_if_idle(self) -> None:
        if self._response is None and not self._lingering and not self._transport.is_closing():
            self._handle_next()
            self._pace_reading()

    def _pace_reading(self) -> None:
        """Read no further than the next head, which waits for its turn: what a client sends is memory of ours."""
        if self._lingering or self._transport.is_closing():
            return
        if HEAD_END in self._buffer or len(self._buffer) > MAX_HEAD_BYTES:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _reject(self, status: int) -> None:
        response = text_response(f"{status} {HTTPStatus(status).phrase}\n", status)
        self._transport.write(encode(response, head_only=False, closes=True))
        self._linger()

    def _linger(self) -> None:
        """Closing while the client still sends would reset the connection, and the client would lose our response
        (RFC 9112, section 9.6)."""
        self._lingering, self._buffer = True, b""
        self._transport.resume_reading()
        try:
            self._transport.write_eof()
        except OSError:  # the client has reset the connection, and the loop has not reported it yet
            self._transport.abort()
            return
        self._set_timer(KEEP_ALIVE_SECONDS if self._transport.get_write_buffer_size() else LINGER_SECONDS)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timeout)

    def _on_timeout(self) -> None:
        if self._buffer and not self._lingering and not self._write_paused:
            self._reject(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._transport.abort()
