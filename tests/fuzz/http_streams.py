"""Generates what clients send to an HTTP server: requests one after the other, valid ones and almost valid ones."""

import random
from collections.abc import Sequence

METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b"M-SEARCH", b"CONNECT", b"G(T", b"", b"GET GET", b"PRI")
TARGETS = (
    *(b"/ok", b"/ok?a=b?c", b"/", b"/nowhere", b"http://h/ok", b"HTTP://h:80/ok?x", b"https://h", b"http://h?a/b"),
    *(
        b"*",
        b"//h/ok",
        b"h:80",
        b"/%6fk",
        b"/ok#f",
        b"/\x00",
        b"/\xff",
        b"/ ok",
        b"",
        b"/ok\t",
        b"ftp://h/ok",
        b"/" * 9,
    ),
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1.10", b"HTTP/1", b"")
HEADERS = (
    *(b"Accept: */*", b"Connection: keep-alive", b"X:", b"X: \t ", b"User-Agent: x/1 (a; b)", b"Content-Length: 0"),
    *(b"Connection: close", b"connection: Keep-Alive, CLOSE", b"Connection: x-close", b"Connection:close"),
    *(b"Connection: Upgrade", b"Upgrade: h2c", b"Expect: 100-continue"),
    *(b"Content-Length: 5", b"Content-Length: 00", b"Content-Length: +5", b"Content-Length: 5, 5"),
    *(
        b"Content-Length: 5,6",
        b"Content-Length:",
        b"Content-Length: 1_0",
        b"Content-Length : 5",
        b"Content-Length: 0x5",
    ),
    *(b"Content-Length: -0", b"Content-Length: \xd9\xa5", b"Content-Length: 5\t", b"Content-Length\t: 5"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity"),
    *(
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:\x0bchunked",
        b"TE: trailers",
    ),
    *(b"X: a\tb", b"X: \x80\xff", b"X: a\x0bb", b"X: a\x00b", b"X: a\nContent-Length: 5", b"X: a\rY: b", b"X\r: a"),
    *(b" folded", b"\tfolded", b"X", b": x", b"X\xff: a", b"X y: a", b"Host: again", b"Host:", b"X: " + b"v" * 300),
)
BODIES = (
    *(b"", b"", b"", b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n"),
    *(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\x00", b"\x16\x03\x01\x02\x00"),
)
ENDS = (b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ")
FRAMING = tuple(header for header in HEADERS if header[:9].lower() in (b"content-l", b"transfer-", b"connectio"))
ORDINARY_METHODS, ORDINARY_HEADERS = METHODS[:4], HEADERS[:6]


def stream(source: random.Random, targets: Sequence[bytes] = TARGETS[:6]) -> bytes:
    """Some requests in a row, most of them of ordinary ``targets``, the later ones sent before the first is answered;
    some bytes of them changed."""
    sent = b"".join(_request(source, targets) for _ in range(source.choice((1, 1, 2, 3, 5))))
    if source.random() < 0.25:
        data = bytearray(sent)
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(data) + 1)
            data[at : at + source.randrange(3)] = bytes(source.choices(range(256), k=source.randrange(3)))
        sent = bytes(data)
    if source.random() < 0.01:
        sent = sent.replace(b"Host: h", b"Host: h\r\nX: " + b"v" * source.choice((20_000, 32_700, 33_000, 70_000)))
    return sent


def pieces(source: random.Random, sent: bytes) -> list[bytes]:
    """The stream as it arrives: cut at any place."""
    cuts = sorted(source.sample(range(len(sent) + 1), k=min(source.choice((0, 0, 1, 3, 10)), len(sent))))
    return [sent[first:last] for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True) if first < last]


def _request(source: random.Random, targets: Sequence[bytes]) -> bytes:
    odd = source.random() < 0.25
    end = source.choice(ENDS) if odd and source.random() < 0.1 else b"\r\n"
    separator = source.choice((b" ", b"  ", b"\t")) if odd and source.random() < 0.1 else b" "
    line = separator.join(
        (
            source.choice(METHODS if odd else ORDINARY_METHODS),
            source.choice(TARGETS if odd and source.random() < 0.5 else targets),
            source.choice(VERSIONS if odd else VERSIONS[:2]),
        )
    )
    headers = source.sample(HEADERS if odd else ORDINARY_HEADERS, k=source.randrange(4))
    if odd and source.random() < 0.2:  # two that say where the body ends, or when the connection does
        headers += source.sample(FRAMING, k=2)
    host = [] if odd and source.random() < 0.2 else [b"Host: h"]
    body = source.choice(BODIES) if source.random() < 0.25 else b""
    return end.join([line, *host, *headers, b"", b""]) + body
