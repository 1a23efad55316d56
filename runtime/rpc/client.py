"""Channels of grpc.aio to the gRPC servers on this node."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

# Providers reject any other authority; by default gRPC would send the socket's path. Without its own subchannel pool a
# channel shares the connection of the process's other channels to that path, and has to sit out the back-off after
# their failed attempts.
_CHANNEL_OPTIONS = (("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1))


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
