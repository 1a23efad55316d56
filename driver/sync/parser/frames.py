"""Messages between the driver and the parser: a length, a JSON header of that length, and the blobs that it announces.

    request    {"operation": "tls", "sizes": {"tls.crt": 1200, "tls.key": 1700}}
    response   {"sizes": {"tls.crt": 1200, "tls.key": 1675}}  or  {"error": "a sentence", "key": "tls.key"}
    request    {"operation": "json", "sizes": {"app.json": 300}}
    response   {"keys": ["user", "password"], "sizes": {"0": 3, "1": 16}}

JSON and bytes only: what comes from a process that has parsed foreign input is checked like any other input.
"""

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

MAX_HEADER_BYTES = 2 * 1024 * 1024
LENGTH = struct.Struct(">I")

Blobs = dict[str, bytes]


class BadFrame(Exception):
    """The other side does not follow the protocol."""


def pack(header: Mapping[str, Any], blobs: Mapping[str, bytes] | None = None) -> bytes:
    """One message."""
    blobs = blobs or {}
    text = json.dumps({**header, "sizes": {key: len(blob) for key, blob in blobs.items()}}).encode()
    return b"".join([LENGTH.pack(len(text)), text, *blobs.values()])


def header_length(prefix: bytes) -> int:
    """How long the header is. Raises BadFrame."""
    (length,) = LENGTH.unpack(prefix)
    if length > MAX_HEADER_BYTES:
        raise BadFrame("the header is too long")
    return int(length)


def parse_header(text: bytes, max_bytes: int) -> tuple[dict[str, Any], dict[str, int]]:
    """The header, and the sizes of the blobs that follow. Raises BadFrame."""
    try:
        header = json.loads(text)
        sizes = {str(key): int(size) for key, size in header.pop("sizes").items()}
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise BadFrame("the header is not valid") from None
    if any(size < 0 for size in sizes.values()) or sum(sizes.values()) > max_bytes:
        raise BadFrame("the blobs are too large")
    return header, sizes


def read(exactly: Callable[[int], bytes], max_bytes: int) -> tuple[dict[str, Any], Blobs]:
    """One message from a blocking reader of exactly so many bytes. Raises BadFrame, or what the reader raises."""
    header, sizes = parse_header(exactly(header_length(exactly(LENGTH.size))), max_bytes)
    return header, {key: exactly(size) for key, size in sizes.items()}
