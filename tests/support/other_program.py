"""A gRPC server that has taken another program's socket: it answers every method with the same bytes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

NO_MESSAGE = b"\xff\xff\xff"


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    def service(self, handler_call_details: Any) -> Any:
        """Handle any method alike."""

        async def answer(request: bytes, context: Any) -> bytes:
            return self._reply

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def other_program(path: Path, reply: bytes = NO_MESSAGE) -> AsyncIterator[None]:
    """Serve the socket at ``path`` for the length of the block."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_AnyMethod(reply),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
