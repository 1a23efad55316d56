"""Listen on an address and serve a table of routes until the context ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from runtime.endpoints import ALL_ADDRESSES, TcpEndpoint
from runtime.errors import ConfigurationError
from runtime.http.connection import Connection
from runtime.http.messages import Handler

BACKLOG = 512
STOP_SECONDS = 2.0
# Of each connection, in the kernel, which charges it to the container. Heads are small; a response may be larger.
RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES = 32 * 1024, 128 * 1024


@asynccontextmanager
async def serve(address: TcpEndpoint, routes: Mapping[str, Handler]) -> AsyncIterator[int]:
    """Serve ``routes`` (path → handler) for as long as the context lasts; yields the bound port.

    Raises ConfigurationError if the address cannot be bound.
    """
    connections: dict[Connection, None] = {}
    loop = asyncio.get_running_loop()

    def connect() -> Connection:
        return Connection(routes, connections)

    try:
        if address.host not in ALL_ADDRESSES:
            server = await loop.create_server(connect, address.host, address.port, backlog=BACKLOG)
        else:
            server = await loop.create_server(connect, sock=_bind_all_addresses(address.port), backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {address.host}:{address.port}: {error.strerror or error}") from None
    for listening in server.sockets:  # inherited by the accepted connections
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await _drain(connections)


def _bind_all_addresses(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6, so that port 0 gives the same port for both."""
    dual_stack = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual_stack else socket.AF_INET
    return socket.create_server(("", port), family=family, dualstack_ipv6=dual_stack)


async def _drain(connections: dict[Connection, None]) -> None:
    """Let running handlers finish, for at most STOP_SECONDS; close everything else."""
    responses = [task for each in list(connections) if (task := each.close_when_idle()) is not None]
    if responses:
        await asyncio.wait(responses, timeout=STOP_SECONDS)
    for each in list(connections):
        each.abort()
