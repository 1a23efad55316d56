"""One HTTP/2 connection with its streams, of a server or a client, within bounds.

Bounded are the size of a frame, of a header block and of a message, the streams that are open, and the frames that move
no message (``runtime.http2.stream``). A peer that does not read is not read either, until it does.
"""

from runtime.http2 import frames
from runtime.http2.frame_protocol import FrameProtocol, check_length
from runtime.http2.frames import ConnectionFault, ErrorCode, Frame
from runtime.http2.stream import SMALL_BYTES, Bounds, Stream


class Connection(FrameProtocol):
    """What both sides have in common. A subclass implements the methods whose names begin with ``on_``."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.streams: dict[int, Stream] = {}
        # What the peer takes, of all streams and of each in the beginning; and what it has sent unconfirmed.
        self._may_send, self._stream_window = frames.DEFAULT_WINDOW, frames.DEFAULT_WINDOW
        self._unconfirmed = 0
        # The next block says that our encoder's table is empty, once the peer has made its table smaller than that is
        # by default (RFC 7541, section 4.2).
        self._table_update = b""

    def connection_lost(self, _: Exception | None) -> None:
        """Every stream ends."""
        super().connection_lost(_)
        for stream in list(self.streams.values()):
            self.forget(stream)
            self.on_reset(stream, None)

    def forget(self, stream: Stream) -> None:
        """The stream has ended."""
        self.streams.pop(stream.id, None)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream from this side."""
        self._out += frames.frame(frames.RST_STREAM, 0, stream.id, code.to_bytes(4))
        self.forget(stream)

    def send_headers(self, stream: Stream, block: bytes, *, ends_stream: bool) -> None:
        """Send a header block."""
        self._out += frames.headers(stream.id, self._table_update + block, ends_stream=ends_stream)
        self._table_update = b""

    def send_body(self, stream: Stream, body: bytes, trailers: bytes | None) -> None:
        """Send DATA as far as the peer's windows permit, and the rest when they do; then the stream's end: the header
        block ``trailers``, or a mark on the last frame if None."""
        stream.sending, stream.trailers = memoryview(body), trailers
        self._send_more(stream)

    def on_data(self, stream: Stream, *, ends_stream: bool) -> None:
        """``stream.received`` has grown."""
        raise NotImplementedError

    def on_sent(self, stream: Stream) -> None:
        """All of ``send_body`` has been sent."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int | None) -> None:
        """The peer has ended the stream; None: the connection is lost. It is forgotten already."""
        raise NotImplementedError

    def on_most_streams(self, count: int) -> None:
        """How many streams the peer takes."""

    def on_setting(self, name: int, value: int) -> None:
        """Two settings concern streams, one the header blocks that we send."""
        if name == frames.INITIAL_WINDOW_SIZE:
            self._change_window(value)
        elif name == frames.MAX_CONCURRENT_STREAMS:
            self.on_most_streams(value)
        elif name == frames.HEADER_TABLE_SIZE and value < frames.DEFAULT_TABLE:
            self._table_update = b"\x20"

    def _data(self, received: Frame) -> None:
        length = len(received.payload)
        self._unconfirmed += length
        if self._unconfirmed > self._bounds.window:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        payload = frames.unpadded(received)
        if len(payload) < SMALL_BYTES:
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
        stream.received += payload
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
        check_length(received, 4)
        stream = self.streams.get(received.stream)
        if stream is None:
            self._refuse_unknown(received.stream)
            return
        self.forget(stream)
        self.on_reset(stream, int.from_bytes(received.payload))

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

    def _window_update(self, received: Frame) -> None:
        check_length(received, 4)
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
            self.send_headers(stream, stream.trailers, ends_stream=True)
        self.on_sent(stream)


Connection.HANDLERS = {
    **FrameProtocol.HANDLERS,
    frames.DATA: Connection._data,
    frames.RST_STREAM: Connection._rst_stream,
    frames.WINDOW_UPDATE: Connection._window_update,
}
