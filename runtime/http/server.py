"""Listen on an address and serve a table of routes until the context ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from runtime import descriptors, logs, sockets
from runtime.endpoints import ALL_ADDRESSES, TcpEndpoint
from runtime.errors import ConfigurationError
from runtime.http import connection
from runtime.http.connection import Connection
from runtime.http.messages import Handler

# Connections that wait in the kernel, and how many of them are accepted at a time. A new connection that sends its
# request at once is read after the next few batches, long before a flood of others makes it the oldest one; and a batch
# takes few descriptors before the limit of connections applies.
BACKLOG, ACCEPT_BATCH = 512, 16
# The part of the descriptors that the connections of one server may use.
DESCRIPTORS_SHARE = 4
ACCEPT_LOG_SECONDS = 600.0
STOP_SECONDS = 2.0
ACCEPT_FAILURE = "socket.accept() out of system resource"  # asyncio's text
# Of each connection, in the kernel, which charges it to the container. Heads are small; a response may be larger.
RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES = 32 * 1024, 128 * 1024

log = logs.get(__name__)


@asynccontextmanager
async def serve(address: TcpEndpoint, routes: Mapping[str, Handler]) -> AsyncIterator[int]:
    """Serve ``routes`` (path → handler) for as long as the context lasts; yields the bound port.

    Raises ConfigurationError if the address cannot be bound.
    """
    connections: dict[Connection, None] = {}
    loop = asyncio.get_running_loop()

    share = descriptors.share_of_limit(DESCRIPTORS_SHARE)
    most = connection.MAX_CONNECTIONS if share is None else min(connection.MAX_CONNECTIONS, share)

    def connect() -> Connection:
        return Connection(routes, connections, most)

    try:
        if address.host not in ALL_ADDRESSES:
            server = await loop.create_server(connect, address.host, address.port, backlog=ACCEPT_BATCH)
        else:
            listening = sockets.bind_all_addresses(address.port)
            server = await loop.create_server(connect, sock=listening, backlog=ACCEPT_BATCH)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {address.host}:{address.port}: {error.strerror or error}") from None
    except UnicodeError:  # a label that is empty or too long
        raise ConfigurationError(f"cannot listen on {address.host}:{address.port}: this is not a host name") from None
    for each in server.sockets:  # inherited by the accepted connections
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        with each.dup() as same_socket:
            same_socket.listen(BACKLOG)  # the loop uses one number for both
    try:
        with _accept_failures_logged_once(loop):
            yield int(server.sockets[0].getsockname()[1])
    finally:
        await sockets.close_listener(server)
        await _drain(connections)


@contextmanager
def _accept_failures_logged_once(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """The loop tries again each second to accept connections for which there was no descriptor or memory, and reports
    each failure."""
    others = loop.get_exception_handler()
    quiet_until = 0.0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal quiet_until
        if context.get("message") == ACCEPT_FAILURE:
            if loop.time() >= quiet_until:
                quiet_until = loop.time() + ACCEPT_LOG_SECONDS
                log.error("Cannot accept connections; trying again each second", exc=context.get("exception"))
        elif others is not None:
            others(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(others)


async def _drain(connections: dict[Connection, None]) -> None:
    """Let running handlers finish, for at most STOP_SECONDS; close everything else."""
    responses = [task for each in list(connections) if (task := each.close_when_idle()) is not None]
    if responses:
        await asyncio.wait(responses, timeout=STOP_SECONDS)
    for each in list(connections):
        each.abort()
