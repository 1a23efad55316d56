"""A minimal gRPC client: unary calls, each on a new connection, as kubelet makes them.

grpc.aio needs more than a millisecond of CPU time for a new channel, on the same two cores that the driver runs on;
this client needs a tenth of that. It implements of HTTP/2 what such a call needs: the frames of RFC 9113 and the
literals of RFC 7541 without Huffman coding, but no flow control (a reply fits into the initial window). A reply with a
message is a success; anything else is reported as text.
"""

import asyncio
import struct
from dataclasses import dataclass

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_MAX_FRAME_BYTES = 16384


class CallFailed(Exception):
    """The server replied without a message; the text holds the printable part of its trailers."""


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


async def _reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    received, seen = bytearray(), bytearray()
    while True:
        try:
            head = await reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
            payload = await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise CallFailed(f"the server closed the connection after {_readable(seen)}") from None
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _DATA:
            received += payload
        elif kind == _HEADERS or kind in (_RST_STREAM, _GOAWAY):
            seen += payload
        if kind in (_RST_STREAM, _GOAWAY) or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            if len(received) < 5:
                raise CallFailed(_readable(seen))
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


def _readable(raw: bytes | bytearray) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else " " for byte in raw)
