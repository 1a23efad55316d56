"""Channels to the gRPC servers on this node."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from runtime import sockets

# The details that gRPC itself gives when a call's own deadline has passed. A server may answer DEADLINE_EXCEEDED too,
# with a text of its own.
DEADLINE_DETAILS = "Deadline Exceeded"
# So many calls in a row without an answer, and the connection is given up: each of them takes some 20 KiB of memory for
# as long as the connection lasts, if the server is frozen and does not even read that it was cancelled.
MAX_UNANSWERED = 5
# Providers reject any other authority; by default gRPC would send the socket's path. Without its own subchannel pool a
# channel shares the connection of the process's other channels to that path, and has to sit out the back-off after
# their failed attempts.
_CHANNEL_OPTIONS = (("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1))


# What gRPC returns for bytes that it cannot parse: no error, but None.
UNREADABLE = "its reply is not a message of this method: another program serves the socket"


def dial(path: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
    """A channel to the Unix socket at ``path``, independent of all other channels."""
    return grpc.aio.insecure_channel(f"unix:{path}", options=[*_CHANNEL_OPTIONS, *options])


class Connection:
    """Waits for a channel to be connected.

    However many callers time out, one task waits: grpc.aio leaks some memory with each wait that is cancelled.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._waiting: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the channel is connected now; does not connect it."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def wait_ready(self, seconds: float) -> bool:
        """Connect if necessary and wait, for at most ``seconds``; returns whether the channel is connected."""
        if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return True
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._channel.channel_ready())
        done, _ = await asyncio.wait([self._waiting], timeout=seconds)
        return bool(done)

    async def close(self) -> None:
        """Stop waiting and close the channel."""
        if self._waiting is not None:
            self._waiting.cancel()
        await self._channel.close()


class SocketChannel:
    """A channel to whoever serves the socket at ``path`` now.

    A channel of gRPC keeps its connection for as long as the process at the other end lives, even if the path leads to
    another one meanwhile, or to none. Call ``renew`` before a call, ``count`` after it.
    """

    def __init__(self, path: str, options: Sequence[tuple[str, Any]] = ()) -> None:
        self.path = path
        self._options = options
        self._unanswered = 0
        self._dial()

    def _dial(self) -> None:
        self._dialled = sockets.identity(self.path)
        self.channel = dial(self.path, self._options)
        self._connection = Connection(self.channel)

    async def renew(self) -> None:
        """Use a new ``channel`` if the path no longer leads to the socket that was dialled, or if the server did not
        answer MAX_UNANSWERED calls; the calls of the old one end as cancelled."""
        if self._unanswered < MAX_UNANSWERED and sockets.identity(self.path) == self._dialled:
            return
        old, self._unanswered = self._connection, 0
        self._dial()
        await old.close()

    def count(self, error: grpc.aio.AioRpcError | None) -> None:
        """Count a call by its result: ``error`` is None if it was answered."""
        unanswered = error is not None and error.details() == DEADLINE_DETAILS
        self._unanswered = self._unanswered + 1 if unanswered else 0

    @property
    def ready(self) -> bool:
        """Whether the channel is connected now."""
        return self._connection.ready

    @property
    def stands(self) -> bool:
        """Whether the channel is connected, and the path leads to the socket that was dialled. Asks nobody."""
        return self.ready and self._dialled is not None and sockets.identity(self.path) == self._dialled

    async def wait_ready(self, seconds: float) -> bool:
        """As ``Connection.wait_ready``."""
        ready = await self._connection.wait_ready(seconds)
        if ready and self._dialled is None:  # the socket has appeared meanwhile
            self._dialled = sockets.identity(self.path)
        return ready

    async def close(self) -> None:
        """Close the channel."""
        await self._connection.close()
