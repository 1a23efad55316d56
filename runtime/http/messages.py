"""HTTP/1.1 messages (RFC 9112, https://www.rfc-editor.org/rfc/rfc9112): parse a request head, encode a response."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

TEXT_PLAIN = "text/plain; charset=utf-8"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"\d{1,18}")
_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*/?(.*)", re.IGNORECASE)
_DATE_FORMAT = "%a, %d %b %Y %H:%M:%S GMT"


@dataclass(frozen=True)
class Request:
    """What handlers see of a request; they have no use for its body or its other headers. ``host`` is the Host header,
    empty if there is none."""

    method: str
    path: str
    query: str
    host: str = field(default="", compare=False)


@dataclass(frozen=True)
class Response:
    """A complete response; the body is sent in one piece."""

    body: bytes
    status: int = 200
    content_type: str = TEXT_PLAIN
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


class BadRequest(Exception):
    """The request is not valid HTTP/1.x; ``status`` is the response's status code."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def text_response(body: str | bytes, status: int = 200, content_type: str = TEXT_PLAIN, **headers: str) -> Response:
    """A response with a text body; underscores in the names of ``headers`` become dashes."""
    return Response(
        body.encode() if isinstance(body, str) else body,
        status,
        content_type,
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


def parse_head(head: bytes) -> tuple[Request, bool]:
    """The request, and whether the connection closes after the response. Raises BadRequest.

    A request with a body is the connection's last, because the body is never read.
    """
    lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    method, target, major, minor = match.groups()
    if major != b"1":
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    closes = minor == b"0"
    lengths, host = set(), ""
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        name, value = header[1].lower(), header[2].strip()
        if name == b"content-length":
            lengths.add(value)
        elif name == b"host":
            host = value.decode("latin-1")
        if (
            name == b"connection"
            and b"close" in value.lower()
            or name == b"transfer-encoding"
            or name == b"content-length"
            and value != b"0"
        ):
            closes = True
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise BadRequest(HTTPStatus.BAD_REQUEST)  # where the body ends is open to interpretation
    path, _, query = _origin_form(target).partition("?")
    return Request(method.decode(), path, query, host), closes


def _origin_form(target: bytes) -> str:
    """The request target as path and query; clients may send a proxy's absolute form too (RFC 9112, section 3.2.2)."""
    text = target.decode("latin-1")
    absolute = _ABSOLUTE_FORM.fullmatch(text)
    return text if absolute is None else "/" + absolute[1]


def encode(response: Response, *, head_only: bool, closes: bool) -> bytes:
    """The response as it is sent; ``head_only`` for a HEAD request, ``closes`` if the connection ends after it."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    date = time.strftime(_DATE_FORMAT, time.gmtime())
    head = (
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nDate: {date}\r\n"
        f"{extra}{'Connection: close' if closes else 'Connection: keep-alive'}\r\n\r\n"
    )
    return head.encode("latin-1") if head_only else head.encode("latin-1") + response.body
