"""The HTTP server over real connections: its responses, and what it does not let a client do."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from runtime import http
from runtime.endpoints import TcpEndpoint
from runtime.errors import ConfigurationError
from runtime.http import connection
from tests.support.waiting import until

LOCAL = TcpEndpoint("127.0.0.1", 0)
LARGE = b"x" * 16 * 1024 * 1024


class HttpRig:
    """A server with a few pages, which records requests; /slow answers once ``release`` is set."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.requests: list[http.Request] = []
        self.large_responses = 0
        self.port = 0

    async def ok(self, request: http.Request) -> http.Response:
        self.requests.append(request)
        return http.text_response("ok")

    async def slow(self, request: http.Request) -> http.Response:
        self.requests.append(request)
        await self.release.wait()
        return http.text_response("late")

    async def large(self, _: http.Request) -> http.Response:
        self.large_responses += 1
        return http.text_response(LARGE)

    async def bug(self, _: http.Request) -> http.Response:
        raise ValueError("a bug")

    async def until_requests(self, count: int) -> None:
        """Wait until so many requests have reached a handler."""
        await until(lambda: len(self.requests) >= count, f"{count} requests")

    async def until_cut(self, large_responses: int, descriptors: int) -> None:
        """Wait until so many large responses have begun and the server has closed its end of the last connection."""
        await until(lambda: self.large_responses == large_responses, "the response")
        await until(lambda: len(os.listdir("/proc/self/fd")) == descriptors + 1, "the server to cut the connection")

    async def exchange(self, sent: bytes) -> bytes:
        """Send bytes on a new connection; returns all that comes until the server closes it."""
        async with self.connected() as (reader, writer):
            writer.write(sent)
            return await asyncio.wait_for(reader.read(-1), 5)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2 * len(LARGE))
        try:
            yield reader, writer
        finally:
            writer.close()


@asynccontextmanager
async def http_rig(address: TcpEndpoint = LOCAL) -> AsyncIterator[HttpRig]:
    """Run the server."""
    made = HttpRig()
    routes = {"/ok": made.ok, "/slow": made.slow, "/large": made.large, "/bug": made.bug}
    async with http.serve(address, routes) as made.port:
        yield made


def request(path: str = "/ok", method: str = "GET", *headers: str, version: str = "1.1") -> bytes:
    """The head of a request, as bytes."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


CLOSE = "Connection: close"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "HEAD"])
def test_any_method(method: str) -> None:
    """Any method → 200 with the headers that Go's server sends; HEAD has no body, but its length."""

    async def run() -> None:
        async with http_rig() as rig:
            answer = await rig.exchange(request("/ok", method, CLOSE))
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n")
            assert b"\r\nContent-Length: 2\r\n" in head
            assert body == (b"" if method == "HEAD" else b"ok")

    asyncio.run(run())


@pytest.mark.parametrize(
    "target, status",
    [
        ("/ok?verbose=1", b"200"),
        ("http://node:9808/ok", b"200"),
        ("/", b"404"),
        ("/ok/", b"404"),
        ("*", b"404"),
    ],
)
def test_paths(target: str, status: bytes) -> None:
    """A query, or a host before the path, makes no difference; any other path is 404 with the text of Go's server."""

    async def run() -> None:
        async with http_rig() as rig:
            answer = await rig.exchange(request(target, "GET", CLOSE))
            assert answer.split(b" ")[1] == status
            assert status == b"200" or answer.endswith(b"404 page not found\n")

    asyncio.run(run())


def test_pipelining() -> None:
    """Three requests are sent at once and the first is slow → three responses in order on one connection, which stays
    open."""

    async def run() -> None:
        async with http_rig() as rig, rig.connected() as (reader, writer):
            writer.write(request("/slow") + request("/none") + request("/ok"))
            await rig.until_requests(1)
            rig.release.set()
            assert (await reader.readuntil(b"late")).startswith(b"HTTP/1.1 200")
            assert (await reader.readuntil(b"not found\n")).startswith(b"HTTP/1.1 404")
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
            writer.write(b"\r\n" + request("/ok"))
            await reader.readuntil(b"\r\n\r\nok")

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [
        request(version="1.0"),
        request("/ok", "GET", CLOSE),
        request("/ok", "POST", "Content-Length: 29") + request("/none"),
        request("/ok", "POST", "Transfer-Encoding: chunked", "Expect: 100-continue"),
    ],
)
def test_closed_after_the_response(sent: bytes) -> None:
    """HTTP/1.0, ``Connection: close`` or a request with a body → the connection is closed after the response, and the
    body is not taken for a request."""

    async def run() -> None:
        async with http_rig() as rig:
            answer = await rig.exchange(sent)
            assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"ok") and answer.count(b"HTTP/1.1") == 1
            assert b"Connection: close\r\n" in answer

    asyncio.run(run())


def test_half_closed_client() -> None:
    """A client closes its side after two requests → it still gets both responses."""

    async def run() -> None:
        async with http_rig() as rig, rig.connected() as (reader, writer):
            rig.release.set()
            writer.write(request("/slow") + request("/ok"))
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(-1), 5)
            assert answer.count(b"HTTP/1.1 200") == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent, status",
    [
        (b"\x16\x03\x01\x02\x00nonsense\r\n\r\n", b"400"),
        (b"GET  /ok HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /ok\r\n\r\n", b"400"),
        (b"GET /ok HTTP/1.1\r\n folded: x\r\n\r\n", b"400"),
        (b"GET /ok HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET /ok HTTP/1.1\r\nSpace : x\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (request("/ok", "GET", "X: " + "a" * 1024 * 1024), b"431"),
        (b"a" * 1024 * 1024, b"431"),
    ],
)
def test_invalid_requests(sent: bytes, status: bytes) -> None:
    """Bytes that are not a request → a status that also reaches a client that is still sending; no handler is
    called."""

    async def run() -> None:
        async with http_rig() as rig:
            answer = await rig.exchange(sent)
            assert answer.startswith(b"HTTP/1.1 " + status + b" ")
            assert not rig.requests

    asyncio.run(run())


def test_slow_and_silent_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unfinished head → 408 after ``HEAD_SECONDS``; a silent connection → closed after ``KEEP_ALIVE_SECONDS``."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.2)

    async def run() -> None:
        async with http_rig() as rig:
            assert (await rig.exchange(b"GET /ok HT")).startswith(b"HTTP/1.1 408 ")
            assert await rig.exchange(b"") == b""
            kept = await rig.exchange(request())
            assert kept.startswith(b"HTTP/1.1 200") and kept.count(b"HTTP/1.1") == 1

    asyncio.run(run())


def test_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client does not read a large response → its next request waits, and the connection is cut after
    ``KEEP_ALIVE_SECONDS``."""
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.3)

    async def run() -> None:
        async with http_rig() as rig:
            before = len(os.listdir("/proc/self/fd"))
            for number, last in enumerate(((), (CLOSE,)), 1):
                await until(lambda: len(os.listdir("/proc/self/fd")) == before, "the last connection to be closed")
                async with rig.connected() as (reader, writer):
                    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a client that does not read
                    writer.write(request("/large", "GET", *last) + request("/ok"))
                    await rig.until_cut(number, before)
                    writer.transport.resume_reading()  # type: ignore[attr-defined]  # it is a read transport, too
                    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                        await reader.readexactly(len(LARGE))
            assert rig.requests == []

    asyncio.run(run())


def test_large_answer() -> None:
    """A response of megabytes arrives whole, even if the connection is closed after it."""

    async def run() -> None:
        async with http_rig() as rig:
            answer = await rig.exchange(request("/large", "GET", CLOSE))
            assert answer.endswith(b"\r\n\r\n" + LARGE)

    asyncio.run(run())


def test_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections than the limit → the one that has been idle longest is closed; one with a pending response
    stays."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 3)

    async def run() -> None:
        async with http_rig() as rig, rig.connected() as (answered, first), rig.connected() as (silent, _):
            first.write(request("/slow", "GET", CLOSE))
            await rig.until_requests(1)
            async with rig.connected() as (later, _):
                assert (await rig.exchange(request("/ok", "GET", CLOSE))).endswith(b"ok")
                assert await asyncio.wait_for(silent.read(-1), 5) == b""
                rig.release.set()
                assert (await asyncio.wait_for(answered.read(-1), 5)).endswith(b"late")
                assert not later.at_eof()

    asyncio.run(run())


def test_a_flood_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred connections come within one iteration of the event loop → no more than the limit stay open, and the
    next request is served."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 10)

    async def run() -> None:
        async with http_rig() as rig:
            before = len(os.listdir("/proc/self/fd"))
            flood = [socket.create_connection(("127.0.0.1", rig.port)) for _ in range(100)]
            try:
                assert (await rig.exchange(request("/ok", "GET", CLOSE))).endswith(b"ok")
                await until(
                    lambda: len(os.listdir("/proc/self/fd")) - before - len(flood) <= 10,
                    "the connections over the limit to be closed",
                )
            finally:
                for each in flood:
                    each.close()

    asyncio.run(run())


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes the connection; a line that is under way meanwhile makes that a reset."""
    try:
        return await reader.read(-1)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("begun, status", [(b"GET /ok HT", b"408"), (b"\r\n", b"")])
def test_slow_head_on_a_kept_connection(monkeypatch: pytest.MonkeyPatch, begun: bytes, status: bytes) -> None:
    """The second head on a connection has ``HEAD_SECONDS``, not ``KEEP_ALIVE_SECONDS``; empty lines, which may come
    before a head, do not prolong either."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2 if status else 30.0)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 30.0 if status else 0.5)

    async def run() -> None:
        async with http_rig() as rig, rig.connected() as (reader, writer):
            writer.write(request())
            await reader.readuntil(b"\r\n\r\nok")
            rest = asyncio.create_task(read_to_the_end(reader))
            async with asyncio.timeout(5):
                while not rest.done():
                    writer.write(begun)
                    await asyncio.wait([rest], timeout=0.05 if not status else 5)
            assert rest.result().startswith(b"HTTP/1.1 " + status if status else b"")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("before", "status"),
    [
        (b"\r\n", b"200"),
        (b"\r\n\r\n\r\n", b"200"),
        (b"\n", b"400"),
        (b"\r", b"400"),
        (b"\r\n\n", b"400"),
        (b"\r\r\n", b"400"),
    ],
)
def test_empty_lines_before_a_request(before: bytes, status: bytes) -> None:
    """Whole empty lines are ignored (RFC 9112, section 2.2); a single CR or LF, which not every server in front of this
    one takes for an empty line, makes the request invalid."""

    async def run() -> None:
        async with http_rig() as rig:
            assert (await rig.exchange(before + request("/ok", "GET", CLOSE))).startswith(b"HTTP/1.1 " + status)
            assert (await rig.exchange(request() + before + request("/ok", "GET", CLOSE))).count(b" 200 OK") == (
                2 if status == b"200" else 1
            )

    asyncio.run(run())


def test_bug_in_a_handler(caplog: pytest.LogCaptureFixture) -> None:
    """A handler raises → 500 without the exception's text, one log line with it, and the next request is served."""

    async def run() -> None:
        async with http_rig() as rig:
            answer = await rig.exchange(request("/bug"))
            assert answer.startswith(b"HTTP/1.1 500 ") and b"a bug" not in answer
            assert (await rig.exchange(request("/ok", "GET", CLOSE))).endswith(b"ok")

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert len(caplog.records) == 1


def test_all_addresses_and_port_zero() -> None:
    """No host and port 0 → the server listens on IPv4 and IPv6, on one port, which it returns."""

    async def run() -> None:
        async with http_rig(TcpEndpoint("", 0)) as rig:
            assert (await rig.exchange(request("/ok", "GET", CLOSE))).endswith(b"ok")
            if socket.has_dualstack_ipv6():
                _, writer = await asyncio.open_connection("::1", rig.port)
                writer.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "", "203.0.113.1", "no.such.host.invalid", "a..b", "x" * 64, "\u00df." * 99]
)
def test_unusable_address(host: str) -> None:
    """A port in use, a foreign address or an unknown host name → ConfigurationError."""

    async def run() -> None:
        with socket.create_server(("", 0)) as taken, pytest.raises(ConfigurationError, match="cannot listen on"):
            async with http.serve(TcpEndpoint(host, taken.getsockname()[1]), {}):
                pass

    asyncio.run(run())


def test_shutdown() -> None:
    """The server stops → a pending response is still sent, idle connections are closed at once."""

    async def run() -> None:
        async with http_rig() as rig:
            connection, silence = rig.connected(), rig.connected()
            reader, writer = await connection.__aenter__()
            silent, _ = await silence.__aenter__()
            writer.write(request("/slow"))
            await rig.until_requests(1)
            asyncio.get_running_loop().call_later(0.1, rig.release.set)
        assert (await asyncio.wait_for(reader.read(-1), 5)).endswith(b"late")
        assert await asyncio.wait_for(silent.read(-1), 5) == b""

    asyncio.run(run())


def test_client_that_is_gone() -> None:
    """Clients are gone when their response is written, so that the kernel resets the connection → no exception escapes,
    no descriptor leaks."""

    async def run() -> None:
        broken: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        async with http_rig() as rig:
            before = len(os.listdir("/proc/self/fd"))
            for number in range(1, 20):
                rig.release.clear()
                with socket.create_connection(("127.0.0.1", rig.port)) as client:
                    client.send(request("/slow", "GET", CLOSE))
                    await rig.until_requests(number)
                rig.release.set()
                await asyncio.sleep(0)
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all descriptors to be closed")
        gc.collect()
        assert broken == []

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/large", "/slow", "/ok", "/nowhere"])
@pytest.mark.parametrize("piece", [1, 1000])
def test_clients_that_pipeline_and_never_read(path: str, piece: int) -> None:
    """Scenario: 8 clients send requests without end, in pieces of so many requests, and never read. Expected: the
    server stops to read them, so that what it takes from each stays below a megabyte; another client is answered."""
    request = f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * piece

    async def flood(port: int) -> int:
        sent, loop = 0, asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # what is taken is in the server, not in between
                client.setsockopt(socket.SOL_SOCKET, buffer, 4096)
            await loop.sock_connect(client, ("127.0.0.1", port))
            while sent < 4 * 1024 * 1024:
                try:
                    async with asyncio.timeout(1.0):
                        await loop.sock_sendall(client, request)
                except TimeoutError:
                    return sent
                sent += len(request)
        return sent

    async def test() -> None:
        async with http_rig() as rig:
            floods = asyncio.gather(*(flood(rig.port) for _ in range(8)))
            assert await rig.exchange(b"GET /ok HTTP/1.1\r\nConnection: close\r\n\r\n")
            taken = await floods
            assert max(taken) < 1024 * 1024, taken
            rig.release.set()

    asyncio.run(test())


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_all_addresses_are_those_of_both_families(host: str, client: str) -> None:
    """Scenario: each way to write "all addresses", and a client of each family. Expected: an answer, as in Go."""

    async def test() -> None:
        if not socket.has_dualstack_ipv6():
            pytest.skip("no IPv6 on this machine")

        async def ok(_: http.Request) -> http.Response:
            return http.text_response("ok")

        async with http.serve(TcpEndpoint(host, 0), {"/ok": ok}) as port:
            reader, writer = await asyncio.open_connection(client, port)
            writer.write(b"GET /ok HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"ok")
            writer.close()
            await writer.wait_closed()

    asyncio.run(test())
