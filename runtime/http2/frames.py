"""Frames of HTTP/2, cut out of a stream of bytes and made (https://www.rfc-editor.org/rfc/rfc9113#section-4)."""

from enum import IntEnum
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
# SETTINGS_MAX_FRAME_SIZE's initial value, and the least that a peer may set.
MAX_FRAME_BYTES: Final = 16_384
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535

# Types of frames; plain numbers, because they are compared with each frame.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
# Flags. END_STREAM and ACK are the same bit, of different frames.
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
# Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 1, 2, 3, 4
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6
DEFAULT_TABLE: Final = 4096


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (https://www.rfc-editor.org/rfc/rfc9113#section-7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFault(Exception):
    """The peer has broken a rule, so that the connection must end."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Frame(NamedTuple):
    """One frame; ``stream`` is 0 for the connection itself."""

    type: int
    flags: int
    stream: int
    payload: bytes


class FrameReader:
    """Cuts frames out of what was received; keeps at most one that is incomplete."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises ConnectionFault if one is longer than allowed."""
        data = self._rest + data if self._rest else data
        frames, start, end = [], 0, len(data)
        while end - start >= HEAD_BYTES:
            length = int.from_bytes(data[start : start + 3])
            if length > MAX_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            stop = start + HEAD_BYTES + length
            if stop > end:
                break
            stream = int.from_bytes(data[start + 5 : start + HEAD_BYTES]) & MAX_WINDOW
            frames.append(Frame(data[start + 3], data[start + 4], stream, data[start + HEAD_BYTES : stop]))
            start = stop
        self._rest = data[start:]
        return frames


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """The bytes of a frame."""
    return b"".join((len(payload).to_bytes(3), bytes((kind, flags)), stream.to_bytes(4), payload))


def window_update(stream: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4))


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings in a frame, in their order. Raises ConnectionFault."""
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a length that is not a multiple of 6")
    pairs = [(payload[at : at + 2], payload[at + 2 : at + 6]) for at in range(0, len(payload), 6)]
    return [(int.from_bytes(name), int.from_bytes(value)) for name, value in pairs]


def headers(stream: int, block: bytes, *, ends_stream: bool) -> bytes:
    """A header block, in as many frames as it needs."""
    pieces = [block[at : at + MAX_FRAME_BYTES] for at in range(0, len(block), MAX_FRAME_BYTES)] or [b""]
    flags = END_STREAM if ends_stream else 0
    frames = [frame(HEADERS, flags | (END_HEADERS if len(pieces) == 1 else 0), stream, pieces[0])]
    for number, piece in enumerate(pieces[1:], 2):
        frames.append(frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, stream, piece))
    return b"".join(frames)


def unpadded(received: Frame) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority. Raises ConnectionFault."""
    payload, start, padding = received.payload, 0, 0
    if received.flags & PADDED:
        start, padding = 1, payload[0] if payload else 1
    if received.type == HEADERS and received.flags & HAS_PRIORITY:
        start += 5
    if start + padding > len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[start : len(payload) - padding]
