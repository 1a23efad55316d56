"""A client that has one HTTP/2 connection, as client-go has for all calls and watches of a process.

The protocol is the library's, h2. Requests here are smaller than a frame, so that only what is received needs flow
control: windows are as large as those of Go's client.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

# https://pkg.go.dev/golang.org/x/net/http2: transportDefaultStreamFlow, transportDefaultConnFlow.
STREAM_WINDOW, CONNECTION_WINDOW = 4 << 20, 1 << 30
_FIRST_WINDOW = 65_535
_READ = 1 << 18


class _Stream:
    """What was received for one request: the status, then chunks of the body, then None at its end or after a loss."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.lost = False

    def lose(self) -> None:
        """The connection is gone."""
        self.lost = True
        if not self.status.done():
            self.status.cancel()
        self.chunks.put_nowait(None)


class Http2Client:
    """Calls with a bearer token. A connection that was lost is opened again by the next call; what was under way then
    raises ConnectionError."""

    def __init__(self, url: str, context: ssl.SSLContext, token: str) -> None:
        address = urlsplit(url)
        self._host, self._port = str(address.hostname), address.port
        self._context, self._token = context, token
        self._streams: dict[int, _Stream] = {}
        self._opening = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._protocol: H2Connection
        self._writer: asyncio.StreamWriter

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises ConnectionError or OSError."""
        stream = await self._send(method, path, body, headers or {})
        status = await _status(stream)
        chunks = [chunk async for chunk in _chunks(stream)]
        return status, b"".join(chunks)

    async def lines(self, path: str) -> AsyncGenerator[bytes, None]:
        """The lines of the answer to a GET while they come. Raises as ``request``, also for an error status."""
        stream = await self._send("GET", path, b"", {})
        status = await _status(stream)
        if status != 200:
            raise ConnectionError(f"GET {path} was answered with status {status}")
        rest = b""
        async for chunk in _chunks(stream):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> _Stream:
        async with self._opening:
            if self._reading is None or self._reading.done():
                await self._open()
        number = self._protocol.get_next_available_stream_id()
        fields = [
            (":method", method),
            (":path", path),
            (":scheme", "https"),
            (":authority", f"{self._host}:{self._port}"),
            ("authorization", f"Bearer {self._token}"),
            ("accept", "application/json"),
            *headers.items(),
        ]
        stream = self._streams[number] = _Stream()
        self._protocol.send_headers(number, fields, end_stream=not body)
        if body:
            self._protocol.send_data(number, body, end_stream=True)
        self._flush()
        return stream

    async def _open(self) -> None:
        reader, self._writer = await asyncio.open_connection(self._host, self._port, ssl=self._context)
        self._protocol = H2Connection(H2Configuration(validate_outbound_headers=False))
        self._protocol.initiate_connection()
        self._protocol.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW, SettingCodes.ENABLE_PUSH: 0})
        self._protocol.increment_flow_control_window(CONNECTION_WINDOW - _FIRST_WINDOW)
        self._flush()
        self._reading = asyncio.create_task(self._read(reader, self._writer, self._protocol))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: H2Connection) -> None:
        try:
            while received := await reader.read(_READ):
                for event in protocol.receive_data(received):
                    if isinstance(event, ConnectionTerminated):
                        return
                    self._take(protocol, event)
                self._flush()
        except OSError:
            return  # those that wait get it as their ConnectionError
        finally:
            writer.close()
            streams, self._streams = self._streams, {}
            for stream in streams.values():
                stream.lose()

    def _take(self, protocol: H2Connection, event: object) -> None:
        if not isinstance(event, (ResponseReceived, DataReceived, StreamEnded, StreamReset)):
            return
        stream = self._streams.get(event.stream_id or 0)
        if stream is None:
            return
        if isinstance(event, ResponseReceived):
            stream.status.set_result(int(dict(event.headers)[b":status"]))
        elif isinstance(event, DataReceived):
            stream.chunks.put_nowait(event.data)
            protocol.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        elif isinstance(event, StreamReset):
            self._streams.pop(event.stream_id).lose()
        else:
            self._streams.pop(event.stream_id).chunks.put_nowait(None)

    def _flush(self) -> None:
        if pending := self._protocol.data_to_send():
            self._writer.write(pending)


async def _status(stream: _Stream) -> int:
    """Raises ConnectionError if the connection was lost before it came."""
    await asyncio.wait([stream.status])
    if stream.status.cancelled():
        raise ConnectionError("the connection was lost")
    return stream.status.result()


async def _chunks(stream: _Stream) -> AsyncGenerator[bytes, None]:
    while (chunk := await stream.chunks.get()) is not None:
        yield chunk
    if stream.lost:
        raise ConnectionError("the connection was lost")


def context_for(ca: str) -> ssl.SSLContext:
    """A TLS context that trusts this CA and asks for HTTP/2."""
    context = ssl.create_default_context(cadata=ca)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2"])
    return context
