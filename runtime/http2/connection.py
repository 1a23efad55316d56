"""One HTTP/2 connection on an asyncio transport: the rules are h2's, the bounds are those of ``runtime.http2.bounds``.

A peer that does not read is not read either, until it does.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError, StreamClosedError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from runtime.http2.bounds import HEADERS_TOO_LARGE, Bounds, ConnectionFault, FrameBudget
from runtime.http2.frames import DATA, GOAWAY, HEAD_BYTES, MAX_FRAME_BYTES, Frame, FrameMeter
from runtime.http2.protocol import Protocol

# How long the last bytes of a connection may take to be read.
GOODBYE_SECONDS: Final = 2.0

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(eq=False, slots=True)
class Stream:
    """One request and its response. ``received`` is the peer's body, of which ``ended`` says whether it is all there,
    ``sending`` the rest of ours, and ``trailers`` come after that, None if there are none."""

    id: int
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    sending: memoryview = field(default_factory=lambda: memoryview(b""))
    trailers: Headers | None = None


class Connection(asyncio.Protocol):
    """What both sides have in common. A subclass implements the methods whose names begin with ``on_``.

    ``closing``: no more streams are taken; ``gone`` is done when the connection does not exist any more.
    """

    def __init__(self, bounds: Bounds, settings: Mapping[SettingCodes, int], *, is_client: bool) -> None:
        self.closing = False
        self.streams: dict[int, Stream] = {}
        self._bounds = bounds
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self.gone = self._loop.create_future()
        self._aborting: asyncio.TimerHandle | None = None
        self._budget = FrameBudget(self._loop.time())
        self._meter = FrameMeter(bounds.header_bytes, self._budget)
        self._http = Protocol(settings, bounds.header_bytes, is_client=is_client)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Nothing can be sent or received any more: every stream ends."""
        self.closing = True
        self.gone.set_result(None)
        if self._aborting is not None:  # asyncio's transports do not take abort() any more
            self._aborting.cancel()
        for stream in list(self.streams.values()):
            self.forget(stream)
            self.on_reset(stream, None)

    def data_received(self, data: bytes) -> None:
        """Handle what the peer has sent."""
        if self._transport.is_closing():
            return
        stream = 0
        try:
            for frame in self._meter.read(data, self._loop.time()):
                stream = frame.stream
                self._handle(frame)
                if self._transport.is_closing():
                    break
        except ConnectionFault as fault:
            self.on_fault(fault)
            self.close(fault.code, str(fault))
        except ProtocolError as error:  # of which h2 has told the peer
            self.closing = True
            is_too_large = isinstance(error, DenialOfServiceError)
            text = HEADERS_TOO_LARGE if is_too_large else "the peer has broken HTTP/2's rules"
            code = ErrorCodes(error.error_code)
            self.on_fault(ConnectionFault(code, text, stream))
            self.close(code, text)
        self.write()

    def pause_writing(self) -> None:
        """The peer does not read: what it sends must wait."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._transport.resume_reading()

    def close(self, code: ErrorCodes = ErrorCodes.NO_ERROR, text: str = "") -> None:
        """Say goodbye and close at once; streams that are open end."""
        if not self.closing:
            self.closing = True
            self._http.close_connection(code, text.encode())
        self.write()
        self._transport.close()
        if self._aborting is None and not self.gone.done():
            self._aborting = self._loop.call_later(GOODBYE_SECONDS, self._transport.abort)

    def say_goodbye(self) -> None:
        """Send GOAWAY: no new stream is taken, those that are open go on, which h2's own GOAWAY would not let them."""
        self.closing = True
        self.write()
        if not self._transport.is_closing():
            self._transport.write(GoAwayFrame(0, last_stream_id=self._http.highest_inbound_stream_id).serialize())

    def write(self) -> None:
        """Send what has been gathered, in one system call."""
        data = self._http.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def forget(self, stream: Stream) -> None:
        """The stream has ended."""
        self.streams.pop(stream.id, None)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream from this side; nothing is sent if both sides have ended it already."""
        self.forget(stream)
        if not self._transport.is_closing():
            with contextlib.suppress(StreamClosedError):
                self._http.reset_stream(stream.id, code)

    def send_headers(self, stream: Stream, headers: Headers, *, ends_stream: bool) -> None:
        """Send a header block."""
        if not self._transport.is_closing():
            self._http.send_headers(stream.id, headers, end_stream=ends_stream)

    def send_body(self, stream: Stream, body: bytes, trailers: Headers | None) -> None:
        """Send DATA as far as the peer's windows permit, and the rest when they do; then the stream's end: the headers
        ``trailers``, or a mark on the last frame if None."""
        stream.sending, stream.trailers = memoryview(body), trailers
        self._send_more(stream)

    def on_headers(self, stream_id: int, headers: dict[bytes, bytes], *, ends_stream: bool) -> None:
        """A header block has arrived; of several with one name the last is in ``headers``."""
        raise NotImplementedError

    def on_data(self, stream: Stream) -> None:
        """``stream.received`` has grown, or ``stream.ended`` is true now."""
        raise NotImplementedError

    def on_sent(self, stream: Stream) -> None:
        """All of ``send_body`` has been sent."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int | None) -> None:
        """The peer has ended the stream; None: the connection is lost. It is forgotten already."""
        raise NotImplementedError

    def on_fault(self, fault: ConnectionFault) -> None:
        """The connection is about to be closed, because the peer has broken a rule or a bound."""

    def on_settings(self) -> None:
        """The peer's settings have arrived."""

    def on_goodbye(self, last_stream: int, code: int) -> None:
        """The peer takes no streams after ``last_stream``. Its text is not shown: it may be anything."""

    def _handle(self, frame: Frame) -> None:
        if frame.kind == GOAWAY:
            self._goaway(frame.data[HEAD_BYTES:])
            return
        found = self._http.receive_data(frame.data)
        if frame.kind == DATA and not found:  # of a stream that has ended, which h2 answers with RST_STREAM each time
            self._budget.take(self._loop.time())
        for event in found:
            handle = _HANDLERS.get(type(event))
            if handle is not None:
                handle(self, event)

    def _goaway(self, payload: bytes) -> None:
        if len(payload) < 8:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "GOAWAY of less than 8 bytes")
        self.on_goodbye(int.from_bytes(payload[:4]) & 2**31 - 1, int.from_bytes(payload[4:8]))

    def _headers(self, event: events.RequestReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.ended = event.stream_ended is not None
        self.on_headers(event.stream_id, dict(event.headers), ends_stream=event.stream_ended is not None)

    def _informational(self, event: events.InformationalResponseReceived) -> None:
        self.on_headers(event.stream_id, dict(event.headers), ends_stream=False)

    def _data(self, event: events.DataReceived) -> None:
        self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.received += event.data
            stream.ended = event.stream_ended is not None
            self.on_data(stream)

    def _stream_reset(self, event: events.StreamReset) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            self.forget(stream)
            self.on_reset(stream, event.error_code)

    def _settings_changed(self, _: events.RemoteSettingsChanged) -> None:
        self.on_settings()
        self._send_all()

    def _window_updated(self, event: events.WindowUpdated) -> None:
        if not event.stream_id:
            self._send_all()
        elif (stream := self.streams.get(event.stream_id)) is not None:
            self._send_more(stream)

    def _send_all(self) -> None:
        for stream in list(self.streams.values()):
            self._send_more(stream)

    def _send_more(self, stream: Stream) -> None:
        if not stream.sending or self._transport.is_closing():
            return
        while stream.sending:
            size = min(self._http.local_flow_control_window(stream.id), MAX_FRAME_BYTES)
            if size <= 0:
                return
            piece, stream.sending = stream.sending[:size], stream.sending[size:]
            is_end = not stream.sending and stream.trailers is None
            self._http.send_data(stream.id, piece, end_stream=is_end)
            self._budget.data_sent(len(piece))
        if stream.trailers is not None:
            self.send_headers(stream, stream.trailers, ends_stream=True)
        self.on_sent(stream)


_HANDLERS: Final[dict[type[events.Event], Callable[[Connection, Any], None]]] = {
    events.RequestReceived: Connection._headers,
    events.ResponseReceived: Connection._headers,
    events.InformationalResponseReceived: Connection._informational,
    events.TrailersReceived: Connection._headers,
    events.DataReceived: Connection._data,
    events.StreamReset: Connection._stream_reset,
    events.RemoteSettingsChanged: Connection._settings_changed,
    events.WindowUpdated: Connection._window_updated,
}
