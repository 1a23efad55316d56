"""Frames of HTTP/2 that tests send, also wrong ones, and read (https://www.rfc-editor.org/rfc/rfc9113#section-4)."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from hpack import Encoder, NeverIndexedHeaderTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
MAX_FRAME_BYTES: Final = 16_384
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
# Flags. END_STREAM and ACK are the same bit, of different frames.
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
# Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5


class Frame(NamedTuple):
    """One frame; ``stream`` is 0 for the connection itself."""

    type: int
    flags: int
    stream: int
    payload: bytes


class FrameReader:
    """Cuts frames out of what was received; keeps one that is incomplete."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now."""
        self._rest += data
        while len(self._rest) >= HEAD_BYTES:
            stop = HEAD_BYTES + int.from_bytes(self._rest[:3])
            if stop > len(self._rest):
                return
            head, payload, self._rest = self._rest[:HEAD_BYTES], self._rest[HEAD_BYTES:stop], self._rest[stop:]
            yield Frame(head[3], head[4], int.from_bytes(head[5:]) & MAX_WINDOW, payload)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return b"".join((len(payload).to_bytes(3), bytes((kind, flags)), stream.to_bytes(4), payload))


def window_update(stream: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4))


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


def headers(stream: int, block: bytes, *, ends_stream: bool) -> bytes:
    """A header block, in as many frames as it needs."""
    pieces = [block[at : at + MAX_FRAME_BYTES] for at in range(0, len(block), MAX_FRAME_BYTES)] or [b""]
    flags = END_STREAM if ends_stream else 0
    frames = [frame(HEADERS, flags | (END_HEADERS if len(pieces) == 1 else 0), stream, pieces[0])]
    for number, piece in enumerate(pieces[1:], 2):
        frames.append(frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, stream, piece))
    return b"".join(frames)


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block that does not depend on others of its connection."""
    encoded = Encoder().encode([NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)
    assert isinstance(encoded, bytes)
    return encoded
