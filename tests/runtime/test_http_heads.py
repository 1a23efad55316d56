"""Request heads, read side by side with h11, a well-kept parser: what we accept, it reads the same."""

import random
from typing import Any
from urllib.parse import urlsplit

import pytest

from runtime.http.messages import BadRequest, Request, parse_head

h11 = pytest.importorskip("h11", reason="an environment from before it was needed: make venv")

PARTS = (
    [b"GET", b"HEAD", b"get", b"M-SEARCH", b"G(T", b"", b"GET GET", b"CONNECT"],
    [
        b"/healthz",
        b"/a?b=c?d",
        b"*",
        b"http://h/x?y",
        b"HTTP://h?a/b",
        b"https://h",
        b"//h/x",
        b"/\x00",
        b"/\xff",
        b"/ /",
        b"/#f",
        b"",
    ],
    [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.9", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1.10", b""],
)
HEADERS = (
    b"Accept: */*",
    b"Connection: close",
    b"connection: Keep-Alive, CLOSE",
    b"Connection: keep-alive",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: 00",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length:",
    b"Content-Length: 1_0",
    b"Content-Length : 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"X: a\tb",
    b"X: \x80\xff",
    b"X: a\x0bb",
    b"X: a\x00b",
    b"X: a\nContent-Length: 5",
    b"X: a\rY: b",
    b" folded",
    b"X",
    b": x",
    b"X\xff: a",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
)
# We permit what h11 does not: a Host header that is missing, and transfer encodings, which only end the connection.
TOLERATED = ("Host", "Transfer-Encoding")


def reference(head: bytes) -> Any:
    """The request that h11 reads; the reason if it refuses."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(head + b"\r\n\r\n")
    try:
        event = server.next_event()
    except h11.RemoteProtocolError as refused:
        return str(refused)
    assert isinstance(event, h11.Request), (head, event)
    return event


def check(head: bytes) -> bool:
    """Compare the two; whether we accept."""
    try:
        ours, closes = parse_head(head)
    except BadRequest:
        return False
    theirs = reference(head)
    if isinstance(theirs, str):
        assert any(word in theirs for word in TOLERATED), (head, theirs)
        return True
    target = theirs.target.decode("latin-1")
    if target.lower().startswith(("http://", "https://")):
        if "#" in target:
            return True  # no valid target: either reading is wrong
        parts = urlsplit(target)
        path, query = parts.path or "/", parts.query
    else:
        path, _, query = target.partition("?")
    assert ours == Request(theirs.method.decode(), path, query), head
    headers = dict(theirs.headers)
    if b"close" in headers.get(b"connection", b"").lower() or theirs.http_version == b"1.0":
        assert closes, head
    # What follows the head would be read as a request.
    if headers.get(b"content-length", b"0").strip(b"0") or b"transfer-encoding" in headers:
        assert closes, head
    return True


@pytest.mark.parametrize("seed", range(4))
def test_generated_heads(seed: int) -> None:
    """Heads of odd and of valid parts, and one byte changed, added or removed in some → as above."""
    source = random.Random(seed)
    accepted = 0
    for _ in range(5000):
        line = b" ".join(source.choice(part[: source.choice((2, len(part)))]) for part in PARTS)
        head = b"\r\n".join([line, b"Host: h", *source.sample(HEADERS, source.randrange(4))])
        if source.random() < 0.5:
            at = source.randrange(len(head))
            head = (
                head[:at] + bytes(source.choices(range(256), k=source.randrange(3))) + head[at + source.randrange(2) :]
            )
        if b"\r\n\r\n" not in head:
            accepted += check(head)
    assert 500 < accepted < 4500


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: +5",
        b"Content-Length:",
        b"Content-Length: 1_0",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -1",
        b"Content-Length: " + b"9" * 5000,
        b"X: a\x0bb",
        b"X: a\x7f",
    ],
)
def test_ambiguous_heads(header: bytes) -> None:
    """A length that parsers read differently, or a control character → refused."""
    with pytest.raises(BadRequest):
        parse_head(b"GET / HTTP/1.1\r\nHost: h\r\n" + header)
