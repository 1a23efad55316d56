"""A minimal gRPC client: unary calls, each on a new connection, as kubelet makes them.

grpc.aio needs more than a millisecond of CPU time for a new channel, on the same two cores that the driver runs on;
this client needs a tenth of that. It implements of HTTP/2 what such a call needs: the frames of RFC 9113 and the
literals of RFC 7541 without Huffman coding, but no flow control (a reply fits into the initial window). A reply with a
message is a success. Of anything else the headers are decoded, by the library hpack, which is too slow to read all.
"""

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_STATUS, _MESSAGE = "grpc-status", "grpc-message"
# https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_MAX_FRAME_BYTES = 16384


class CallFailed(Exception):
    """The server replied without a message; the text has the status and the sentence of its trailers."""


@dataclass(frozen=True)
class Method:
    """A unary method, with its header block encoded once."""

    path: str

    @property
    def headers(self) -> bytes:
        """The request's header block."""
        return b"\x83\x86" + b"".join(
            _literal(name, value)
            for name, value in (
                (":path", self.path),
                (":authority", "localhost"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", "grpc-bench/1"),
            )
        )


def request(method: Method, message: bytes) -> bytes:
    """All bytes that the client sends, except acknowledgements."""
    body = b"\x00" + struct.pack(">I", len(message)) + message
    pieces = [body[at : at + _MAX_FRAME_BYTES] for at in range(0, len(body), _MAX_FRAME_BYTES)]
    frames = [
        _frame(_DATA, _END_STREAM if number == len(pieces) - 1 else 0, 1, piece) for number, piece in enumerate(pieces)
    ]
    return b"".join(
        [_PREFACE, _frame(_SETTINGS, 0, 0, b""), _frame(_HEADERS, _END_HEADERS, 1, method.headers), *frames]
    )


async def call(socket: str, prepared: bytes) -> bytes:
    """Connect, send a request made by ``request``, and return the reply's message. Raises CallFailed or OSError."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(prepared)
        return await _reply(reader, writer)
    finally:
        writer.close()


@dataclass
class _Seen:
    """What a connection has brought beside messages; decoded only if the call has failed."""

    blocks: list[bytes] = field(default_factory=lambda: [b""])
    ends: list[str] = field(default_factory=list)
    is_last: bool = False

    def add_headers(self, payload: bytes, flags: int, *, whole: bool) -> None:
        """Add the payload of a HEADERS frame, or of a CONTINUATION (no ``flags``); ``whole``: it ends the block."""
        padding = payload[0] if flags & _PADDED else 0
        start = (1 if flags & _PADDED else 0) + (5 if flags & _PRIORITY else 0)
        self.blocks[-1] += payload[start : len(payload) - padding]
        if whole:
            self.blocks.append(b"")

    def text(self) -> str:
        """Status and sentence, and how else the stream ended."""
        headers = dict(_decoded(self.blocks[:-1]))
        code = headers.get(_STATUS, "")
        parts = [_CODES[int(code)] if code.isdecimal() and int(code) < len(_CODES) else code]
        parts.append(unquote(headers.get(_MESSAGE, "")))
        if _STATUS not in headers and ":status" in headers:
            parts.append(f"HTTP status {headers[':status']} without a gRPC status")
        return ": ".join(part for part in (*parts, *self.ends) if part)


def _decoded(blocks: Sequence[bytes]) -> list[tuple[str, str]]:
    """The headers of all blocks of a connection, in their order: a block may refer to those before it."""
    import hpack  # only for a failed call, and a library for developers

    decoder = hpack.Decoder()
    try:
        return [(str(name), str(value)) for block in blocks for name, value in decoder.decode(block)]
    except hpack.HPACKError as error:
        return [(_MESSAGE, f"headers that cannot be decoded: {error!r}")]


async def _reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    received, seen = bytearray(), _Seen()
    while True:
        try:
            head = await reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
            payload = await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise CallFailed(f"the server closed the connection after: {seen.text() or 'nothing'}") from None
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _DATA:
            received += payload
        elif kind in (_HEADERS, _CONTINUATION):
            seen.add_headers(payload, flags if kind == _HEADERS else 0, whole=bool(flags & _END_HEADERS))
        elif kind == _RST_STREAM:
            seen.ends.append(f"RST_STREAM with code {int.from_bytes(payload[:4])}")
        elif kind == _GOAWAY:
            seen.ends.append(f"GOAWAY with code {int.from_bytes(payload[4:8])}: {payload[8:].decode(errors='replace')}")
        if kind == _HEADERS and flags & _END_STREAM:
            seen.is_last = True
        if seen.is_last and not flags & _END_HEADERS and kind in (_HEADERS, _CONTINUATION):
            continue  # the rest of the trailers follows
        if kind in (_RST_STREAM, _GOAWAY) or (kind == _DATA and flags & _END_STREAM) or seen.is_last:
            if len(received) < 5:
                raise CallFailed(seen.text())
            return bytes(received[5:])


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest = len(raw) - 127
    return b"\x7f" + (bytes([rest]) if rest < 128 else bytes([rest % 128 | 128, rest // 128])) + raw
