"""Frames on an asyncio transport: what concerns a connection as a whole, or comes before its streams
(https://www.rfc-editor.org/rfc/rfc9113)."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final

from runtime.http2 import frames
from runtime.http2.frames import ConnectionFault, ErrorCode, Frame
from runtime.http2.headers import HeaderDecoder
from runtime.http2.stream import Bounds, FrameBudget

# How long the last bytes of a connection may take to be read.
GOODBYE_SECONDS: Final = 2.0


class FrameProtocol(asyncio.Protocol):
    """A subclass implements the methods whose names begin with ``on_``, and adds to HANDLERS. ``closing``: no more
    streams are taken; ``gone`` is done when the connection does not exist any more."""

    HANDLERS: ClassVar[dict[int, Callable[[Any, Frame], None]]] = {}

    def __init__(self, bounds: Bounds) -> None:
        self.closing = False
        self._bounds = bounds
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self.gone = self._loop.create_future()
        self._reader = frames.FrameReader()
        self._decoder = HeaderDecoder(bounds.header_bytes)
        self._budget = FrameBudget(self._loop.time())
        self._out = bytearray()
        self._block: tuple[Frame, bytearray] | None = None
        self._greeted = False
        self._last_stream = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Nothing can be sent or received any more."""
        self.closing = True
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Handle what the peer has sent."""
        if self._transport.is_closing():
            return
        try:
            for received in self._reader.read(data):
                self._handle(received)
        except ConnectionFault as fault:
            self.close(fault.code, str(fault))
        self.write()

    def pause_writing(self) -> None:
        """The peer does not read: what it sends must wait."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._transport.resume_reading()

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR, text: str = "") -> None:
        """Say goodbye and close at once; streams that are open end."""
        if not self.closing:
            self.say_goodbye(code, text)
        self.write()
        self._transport.close()
        self._loop.call_later(GOODBYE_SECONDS, self._transport.abort)

    def say_goodbye(self, code: ErrorCode = ErrorCode.NO_ERROR, text: str = "") -> None:
        """Send GOAWAY: no new stream is taken, those that are open go on."""
        self.closing = True
        payload = self._last_stream.to_bytes(4) + code.to_bytes(4) + text.encode()
        self._out += frames.frame(frames.GOAWAY, 0, 0, payload)

    def write(self) -> None:
        """Send what has been gathered, in one system call."""
        if self._out and not self._transport.is_closing():
            self._transport.write(bytes(self._out))
        self._out.clear()

    def on_setting(self, name: int, value: int) -> None:
        """One of the peer's settings."""

    def on_headers(self, stream_id: int, headers: dict[bytes, bytes], *, ends_stream: bool) -> None:
        """A header block has arrived."""
        raise NotImplementedError

    def on_goodbye(self, last_stream: int, code: int) -> None:
        """The peer takes no streams after ``last_stream``. Its text is not shown: it may be anything."""

    def on_settings(self) -> None:
        """The peer's settings have arrived."""

    def _handle(self, received: Frame) -> None:
        if self._block is not None and (
            received.type != frames.CONTINUATION or received.stream != self._block[0].stream
        ):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block that is not continued")
        if not self._greeted and (received.type != frames.SETTINGS or received.flags & frames.ACK):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if received.type != frames.DATA:  # DATA pays if it is small
            self._take_token()
        handle = self.HANDLERS.get(received.type)
        if handle is not None:  # frames of unknown types are ignored (RFC 9113, section 5.5)
            handle(self, received)

    def _take_token(self) -> None:
        self._budget.take(self._loop.time())

    def _headers(self, received: Frame) -> None:
        if not received.stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS without a stream")
        self._block = (received, bytearray(frames.unpadded(received)))
        self._end_block(received)

    def _continuation(self, received: Frame) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block[1].extend(received.payload)
        self._end_block(received)

    def _end_block(self, received: Frame) -> None:
        assert self._block is not None
        first, block = self._block
        if len(block) > self._bounds.header_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "received metadata size exceeds the limit")
        if received.flags & frames.END_HEADERS:
            self._block = None
            ends_stream = bool(first.flags & frames.END_STREAM)
            self.on_headers(first.stream, self._decoder.decode(bytes(block)), ends_stream=ends_stream)

    def _settings(self, received: Frame) -> None:
        if received.stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        if received.flags & frames.ACK:
            check_length(received, 0)
            return
        self._greeted = True
        for name, value in dict(frames.parse_settings(received.payload)).items():  # of one name the last counts
            self.on_setting(name, value)
        self._out += frames.frame(frames.SETTINGS, frames.ACK, 0)
        self.on_settings()

    def _ping(self, received: Frame) -> None:
        check_length(received, 8)
        if not received.flags & frames.ACK:
            self._out += frames.frame(frames.PING, frames.ACK, 0, received.payload)

    def _goaway(self, received: Frame) -> None:
        if len(received.payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of less than 8 bytes")
        payload = received.payload
        self.on_goodbye(int.from_bytes(payload[:4]) & frames.MAX_WINDOW, int.from_bytes(payload[4:8]))

    def _push_promise(self, _: Frame) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which was turned off")

    def _priority(self, received: Frame) -> None:
        check_length(received, 5)


def check_length(received: Frame, length: int) -> None:
    """Raise ConnectionFault unless the frame has so many bytes."""
    if len(received.payload) != length:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {len(received.payload)} bytes, not {length}")


FrameProtocol.HANDLERS = {
    frames.HEADERS: FrameProtocol._headers,
    frames.PRIORITY: FrameProtocol._priority,
    frames.SETTINGS: FrameProtocol._settings,
    frames.PUSH_PROMISE: FrameProtocol._push_promise,
    frames.PING: FrameProtocol._ping,
    frames.GOAWAY: FrameProtocol._goaway,
    frames.CONTINUATION: FrameProtocol._continuation,
}
