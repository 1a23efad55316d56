"""Serving a provider on its Unix socket."""

import asyncio
import concurrent.futures
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from provider_kit.provider import Provider
from provider_kit.service import MAX_CONCURRENT_CALLS, Observer, ProviderService
from runtime import redact, sockets
from runtime.endpoints import UnixEndpoint, parse_endpoint
from runtime.errors import ConfigurationError

GRACE_SECONDS = 10.0
# Version is answered, and calls of Mount are refused, while as many as may run are running.
SPARE_THREADS = 8
_SOCKET_NAME = re.compile(r"[a-zA-Z0-9_-]{1,30}\.sock")


class Server:
    """A running server; ``path`` is its socket."""

    def __init__(self, grpc_server: grpc.Server, bound: sockets.BoundSocket) -> None:
        self.path = bound.path
        self._grpc_server = grpc_server
        self._bound = bound

    @property
    def reachable(self) -> bool:
        """Whether the path still leads to this server's socket."""
        return self._bound.is_ours()

    def crash(self) -> None:
        """Stop as a killed process does: running calls break off at once, and the socket's file stays behind."""
        self._grpc_server.stop(None)

    async def stop(self, grace: float) -> None:
        """Accept no new calls; running ones have ``grace`` seconds to finish."""
        self._bound.unlink()
        await asyncio.to_thread(self._grpc_server.stop(grace).wait)


def socket_path(endpoint: str) -> Path:
    """The endpoint's path; ConfigurationError unless it is a Unix socket where the driver looks for a provider:
    ``<name>.sock``, with a name of 1 to 30 letters, digits, ``_`` and ``-``.
    """
    parsed = parse_endpoint(endpoint)
    if not isinstance(parsed, UnixEndpoint):
        raise ConfigurationError(
            f"invalid endpoint: {endpoint} (a provider is served on a Unix socket: unix:///path/to/<name>.sock)"
        )
    path = Path(parsed.path)
    if not _SOCKET_NAME.fullmatch(path.name):
        raise ConfigurationError(
            f"invalid endpoint: {endpoint} (the driver looks for <name>.sock; "
            "a name has 1 to 30 letters, digits, _ or -)"
        )
    return path


@asynccontextmanager
async def serve(provider: Provider, endpoint: str, observer: Observer | None = None) -> AsyncIterator[Server]:
    """Serve ``provider`` inside the context, its calls seen by ``observer``. At the end the socket is removed first,
    then running calls have ``GRACE_SECONDS`` to finish, and then the provider is closed.
    """
    path = socket_path(endpoint)
    sockets.refuse_non_socket(path)
    threads = concurrent.futures.ThreadPoolExecutor(MAX_CONCURRENT_CALLS + SPARE_THREADS, "mount")
    grpc_server = grpc.server(threads)
    grpc_server.add_generic_rpc_handlers((ProviderService(provider, asyncio.get_running_loop(), observer).handlers(),))
    hidden = sockets.hidden_path(path)
    with sockets.private_umask():
        try:
            grpc_server.add_insecure_port(f"unix:{hidden}")
        except RuntimeError as error:  # what gRPC raises if it cannot bind
            raise ConfigurationError(f"cannot listen on {path}: {redact.text(error)}") from None
    grpc_server.start()
    try:
        server = Server(grpc_server, sockets.move_into_place(hidden, path))
    except ConfigurationError:
        grpc_server.stop(None)
        threads.shutdown(wait=False)
        raise
    try:
        yield server
    finally:
        await server.stop(GRACE_SECONDS)
        # A thread that has only begun to handle a call needs the loop to find out that the call is over.
        await asyncio.to_thread(threads.shutdown)
        await provider.close()
