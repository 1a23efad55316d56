"""The benchmark's provider: fixed replies, made once, so that it takes as little of the two cores as a Python one can.

    python -m bench.provider SOCKET

A class asks for a payload by its parameter ``payload``: ``small`` is one file of 64 B, ``large`` ten of 4 KiB.
Nothing else is read.
"""

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio

from bench.stopping import until_told
from protos import provider_pb2

PAYLOADS = {"small": (1, 64), "large": (10, 4096)}


def reply(files: int, size: int) -> bytes:
    """A MountResponse with that many files."""
    response = provider_pb2.MountResponse()
    for number in range(files):
        response.object_version.add(id=f"object-{number}", version="1")
        response.files.add(path=f"file-{number}", mode=0o400, contents=bytes([65 + number]) * size)
    return response.SerializeToString()


_REPLIES = {f'"payload":"{name}"'.encode(): reply(*shape) for name, shape in PAYLOADS.items()}
_SMALL = reply(*PAYLOADS["small"])


async def _mount(request: bytes, _: Any) -> bytes:
    return next((made for wanted, made in _REPLIES.items() if wanted in request), _SMALL)


async def _version(_request: bytes, _: Any) -> bytes:
    return provider_pb2.VersionResponse(
        version="v1alpha1", runtime_name="bench", runtime_version="1"
    ).SerializeToString()


async def _serve(path: str) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "v1alpha1.CSIDriverProvider",
                {
                    "Mount": grpc.unary_unary_rpc_method_handler(_mount),
                    "Version": grpc.unary_unary_rpc_method_handler(_version),
                },
            ),
        )
    )
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    await until_told()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
