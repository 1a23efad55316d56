"""Servers that do nothing: the lower bounds of what the same libraries can achieve.

python -m bench.empty_servers grpc SOCKET          grpc.aio, with an empty reply to the CSI methods
python -m bench.empty_servers healthz SOCKET PORT  aiohttp, and a Probe over one grpc.aio channel for each request
python -m bench.empty_servers http SOCKET PORT     aiohttp alone
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
from aiohttp import web

from bench.signals import wait_for_sigterm

_METHODS = {
    "csi.v1.Node": ("NodeGetCapabilities", "NodePublishVolume", "NodeUnpublishVolume"),
    "csi.v1.Identity": ("Probe", "GetPluginInfo"),
}


async def _empty(_request: bytes, _: Any) -> bytes:
    return b""


async def serve_grpc(path: str) -> None:
    """gRPC with empty replies."""
    server = grpc.aio.server()
    for service, methods in _METHODS.items():
        handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(_empty) for method in methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    await wait_for_sigterm()
    await server.stop(0)


async def serve_healthz(path: str, port: str) -> None:
    """HTTP with a Probe for each request."""
    async with grpc.aio.insecure_channel(f"unix:{path}", options=[("grpc.default_authority", "localhost")]) as channel:
        probe: Callable[..., Awaitable[Any]] = channel.unary_unary("/csi.v1.Identity/Probe")
        await _serve_http(port, lambda: probe(b"", timeout=3))


async def serve_http(_path: str, port: str) -> None:
    """HTTP alone."""
    await _serve_http(port, lambda: _empty(b"", None))


async def _serve_http(port: str, work: Callable[[], Awaitable[Any]]) -> None:
    async def respond(_: web.BaseRequest) -> web.Response:
        await work()
        return web.Response(body=b"ok")

    runner = web.ServerRunner(web.Server(respond, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await wait_for_sigterm()
    await runner.cleanup()


_KINDS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "grpc": serve_grpc,
    "healthz": serve_healthz,
    "http": serve_http,
}

if __name__ == "__main__":
    asyncio.run(_KINDS[sys.argv[1]](*sys.argv[2:]))
