"""An HTTP proxy on the loopback interface that forwards every CONNECT to one address and remembers what it was asked.

with ConnectProxy(("127.0.0.1", port)) as proxy:
    ...                                     # HTTPS_PROXY=proxy.url
    assert proxy.targets == ["10.96.0.1:443"]
"""

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

Address = tuple[str, int]


class ConnectProxy:
    """A context manager; the server runs in a thread of its own.

    With a ``required`` value of Proxy-Authorization other requests are refused with 407. ``targets`` are the hosts and
    ports of the CONNECTs that passed, ``heads`` all request heads.
    """

    def __init__(self, upstream: Address, required: str = "") -> None:
        self.targets: list[str] = []
        self.heads: list[str] = []
        self.required = required
        self.port = 0
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="connect-proxy", daemon=True)

    @property
    def url(self) -> str:
        """The proxy's URL, without credentials."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                method, target, _ = head.split(" ", 2)
                if self.required and f"proxy-authorization: {self.required}".lower() not in head.lower():
                    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                elif method != "CONNECT":
                    writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                else:
                    self.targets.append(target)
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await _splice(reader, writer, self._upstream)
            finally:
                writer.close()


async def _splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Address) -> None:
    """Pass bytes both ways until one side ends."""
    far_reader, far_writer = await asyncio.open_connection(*upstream)
    try:
        ways = [asyncio.create_task(_copy(reader, far_writer)), asyncio.create_task(_copy(far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
    finally:
        far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(64 * 1024):
        writer.write(chunk)
        await writer.drain()
