"""One HTTP/2 connection, of a server or a client, within bounds (https://www.rfc-editor.org/rfc/rfc9113).

Bounded are the size of a frame, of a header block and of a message, the streams that are open, and the frames that move
no message (``runtime.http2.stream``). A peer that does not read is not read either, until it does.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from runtime.http2 import frames
from runtime.http2.frames import ConnectionFault, ErrorCode, Frame
from runtime.http2.headers import HeaderDecoder
from runtime.http2.stream import Bounds, FrameBudget, Stream

# How long the last bytes of a connection may take to be read.
GOODBYE_SECONDS: Final = 2.0


class Connection(asyncio.Protocol):
    """What both sides have in common. A subclass implements the methods whose names begin with ``on_``. ``closing``:
    it takes no more streams; ``gone`` is done when it does not exist any more."""

    def __init__(self, bounds: Bounds) -> None:
        self.streams: dict[int, Stream] = {}
        self.closing = False
        self._bounds = bounds
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._reader = frames.FrameReader()
        self._decoder = HeaderDecoder(bounds.header_bytes)
        self._out = bytearray()
        self._may_send, self._stream_window = frames.DEFAULT_WINDOW, frames.DEFAULT_WINDOW
        self._unconfirmed = 0
        self._budget = FrameBudget(self._loop.time())
        self._block: tuple[Frame, bytearray] | None = None
        self._greeted = False
        self._last_stream = 0
        self.gone = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Nothing can be sent or received any more."""
        self.closing = True
        self.gone.set_result(None)
        for stream in list(self.streams.values()):
            self.forget(stream)
            self.on_reset(stream, None)

    def data_received(self, data: bytes) -> None:
        """Handle what the peer has sent."""
        if self.closing and not self.streams:
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

    def forget(self, stream: Stream) -> None:
        """The stream has ended."""
        self.streams.pop(stream.id, None)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream from this side."""
        self._out += frames.frame(frames.RST_STREAM, 0, stream.id, code.to_bytes(4))
        self.forget(stream)

    def send_body(self, stream: Stream, body: bytes, trailers: bytes | None) -> None:
        """Send DATA as far as the peer's windows permit, and the rest when they do; then the stream's end: the header
        block ``trailers``, or a mark on the last frame if None."""
        stream.sending, stream.trailers = memoryview(body), trailers
        self._send_more(stream)

    # What a subclass implements.

    def on_headers(self, stream_id: int, headers: dict[bytes, bytes], *, ends_stream: bool) -> None:
        """A header block has arrived."""
        raise NotImplementedError

    def on_data(self, stream: Stream, *, ends_stream: bool) -> None:
        """``stream.received`` has grown."""
        raise NotImplementedError

    def on_sent(self, stream: Stream) -> None:
        """All of ``send_body`` has been sent."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int | None) -> None:
        """The peer has ended the stream; None: the connection is lost. It is forgotten already."""
        raise NotImplementedError

    def on_goodbye(self, last_stream: int, code: int) -> None:
        """The peer takes no streams after ``last_stream``. Its text is not shown: it may be anything."""

    # Frames.

    def _handle(self, received: Frame) -> None:
        if self._block is not None and (
            received.type != frames.CONTINUATION or received.stream != self._block[0].stream
        ):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block that is not continued")
        if not self._greeted and (received.type != frames.SETTINGS or received.flags & frames.ACK):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if received.type not in (frames.HEADERS, frames.DATA):
            self._take_token()
        handle = _HANDLERS.get(received.type)
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

    def _data(self, received: Frame) -> None:
        length = len(received.payload)
        self._unconfirmed += length
        if self._unconfirmed > self._bounds.window:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if not length:
            self._take_token()
        if self._unconfirmed >= self._bounds.window // 2:
            self._out += frames.window_update(0, self._unconfirmed)
            self._unconfirmed = 0
        stream = self.streams.get(received.stream)
        if stream is None:
            self._refuse_unknown(received.stream)
            return
        stream.unconfirmed += length
        if stream.unconfirmed > self._bounds.window:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        stream.received += frames.unpadded(received)
        ends_stream = bool(received.flags & frames.END_STREAM)
        if not ends_stream and stream.unconfirmed >= self._bounds.window // 2:
            self._out += frames.window_update(stream.id, stream.unconfirmed)
            stream.unconfirmed = 0
        self.on_data(stream, ends_stream=ends_stream)

    def _refuse_unknown(self, stream_id: int) -> None:
        """A frame of a stream that has ended, or that came after our goodbye, may have been on its way; one of a stream
        that never was is a fault."""
        if not stream_id or stream_id > self._last_stream and not self.closing:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame of a stream that was not opened")
        self._take_token()

    def _rst_stream(self, received: Frame) -> None:
        _check_length(received, 4)
        stream = self.streams.get(received.stream)
        if stream is None:
            self._refuse_unknown(received.stream)
            return
        self.forget(stream)
        self.on_reset(stream, int.from_bytes(received.payload))

    def _settings(self, received: Frame) -> None:
        if received.stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        if received.flags & frames.ACK:
            _check_length(received, 0)
            return
        self._greeted = True
        for name, value in frames.parse_settings(received.payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._change_window(value)
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.on_most_streams(value)
        self._out += frames.frame(frames.SETTINGS, frames.ACK, 0)
        self.on_settings()

    def on_most_streams(self, count: int) -> None:
        """How many streams the peer takes."""

    def on_settings(self) -> None:
        """The peer's settings have arrived."""

    def _change_window(self, value: int) -> None:
        """The new value also changes what streams that are open may send (RFC 9113, section 6.9.2)."""
        if value > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1")
        difference, self._stream_window = value - self._stream_window, value
        for stream in list(self.streams.values()):
            stream.may_send += difference
            if stream.may_send > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1")
            self._send_more(stream)

    def _ping(self, received: Frame) -> None:
        _check_length(received, 8)
        if not received.flags & frames.ACK:
            self._out += frames.frame(frames.PING, frames.ACK, 0, received.payload)

    def _goaway(self, received: Frame) -> None:
        if len(received.payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of less than 8 bytes")
        payload = received.payload
        self.on_goodbye(int.from_bytes(payload[:4]) & frames.MAX_WINDOW, int.from_bytes(payload[4:8]))

    def _window_update(self, received: Frame) -> None:
        _check_length(received, 4)
        more = int.from_bytes(received.payload) & frames.MAX_WINDOW
        if not more:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        if received.stream:
            stream = self.streams.get(received.stream)
            if stream is None:
                self._refuse_unknown(received.stream)
                return
            stream.may_send += more
            changed, most = [stream], stream.may_send
        else:
            self._may_send += more
            changed, most = list(self.streams.values()), self._may_send
        if most > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1")
        for each in changed:
            self._send_more(each)

    def _push_promise(self, _: Frame) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which was turned off")

    def _priority(self, received: Frame) -> None:
        _check_length(received, 5)

    def _send_more(self, stream: Stream) -> None:
        if not stream.sending:
            return
        while stream.sending:
            size = min(self._may_send, stream.may_send, frames.MAX_FRAME_BYTES)
            if size <= 0:
                return
            piece, stream.sending = stream.sending[:size], stream.sending[size:]
            is_end = not stream.sending and stream.trailers is None
            self._out += frames.frame(frames.DATA, frames.END_STREAM if is_end else 0, stream.id, piece)
            self._may_send -= len(piece)
            stream.may_send -= len(piece)
        if stream.trailers is not None:
            self._out += frames.headers(stream.id, stream.trailers, ends_stream=True)
        self.on_sent(stream)


def _check_length(received: Frame, length: int) -> None:
    if len(received.payload) != length:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {len(received.payload)} bytes, not {length}")


_HANDLERS: dict[int, Callable[[Connection, Frame], None]] = {
    frames.DATA: Connection._data,
    frames.HEADERS: Connection._headers,
    frames.PRIORITY: Connection._priority,
    frames.RST_STREAM: Connection._rst_stream,
    frames.SETTINGS: Connection._settings,
    frames.PUSH_PROMISE: Connection._push_promise,
    frames.PING: Connection._ping,
    frames.GOAWAY: Connection._goaway,
    frames.WINDOW_UPDATE: Connection._window_update,
    frames.CONTINUATION: Connection._continuation,
}
