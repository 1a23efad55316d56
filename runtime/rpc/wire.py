"""What gRPC puts into HTTP/2: messages with their lengths, deadlines and statuses
(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
"""

import math
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from runtime.status_codes import StatusCode

PREFIX_BYTES: Final = 5
CONTENT_TYPE: Final = b"application/grpc"
# The text that gRPC's own libraries give when a call's deadline has passed. A server may answer DEADLINE_EXCEEDED
# with a text of its own.
DEADLINE_DETAILS: Final = "Deadline Exceeded"
STATUS, MESSAGE, TIMEOUT, ENCODING = b"grpc-status", b"grpc-message", b"grpc-timeout", b"grpc-encoding"
# What a client reads of a response's headers and trailers.
RESPONSE_HEADERS: Final = (b":status", b"content-type", STATUS, MESSAGE)

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_DIGITS = 10**8
_TO_BE_QUOTED = re.compile(rb"[^ -$&-~]")


class MessageFault(Exception):
    """The bytes of a body are not one message; the text says why."""


def framed(message: bytes) -> bytes:
    """A message as the body of a request or a response."""
    return b"\x00" + len(message).to_bytes(4) + message


def message_in(body: bytes | bytearray) -> bytes:
    """The one message of a whole body. Raises MessageFault."""
    if len(body) < PREFIX_BYTES:
        raise MessageFault("the body has no message")
    if body[0]:
        raise MessageFault("the message is compressed, which was not offered")
    if int.from_bytes(body[1:PREFIX_BYTES]) != len(body) - PREFIX_BYTES:
        raise MessageFault("the body is not one message of the length that it begins with")
    return bytes(body[PREFIX_BYTES:])


def excess(body: bytes | bytearray, most_bytes: int) -> str:
    """Why the message that a body, of which a part may be missing, begins with is too large; empty if it is not."""
    announced = int.from_bytes(body[1:PREFIX_BYTES]) if len(body) >= PREFIX_BYTES else 0
    size = max(announced, len(body) - PREFIX_BYTES)
    return f"Received message larger than max ({size} vs. {most_bytes})" if size > most_bytes else ""


def parse_timeout(text: bytes) -> float | None:
    """The seconds of a ``grpc-timeout`` header; None if it is malformed."""
    match = _TIMEOUT.fullmatch(text)
    return int(match[1]) * _SECONDS[match[2]] if match is not None else None


def timeout(seconds: float) -> bytes:
    """The value of a ``grpc-timeout`` header, which may have eight digits."""
    for unit in (b"u", b"m", b"S"):
        number = max(1, math.ceil(seconds / _SECONDS[unit]))
        if number < _MOST_DIGITS:
            return b"%d%s" % (number, unit)
    return b"%dS" % (_MOST_DIGITS - 1)


def quoted(text: str) -> bytes:
    """The value of a ``grpc-message`` header."""
    return _TO_BE_QUOTED.sub(lambda match: b"%%%02X" % match[0][0], text.encode("utf-8", "replace"))


def unquoted(value: bytes) -> str:
    """The text of a ``grpc-message`` header."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def is_foreign(headers: dict[bytes, bytes]) -> bool:
    """Whether a response, of which the headers have arrived, is not gRPC's: its body is no message."""
    http = headers.get(b":status", b"200")
    if http.startswith(b"1"):  # informational: the response follows
        return False
    return http != b"200" or not headers.get(b"content-type", CONTENT_TYPE).startswith(CONTENT_TYPE)


def status_in(headers: dict[bytes, bytes]) -> tuple[StatusCode, str]:
    """Code and text of trailers. Without a status the server is no gRPC server; what it says in HTTP is mapped as in
    https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md."""
    status = headers.get(STATUS)
    if status is None:
        http = headers.get(b":status", b"").decode(errors="replace")
        return _HTTP_CODES.get(http, StatusCode.UNKNOWN), f"no gRPC status; the HTTP status is {http or 'missing'}"
    if not status.isdigit() or len(status) > 2 or int(status) > max(StatusCode):
        return StatusCode.UNKNOWN, f"unknown gRPC status {status[:20].decode(errors='replace')}"
    return StatusCode(int(status)), unquoted(headers.get(MESSAGE, b""))


_HTTP_CODES: Final = {
    "400": StatusCode.INTERNAL,
    "401": StatusCode.UNAUTHENTICATED,
    "403": StatusCode.PERMISSION_DENIED,
    "404": StatusCode.UNIMPLEMENTED,
    **dict.fromkeys(("429", "502", "503", "504"), StatusCode.UNAVAILABLE),
}
