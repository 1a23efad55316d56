"""How much a peer may send."""

from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes

DEFAULT_WINDOW: Final = 65_535
FRAMES: Final = 1000.0
FRAMES_A_SECOND: Final = 100.0
FRAMES_A_MESSAGE: Final = 8.0
# The usual libraries have windows of 64 KiB or more, and confirm a quarter of one or more by two WINDOW_UPDATE frames,
# of the stream and of the connection. Four times as many are allowed.
BYTES_A_FRAME: Final = 2048
HEADERS_TOO_LARGE: Final = "received metadata size exceeds the limit"


class ConnectionFault(Exception):
    """The peer has broken a rule, or a bound, so that the connection must end; ``stream`` is the one on which it has, 0
    if it is none of them."""

    def __init__(self, code: ErrorCodes, text: str, stream: int = 0) -> None:
        super().__init__(text)
        self.code, self.stream = code, stream


@dataclass(frozen=True)
class Bounds:
    """What a peer may send: bytes of a message and of a list of headers, ``window`` bytes of a stream, or of all of
    them, before they are confirmed, and how many streams may be open."""

    message_bytes: int
    header_bytes: int = 16 * 1024
    window: int = DEFAULT_WINDOW
    streams: int = 100


class FrameBudget:
    """How many frames a peer may send that move no message. They cost us work for nothing, so each takes one of FRAMES
    tokens, of which FRAMES_A_SECOND come back, and some with each message and with what we send."""

    def __init__(self, now: float) -> None:
        self._tokens, self._refilled = FRAMES, now

    def take(self, now: float) -> None:
        """One more such frame, at event loop time ``now``. Raises ConnectionFault if it is one too many."""
        self._tokens = min(FRAMES, self._tokens + (now - self._refilled) * FRAMES_A_SECOND) - 1
        self._refilled = now
        if self._tokens < 0:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames without a message")

    def message_done(self) -> None:
        """A message was received as a whole; the frames around it were for that."""
        self._tokens += FRAMES_A_MESSAGE

    def data_sent(self, size: int) -> None:
        """So many bytes of DATA were sent, which the peer confirms by WINDOW_UPDATE frames."""
        self._tokens += size / BYTES_A_FRAME
