"""A small HTTP server: a few fixed paths, any method, 404 elsewhere, bounded in what a client may send."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from runtime.endpoints import TcpEndpoint
from runtime.errors import ConfigurationError

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
PLAIN = "text/plain; charset=utf-8"


def plain(body: str | bytes, status: int = 200, content_type: str = PLAIN) -> web.Response:
    """A whole answer in one piece."""
    return web.Response(
        body=body.encode() if isinstance(body, str) else body, status=status, headers={"Content-Type": content_type}
    )


@asynccontextmanager
async def served(address: TcpEndpoint, routes: Mapping[str, Handler]) -> AsyncIterator[int]:
    """Serve ``routes`` (path → handler) for as long as the context lasts; yields the port that was bound."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        handler = routes.get(request.path)
        return await handler(request) if handler is not None else plain("404 page not found\n", 404)

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host or None, address.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address.host}:{address.port}: {error.strerror or error}"
            ) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
