"""Serve gRPC on a Unix socket or TCP. What ends a call with a status is in ``runtime.rpc.calls``."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import descriptors, errors, sockets
from runtime.endpoints import ALL_ADDRESSES, Endpoint, TcpEndpoint, UnixEndpoint
from runtime.http2.bounds import Bounds
from runtime.rpc.calls import Calls
from runtime.rpc.server_connection import ServerConnection
from runtime.rpc.services import Services

GRACE_SECONDS = 10.0
# How long a client that does not read may delay the end.
FLUSH_SECONDS = 0.5
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Connections that wait in the kernel: kubelet makes one for each call, and a node may start a hundred pods at once.
BACKLOG = 512
# kubelet has a connection for each call that runs; registration and health checks add a few.
MAX_CONNECTIONS = 1024
# The part of the descriptors that they may use.
DESCRIPTORS_SHARE = 2

# Adds services to a server. The type of its parameter is that of generated functions, too.
Register = Callable[[Any], None]


@dataclass(frozen=True, eq=False)
class RunningServer:
    """A server and the socket that it has bound; None for TCP."""

    listener: asyncio.Server
    bound: sockets.BoundSocket | None
    calls: Calls
    connections: dict[ServerConnection, None]

    async def stop(self, seconds: float = GRACE_SECONDS) -> None:
        """Remove the socket if it is still ours, and take no new calls; those that are still running have so many
        seconds to finish. A second call may cut that short."""
        if self.bound is not None:
            self.bound.unlink()
        await sockets.close_listener(self.listener)
        for connection in list(self.connections):
            connection.retire()
        try:
            async with asyncio.timeout(seconds):
                await self.calls.idle.wait()
        except TimeoutError:
            pass
        closing = list(self.connections)
        for connection in closing:
            connection.close()
        if closing:
            await asyncio.wait([connection.gone for connection in closing], timeout=FLUSH_SECONDS)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)  # the loop tells them of it


@asynccontextmanager
async def serve(
    endpoint: Endpoint, register: Register, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> AsyncIterator[sockets.BoundSocket | None]:
    """Run a server for as long as the context lasts. At the end the socket is removed first; calls that are still
    running then have GRACE_SECONDS to finish.

    Yields the bound socket (None for TCP). Raises ConfigurationError if the address cannot be bound, or if the path
    holds anything but a socket.
    """
    running = await start(endpoint, register, max_message_bytes)
    try:
        yield running.bound
    finally:
        await running.stop()


async def start(endpoint: Endpoint, register: Register, max_message_bytes: int = MAX_MESSAGE_BYTES) -> RunningServer:
    """Start a server, which the caller must stop. Raises as ``serve``."""
    services, calls, bounds = Services(), Calls(), Bounds(max_message_bytes)
    register(services)
    connections: dict[ServerConnection, None] = {}
    share = descriptors.share_of_limit(DESCRIPTORS_SHARE)
    most = MAX_CONNECTIONS if share is None else min(MAX_CONNECTIONS, share)

    def connect() -> ServerConnection:
        return ServerConnection(services, calls, bounds, connections, most)

    if isinstance(endpoint, UnixEndpoint):
        listener, bound = await _listen_on_path(endpoint, connect)
        return RunningServer(listener, bound, calls, connections)
    return RunningServer(await _listen_on_port(endpoint, connect), None, calls, connections)


async def _listen_on_path(
    endpoint: UnixEndpoint, connect: Callable[[], ServerConnection]
) -> tuple[asyncio.Server, sockets.BoundSocket]:
    path = Path(endpoint.path)
    hidden = sockets.hidden_path(path)
    loop = asyncio.get_running_loop()
    listening = socket.socket(socket.AF_UNIX)
    try:
        with sockets.private_umask():
            listening.bind(str(hidden))
        listener = await loop.create_unix_server(connect, sock=listening, backlog=BACKLOG)
    except OSError as error:
        listening.close()
        hidden.unlink(missing_ok=True)
        raise _cannot_listen(endpoint.target, error) from None
    try:
        return listener, sockets.move_into_place(hidden, path)
    except BaseException:
        listener.close()
        hidden.unlink(missing_ok=True)
        raise


async def _listen_on_port(endpoint: TcpEndpoint, connect: Callable[[], ServerConnection]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        if endpoint.host in ALL_ADDRESSES:
            listening = sockets.bind_all_addresses(endpoint.port)
            return await loop.create_server(connect, sock=listening, backlog=BACKLOG)
        return await loop.create_server(connect, endpoint.host, endpoint.port, backlog=BACKLOG)
    except OSError as error:
        raise _cannot_listen(endpoint.target, error) from None
    except UnicodeError:  # a label that is empty or too long
        raise errors.ConfigurationError(f"cannot listen on {endpoint.target}: this is not a host name") from None


def _cannot_listen(target: str, error: OSError) -> errors.ConfigurationError:
    # Without the hidden path, part of which is random, so that a repeated error reads the same.
    return errors.ConfigurationError(
        f"cannot listen on {target}: {error.strerror or error}; is the address in use, or its directory read-only?"
    )
