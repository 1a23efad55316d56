"""What a connection keeps of each stream, and how much a peer may send."""

from dataclasses import dataclass, field
from typing import Final

from runtime.http2.frames import DEFAULT_WINDOW, ConnectionFault, ErrorCode

FRAMES: Final = 1000.0
FRAMES_A_SECOND: Final = 100.0
FRAMES_A_MESSAGE: Final = 8.0
# A DATA frame with less costs us as much as an empty one.
SMALL_BYTES: Final = 64


@dataclass(frozen=True)
class Bounds:
    """What a peer may send: bytes of a message and of a list of headers, ``window`` bytes of a stream, or of all of
    them, before they are confirmed, and how many streams may be open."""

    message_bytes: int
    header_bytes: int = 16 * 1024
    window: int = DEFAULT_WINDOW
    streams: int = 100


@dataclass(eq=False, slots=True)
class Stream:
    """One request and its response. ``may_send`` is the peer's window, ``unconfirmed`` what we have used of ours, and
    ``trailers`` the header block after ``sending``, None if there is none."""

    id: int
    may_send: int
    received: bytearray = field(default_factory=bytearray)
    unconfirmed: int = 0
    sending: memoryview = field(default_factory=lambda: memoryview(b""))
    trailers: bytes | None = None


class FrameBudget:
    """How many frames a peer may send that move no message. They cost us work for nothing, so each takes one of FRAMES
    tokens, of which FRAMES_A_SECOND come back, and some with each message."""

    def __init__(self, now: float) -> None:
        self._tokens, self._refilled = FRAMES, now

    def take(self, now: float) -> None:
        """One more such frame, at event loop time ``now``. Raises ConnectionFault if it is one too many."""
        self._tokens = min(FRAMES, self._tokens + (now - self._refilled) * FRAMES_A_SECOND) - 1
        self._refilled = now
        if self._tokens < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without a message")

    def message_done(self) -> None:
        """A message was received as a whole; the frames around it were for that."""
        self._tokens += FRAMES_A_MESSAGE
