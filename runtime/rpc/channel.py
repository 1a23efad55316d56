"""Calls to whoever serves a Unix socket on this node, over a connection that is kept."""

import asyncio
from functools import partial
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from runtime import sockets
from runtime.http2.bounds import Bounds
from runtime.rpc import client_connection, wire
from runtime.rpc.client_connection import ClientConnection
from runtime.rpc.failures import CallFailed, Refused, Unsent
from runtime.status_codes import StatusCode

# So many calls in a row without an answer, and the connection is given up.
MAX_UNANSWERED: Final = 5
UNREADABLE: Final = "its reply is not a message of this method: another program serves the socket"
# Between attempts to connect, the first time and at most. An attempt is a few system calls.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.25
# How long a call waits for another connection, if a server has ended its own before it began the call. One that is
# still there takes it at once.
AGAIN_SECONDS: Final = 1.0
MOST_CONNECTIONS: Final = 8
_BOUNDS: Final = Bounds(message_bytes=4 * 1024 * 1024)

Reply = TypeVar("Reply", bound=Message)


class Unreadable(CallFailed):
    """The reply is not a message of the method's type."""

    def __init__(self) -> None:
        super().__init__(StatusCode.INTERNAL, UNREADABLE)


async def call_once(path: str, method: str, request: Message, reply: type[Reply], seconds: float) -> Reply:
    """Call a method over a connection of its own. Raises CallFailed."""
    try:
        connection = await client_connection.connect(path, _BOUNDS)
    except OSError as error:
        raise CallFailed(StatusCode.UNAVAILABLE, f"{path} cannot be connected to: {error.strerror or error}") from None
    try:
        return _parse(reply, await connection.call(method, request.SerializeToString(), seconds))
    finally:
        connection.close()


def _parse(reply: type[Reply], data: bytes) -> Reply:
    try:
        return reply.FromString(data)
    except DecodeError:
        raise Unreadable from None


class SocketChannel:
    """Calls to whoever serves the socket at ``path`` now: a process that has left the path, or that does not answer,
    is not asked again, although the connection to it may stand."""

    def __init__(self, path: str, bounds: Bounds = _BOUNDS) -> None:
        self.path = path
        self._bounds = bounds
        self._dialled: sockets.Identity | None = None
        self._connection: ClientConnection | None = None
        # With those whose server takes no more calls, and which end with their last one.
        self._connections: set[ClientConnection] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._unanswered = self._waiting = 0

    @property
    def ready(self) -> bool:
        """Whether the server has answered the connection, and calls may be made."""
        return self._connection is not None and self._connection.ready

    @property
    def stands(self) -> bool:
        """Whether the connection is ready, and the path leads to the socket that was dialled. Asks nobody."""
        return self.ready and self._dialled is not None and sockets.identity(self.path) == self._dialled

    def renew(self) -> None:
        """Forget a connection to a socket that the path no longer leads to, or whose server did not answer
        MAX_UNANSWERED calls; calls that are running on it end."""
        left = self._connection is not None and sockets.identity(self.path) != self._dialled
        if left or self._unanswered >= MAX_UNANSWERED:
            self.close()
            self._unanswered = 0

    async def wait_ready(self, seconds: float) -> bool:
        """Connect if necessary and wait, for at most ``seconds``; returns whether the channel is ready."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        self._waiting += 1
        try:
            while not self.ready and (left := deadline - loop.time()) > 0:
                if self._connection is not None and sockets.identity(self.path) != self._dialled:
                    self.close()  # the path leads to another server now, or to none
                connecting = self._connecting
                if connecting is None or connecting.done():
                    connecting = self._connecting = asyncio.create_task(self._connect())
                await asyncio.wait([connecting], timeout=min(left, LONGEST_PAUSE))
                if connecting.done() and not connecting.cancelled():
                    connecting.result()
                    break
        finally:
            self._waiting -= 1
        return self.ready

    async def call(
        self, method: str, request: Message, reply: type[Reply], seconds: float, most_bytes: int | None = None
    ) -> Reply:
        """Call a method, for example ``/csi.v1.Identity/Probe``, of a channel that is ready. A reply of more than
        ``most_bytes``, by default those of the channel's bounds, is not received. Raises CallFailed.

        A call that the server has not begun when it ends the connection is made over another one: once if it was sent,
        and up to MOST_CONNECTIONS times while it waits for its turn."""
        connection = self._connection
        if connection is None:
            raise CallFailed(StatusCode.UNAVAILABLE, f"{self.path} is not connected")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        connections, sent = 1, False
        while True:
            try:
                return _parse(reply, await self._call(connection, method, request, deadline - loop.time(), most_bytes))
            except Refused as refused:
                was_sent = not isinstance(refused, Unsent)
                if connections == MOST_CONNECTIONS or (sent and was_sent):
                    raise
                successor = await self._successor(connection, min(deadline - loop.time(), AGAIN_SECONDS))
                if successor is None:
                    raise
            connection, connections, sent = successor, connections + 1, sent or was_sent

    async def _call(
        self, connection: ClientConnection, method: str, request: Message, seconds: float, most_bytes: int | None
    ) -> bytes:
        try:
            data = await connection.call(method, request.SerializeToString(), seconds, most_bytes)
        except CallFailed as failure:
            self._unanswered = self._unanswered + 1 if failure.is_unanswered else 0
            raise
        self._unanswered = 0
        return data

    async def _successor(self, connection: ClientConnection, seconds: float) -> ClientConnection | None:
        """Another connection instead of one that its server has ended; None if it was not the server, or if there is no
        other one within ``seconds``."""
        if not connection.closing or self._connection is None or not await self.wait_ready(seconds):
            return None
        return self._connection

    async def call_when_ready(self, method: str, request: Message, reply: type[Reply], seconds: float) -> Reply:
        """The same, of any channel: it is connected first, within the same time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        self.renew()
        if not await self.wait_ready(seconds):
            self._unanswered += 1
            raise CallFailed(StatusCode.DEADLINE_EXCEEDED, wire.DEADLINE_DETAILS)
        return await self.call(method, request, reply, max(0.0, deadline - loop.time()))

    async def _connect(self) -> None:
        """Until a server has answered, or nobody waits for one to appear. A server that is there and does not answer is
        waited for as long as the path leads to it (``wait_ready``): nothing is gained by another connection to it."""
        pause = FIRST_PAUSE
        while True:
            dialled = sockets.identity(self.path)
            try:
                connection = await client_connection.connect(self.path, self._bounds)
            except OSError:
                connection = None
            if connection is not None:
                self._connection, self._dialled = connection, dialled
                self._connections.add(connection)
                connection.gone.add_done_callback(partial(self._forget, connection))
                await connection.greeted.wait()
                if connection.ready:
                    return
            await asyncio.sleep(pause)
            if not self._waiting:
                return
            pause = min(pause * 2, LONGEST_PAUSE)

    def _forget(self, connection: ClientConnection, _: object) -> None:
        self._connections.discard(connection)

    def close(self) -> None:
        """Close the connection; the next call connects again."""
        if self._connecting is not None:
            self._connecting.cancel()
        for connection in self._connections:
            connection.close()
        self._connection = self._connecting = None
