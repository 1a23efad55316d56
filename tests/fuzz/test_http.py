"""The HTTP server, read side by side with h11, a well-kept parser: each request that it answers, h11 reads at the same
place of the stream and as the same one. It may refuse, or end the connection, where h11 goes on."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from runtime import http
from runtime.http import connection
from runtime.http.connection import Connection
from tests.fuzz.effort import scaled, source, tally
from tests.fuzz.http_streams import pieces, stream

COUNT = 3_000
REFUSALS = {400, 408, 431, 505}
# What h11 refuses and we permit: a Host header that is missing or listed twice, and transfer encodings that it does not
# know, after which nothing is read any more.
TOLERATED = ("Host", "Transfer-Encoding")
BARE_LF = re.compile(rb"(?<!\r)\n")
EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")


@dataclass
class Answer:
    """What came back: the status, and whether the connection was to end."""

    status: int
    closes: bool


class Wire(asyncio.Transport):
    """The client's end of a connection without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.paused = self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended and not self.closed
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0


async def ours(parts: Sequence[bytes]) -> tuple[list[Answer], list[http.Request]]:
    """What our server answers to the parts of a stream, and the requests that reached the handler."""
    seen: list[http.Request] = []

    async def handle(request: http.Request) -> http.Response:
        seen.append(request)
        return http.text_response("ok")

    class Everywhere(dict[str, http.Handler]):
        def get(self, path: object, default: object = None) -> http.Handler:
            return handle

    wire, open_connections = Wire(), dict[Connection, None]()
    protocol = Connection(Everywhere(), open_connections, 10)
    protocol.connection_made(wire)
    for part in parts:
        protocol.data_received(part)
        for _ in range(50):  # the loop would stop reading; here the answers come first
            await asyncio.sleep(0)
            if not wire.paused:
                break
        assert len(protocol._buffer) <= connection.MAX_HEAD_BYTES + len(part) + 4
    for _ in range(4 * len(seen) + 20):
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    assert not open_connections
    return read_answers(wire.written, [request.method for request in seen]), seen


def read_answers(written: bytes, methods: Sequence[str]) -> list[Answer]:
    """Read the responses to requests of these methods, and to one more, as h11 does as a client."""
    answers: list[Answer] = []
    rest = written
    while rest:
        method = methods[len(answers)] if len(answers) < len(methods) else "GET"
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="HEAD" if method == "HEAD" else "GET", target="/", headers=[("Host", "h")]))
        client.send(h11.EndOfMessage())
        client.receive_data(rest)
        response = client.next_event()
        assert isinstance(response, h11.Response), written
        while not isinstance(client.next_event(), h11.EndOfMessage):
            pass
        answers.append(Answer(response.status_code, dict(response.headers)[b"connection"] == b"close"))
        rest = client.trailing_data[0]
    return answers


def theirs(sent: bytes) -> tuple[list[h11.Request], str]:
    """The requests that h11 reads, until it refuses; and why it does. Bodies are skipped, and empty lines before a
    request, which RFC 9112 (section 2.2) wants to be ignored and h11 refuses."""
    requests: list[h11.Request] = []
    while sent := EMPTY_LINES.sub(b"", sent):
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
        server.receive_data(sent)
        try:
            while not isinstance(event := server.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    requests.append(event)
                elif not isinstance(event, h11.Data):
                    return requests, ""  # it waits for more
        except h11.RemoteProtocolError as refused:
            return requests, str(refused)
        sent = server.trailing_data[0]
    return requests, ""


def same(mine: http.Request, other: h11.Request) -> bool:
    """Whether both are the same request; what is no valid target (a fragment, a bracket in the authority) is as good as
    any."""
    target = other.target.decode("latin-1")
    if target.lower().startswith(("http://", "https://")):
        if "#" in target:
            return True
        try:
            parts = urlsplit(target)
        except ValueError:
            return True
        path, query = parts.path or "/", parts.query
    else:
        path, _, query = target.partition("?")
    return mine == http.Request(other.method.decode(), path, query)


def must_close(request: h11.Request) -> bool:
    """Whether what follows the head could be read as a request, or the client wants the connection to end."""
    headers = dict(request.headers)
    options = {option.strip() for option in headers.get(b"connection", b"").lower().split(b",")}
    return (
        b"close" in options
        or request.http_version == b"1.0"
        or bool(headers.get(b"content-length", b"0").strip(b"0"))
        or b"transfer-encoding" in headers
    )


def check(sent: bytes, answers: Sequence[Answer], seen: Sequence[http.Request]) -> str:
    """Compare; how it ended."""
    requests, reason = theirs(sent)
    for number, mine in enumerate(seen):
        if number >= len(requests):
            assert any(word in reason for word in TOLERATED), (mine, reason)
            assert number == len(seen) - 1 or "Host" in reason
            return "tolerated"
        assert same(mine, requests[number]), (mine, requests[number])
        assert answers[number].status == 200
        if must_close(requests[number]):
            assert answers[number].closes and number == len(seen) - 1, requests[number]
    refused = answers[len(seen) :]
    assert len(refused) <= 1 and all(answer.status in REFUSALS and answer.closes for answer in refused), answers
    assert all(not answer.closes for answer in answers[:-1])
    if answers and answers[-1].closes:
        return "refused" if refused else "closed"
    # Nothing was lost. h11 also takes a single LF for the end of a line, where we wait for a CRLF, and then give up.
    assert len(seen) == len(requests) or BARE_LF.search(sent), (seen, requests, reason)
    return "open"


def test_generated_streams() -> None:
    """Requests in a row, of odd and of ordinary parts, cut at any place → as above; and the cuts make no difference."""
    numbers = source("http")
    outcomes: Counter[str] = Counter()

    async def run() -> None:
        for _ in range(scaled(COUNT, 500_000)):
            sent = stream(numbers)
            parts = pieces(numbers, sent)
            tally("HTTP streams")
            try:
                answers, seen = await ours([sent])
                outcomes[check(sent, answers, seen)] += 1
                if len(parts) > 1:
                    assert await ours(parts) == (answers, seen), parts
            except Exception as error:
                raise AssertionError(f"sent {sent[:1000]!r} in {len(parts)} parts") from error

    asyncio.run(run())
    assert min(outcomes.values()) > COUNT / 500 and len(outcomes) == 4, outcomes
