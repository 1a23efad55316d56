"""The frames of a connection, cut out of what was received and counted before the library h2 reads them.

h2 bounds the size of one frame and of a list of headers. It does not bound how many frames come that move nothing, nor
how much of a header block is kept until its end has come. And it takes GOAWAY for the end of a connection, although the
streams that are open go on (https://www.rfc-editor.org/rfc/rfc9113#section-6.8), so that GOAWAY must not reach it.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from h2.errors import ErrorCodes

from runtime.http2.bounds import HEADERS_TOO_LARGE, ConnectionFault, FrameBudget

HEAD_BYTES: Final = 9
# SETTINGS_MAX_FRAME_SIZE's initial value, and the least that a peer may set.
MAX_FRAME_BYTES: Final = 16_384
# A DATA frame with less costs us as much as an empty one.
SMALL_BYTES: Final = 64
# Types of frames (RFC 9113, section 6), and two flags.
DATA, HEADERS, SETTINGS, PUSH_PROMISE, GOAWAY, CONTINUATION = 0, 1, 4, 5, 7, 9
_ACK, _END_HEADERS, _PADDED = 0x1, 0x4, 0x8
# Seven settings are defined; a frame has room for 2730, each of which is work.
_MOST_SETTINGS, _SETTING_BYTES = 32, 6


class Frame(NamedTuple):
    """One frame; ``data`` is all of it."""

    kind: int
    flags: int
    data: bytes

    @property
    def stream(self) -> int:
        """The stream's number, 0 for the connection itself."""
        return int.from_bytes(self.data[5:HEAD_BYTES]) & 2**31 - 1


class FrameMeter:
    """Reads a peer's frames, within ``budget`` and with header blocks of at most ``block_bytes``; keeps at most one
    frame that is incomplete."""

    def __init__(self, block_bytes: int, budget: FrameBudget) -> None:
        self._block_bytes, self._budget = block_bytes, budget
        self._rest = b""
        self._block = 0
        self._greeted = False

    def read(self, data: bytes, now: float) -> Iterator[Frame]:
        """The frames that are complete at event loop time ``now``. Raises ConnectionFault."""
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        try:
            while end - start >= HEAD_BYTES:
                length = int.from_bytes(data[start : start + 3])
                if length > MAX_FRAME_BYTES:
                    raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
                stop = start + HEAD_BYTES + length
                if stop > end:
                    break
                frame = Frame(data[start + 3], data[start + 4], data[start:stop])
                start = stop
                self._count(frame, now)
                yield frame
        finally:
            self._rest = data[start:]

    def _count(self, frame: Frame, now: float) -> None:
        if not self._greeted and (frame.kind != SETTINGS or frame.flags & _ACK):
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._greeted = True
        if frame.kind != DATA or _is_small(frame):
            self._budget.take(now)
        if frame.kind == SETTINGS and len(frame.data) - HEAD_BYTES > _MOST_SETTINGS * _SETTING_BYTES:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "too many settings")
        if frame.kind in (HEADERS, CONTINUATION, PUSH_PROMISE):
            self._block += len(frame.data) - HEAD_BYTES
            if self._block > self._block_bytes:
                raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, HEADERS_TOO_LARGE, frame.stream)
            if frame.flags & _END_HEADERS:
                self._block = 0


def _is_small(data: Frame) -> bool:
    """Whether there is little in a DATA frame but padding."""
    size = len(data.data) - HEAD_BYTES
    if data.flags & _PADDED and size:
        size -= 1 + data.data[HEAD_BYTES]
    return size < SMALL_BYTES
