"""A small HTTP/1 server: a few fixed paths, any method, 404 elsewhere, bounded in what a client may take from us.

aiohttp's server refuses methods that Go's takes, has no bound on the time for a head or on the number of connections,
and costs each process its import. What a health endpoint needs of HTTP is little: a head, no body (a request with one
is answered and its connection closed), one answer of known length. Bounded are the size of a head, the time for it, the
time to read our answer, and the number of connections, of which the one that has been silent longest goes first.
"""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from runtime import logs
from runtime.endpoints import TcpEndpoint
from runtime.errors import ConfigurationError

log = logs.get(__name__)

TEXT_PLAIN = "text/plain; charset=utf-8"
MAX_HEAD_BYTES = 32 * 1024
HEAD_SECONDS, KEEP_ALIVE_SECONDS, LINGER_SECONDS = 10.0, 75.0, 2.0
MAX_CONNECTIONS = 256
BACKLOG = 512
STOP_SECONDS = 2.0
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*)")
_NO_BODY = frozenset((b"", b"0"))
_DATE = "%a, %d %b %Y %H:%M:%S GMT"


@dataclass(frozen=True)
class Request:
    """What handlers see of a request; bodies and other headers mean nothing to them."""

    method: str
    path: str
    query: str


@dataclass(frozen=True)
class Response:
    """A whole answer in one piece."""

    body: bytes
    status: int = 200
    content_type: str = TEXT_PLAIN
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


def text_response(body: str | bytes, status: int = 200, content_type: str = TEXT_PLAIN, **headers: str) -> Response:
    """An answer; ``headers`` are written with dashes for underscores."""
    return Response(
        body.encode() if isinstance(body, str) else body,
        status,
        content_type,
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


@asynccontextmanager
async def serve(address: TcpEndpoint, routes: Mapping[str, Handler]) -> AsyncIterator[int]:
    """Serve ``routes`` (path → handler) for as long as the context lasts; yields the port that was bound."""
    connections: dict[_Connection, None] = {}
    loop = asyncio.get_running_loop()

    def connected() -> _Connection:
        return _Connection(routes, connections)

    try:
        if address.host:
            listening = await loop.create_server(connected, address.host, address.port, backlog=BACKLOG)
        else:
            listening = await loop.create_server(connected, sock=_on_all_addresses(address.port), backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {address.host}:{address.port}: {error.strerror or error}") from None
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await _drain(connections)


def _on_all_addresses(port: int) -> socket.socket:
    """One socket for both families, so that port 0 is one port."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    return socket.create_server(("", port), family=family, dualstack_ipv6=dual)


async def _drain(connections: "dict[_Connection, None]") -> None:
    """What is being answered is answered, for a short while; the rest is closed."""
    answering = [task for each in list(connections) if (task := each.end()) is not None]
    if answering:
        await asyncio.wait(answering, timeout=STOP_SECONDS)
    for each in list(connections):
        each.abort()


class _BadRequest(Exception):
    """The client does not speak HTTP/1; ``status`` is what it is told."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Connection(asyncio.Protocol):
    """One client: its requests one after the other, answered in order.

    At any time it waits for a head, or is answering, or lingers: the last answer is written, and what the client still
    sends is thrown away until it closes or has had its time.
    """

    def __init__(self, routes: Mapping[str, Handler], all_connections: "dict[_Connection, None]") -> None:
        self._routes = routes
        self._all = all_connections
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._answering: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lingers = self._ending = self._full = self._half_closed = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head; past the limit the longest silent connection makes room."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._all[self] = None
        if len(self._all) > MAX_CONNECTIONS:
            next((each for each in self._all if each._answering is None), self).abort()
        self._set_timer(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody reads the answer any more."""
        self._all.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        """A piece of a head, a whole one, or several (a client that pipelines)."""
        if self._lingers:
            return
        if self._answering is None and not self._buffer and data.strip(b"\r\n"):
            self._set_timer(HEAD_SECONDS)  # a head begins, perhaps after a long silence on a kept connection
        self._buffer += data
        if self._answering is None:
            self._next()
        elif len(self._buffer) > MAX_HEAD_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A client may close its side once it has asked (``printf … | nc``); it is owed what it asked for."""
        self._half_closed = True
        if self._buffer and self._answering is None:
            self._loop.call_soon(self._next_if_idle)
        return self._answering is not None or bool(self._buffer)

    def pause_writing(self) -> None:
        """The client does not read: its next request waits, and its time runs."""
        self._full = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._full = False
        if self._answering is None and not self._lingers:
            self._next()

    def end(self) -> "asyncio.Task[None] | None":
        """Close after the answer that is being made, which is returned, or at once."""
        self._ending = True
        if self._answering is None:
            self._transport.close()
        return self._answering

    def abort(self) -> None:
        """Close now. It counts no more at once: the loop tells a lost connection in its next round, and in this one
        hundreds may come."""
        self._all.pop(self, None)
        self._transport.abort()

    def _next(self) -> None:
        """Answer the next request if its head is there."""
        if self._full:
            return
        self._buffer = self._buffer.lstrip(b"\r\n")
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if len(head) > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        if not found:
            if self._half_closed:
                self._transport.abort()
            return
        self._buffer = rest
        try:
            request, last = _parse(head)
        except _BadRequest as error:
            self._refuse(error.status)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._answering = self._loop.create_task(self._answer(request, last))

    async def _answer(self, request: Request, last: bool) -> None:
        handler = self._routes.get(request.path)
        try:
            response = await handler(request) if handler is not None else text_response("404 page not found\n", 404)
        except Exception as bug:  # the boundary: whatever else comes here is a bug of ours, told in the log only
            log.error("An HTTP request ended with a bug", exc=bug, path=request.path)
            response, last = text_response("internal error; the log has the details\n", 500), True
        self._answering = None
        last = last or self._ending or self._half_closed and not self._buffer
        self._transport.write(_encode(response, request.method == "HEAD", last))
        if last:
            self._linger()
            return
        self._all[self] = self._all.pop(self, None)  # it was silent last
        self._set_timer(KEEP_ALIVE_SECONDS)
        self._transport.resume_reading()
        if self._buffer:
            self._loop.call_soon(self._next_if_idle)

    def _next_if_idle(self) -> None:
        if self._answering is None and not self._lingers and not self._transport.is_closing():
            self._next()

    def _refuse(self, status: int) -> None:
        self._transport.write(_encode(text_response(f"{status} {HTTPStatus(status).phrase}\n", status), False, True))
        self._linger()

    def _linger(self) -> None:
        """Closing at once would reset the connection under a client that is still sending, and with it our answer."""
        self._lingers, self._buffer = True, b""
        self._transport.resume_reading()
        try:
            self._transport.write_eof()
        except OSError:  # it has reset the connection, and the loop has not told us yet
            self._transport.abort()
            return
        self._set_timer(KEEP_ALIVE_SECONDS if self._transport.get_write_buffer_size() else LINGER_SECONDS)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self._buffer and not self._lingers and not self._full:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._transport.abort()


def _parse(head: bytes) -> tuple[Request, bool]:
    """The request, and whether it is the connection's last."""
    lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise _BadRequest(HTTPStatus.BAD_REQUEST)
    method, target, major, minor = match.groups()
    if major != b"1":
        raise _BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    last = minor == b"0"
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise _BadRequest(HTTPStatus.BAD_REQUEST)
        name, value = header[1].lower(), header[2].strip()
        if (
            name == b"connection"
            and b"close" in value.lower()
            or name == b"transfer-encoding"
            or name == b"content-length"
            and value not in _NO_BODY
        ):
            last = True
    path, _, query = _origin_form(target).partition("?")
    return Request(method.decode(), path, query), last


def _origin_form(target: bytes) -> str:
    text = target.decode("latin-1")
    if text.lower().startswith(("http://", "https://")):  # as a proxy would be asked
        return "/" + text.partition("://")[2].partition("/")[2]
    return text


def _encode(response: Response, head_only: bool, last: bool) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    head = (
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nDate: {time.strftime(_DATE, time.gmtime())}\r\n"
        f"{extra}{'Connection: close' if last else 'Connection: keep-alive'}\r\n\r\n"
    )
    return head.encode("latin-1") if head_only else head.encode("latin-1") + response.body
