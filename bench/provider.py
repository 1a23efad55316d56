"""The benchmark's provider. Its replies are serialized once, so that it uses as little CPU as a provider in Python can.

    python -m bench.provider SOCKET

The class parameter ``payload`` selects the reply: ``small`` is one file of 64 B, ``large`` ten of 4 KiB. Nothing else
in a request is read.
"""

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio

from bench.signals import wait_for_sigterm
from protos import provider_pb2

PAYLOADS = {"small": (1, 64), "large": (10, 4096)}


def serialize_reply(files: int, size: int) -> bytes:
    """A serialized MountResponse with ``files`` files of ``size`` bytes."""
    response = provider_pb2.MountResponse()
    for number in range(files):
        response.object_version.add(id=f"object-{number}", version="1")
        response.files.add(path=f"file-{number}", mode=0o400, contents=bytes([65 + number]) * size)
    return response.SerializeToString()


_REPLIES = {f'"payload":"{name}"'.encode(): serialize_reply(*shape) for name, shape in PAYLOADS.items()}
_SMALL = serialize_reply(*PAYLOADS["small"])


async def _mount(request: bytes, _: Any) -> bytes:
    return next((reply for payload, reply in _REPLIES.items() if payload in request), _SMALL)


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
    await wait_for_sigterm()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
