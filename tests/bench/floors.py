"""Minimal servers: what no driver can be faster than with the same means.

python -m tests.bench.floors grpc SOCKET      an empty grpc.aio server for the CSI methods: every call is answered with an empty reply
"""

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio

from tests.bench.stopping import until_told


async def _empty(_request: bytes, _: Any) -> bytes:
    return b""


async def serve_grpc(path: str) -> None:
    """The empty gRPC server."""
    server = grpc.aio.server()
    for service, methods in (
        ("csi.v1.Node", ("NodeGetCapabilities", "NodePublishVolume", "NodeUnpublishVolume")),
        ("csi.v1.Identity", ("Probe",)),
    ):
        handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(_empty) for method in methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    await until_told()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run({"grpc": serve_grpc}[sys.argv[1]](sys.argv[2]))
