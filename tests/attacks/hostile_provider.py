"""A provider that replies whatever an attack wants."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from protos import provider_pb2, provider_pb2_grpc

Reply = Callable[[grpc.ServicerContext], provider_pb2.MountResponse]


def reply_with(files: Mapping[str, bytes], versions: Mapping[str, str] | None = None) -> provider_pb2.MountResponse:
    """A reply of these files; without ``versions`` it has one object."""
    return provider_pb2.MountResponse(
        files=[provider_pb2.File(path=path, mode=0o400, contents=contents) for path, contents in files.items()],
        object_version=[
            provider_pb2.ObjectVersion(id=key, version=value) for key, value in (versions or {"a": "1"}).items()
        ],
    )


class _Servicer(provider_pb2_grpc.CSIDriverProviderServicer):
    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self._replies = replies

    def Version(
        self, request: provider_pb2.VersionRequest, context: grpc.ServicerContext
    ) -> provider_pb2.VersionResponse:
        return provider_pb2.VersionResponse(version="v1alpha1", runtime_name="hostile", runtime_version="1")

    def Mount(self, request: provider_pb2.MountRequest, context: grpc.ServicerContext) -> provider_pb2.MountResponse:
        return self._replies[json.loads(request.attributes)["reply"]](context)


@contextmanager
def hostile_provider(
    directory: Path, replies: Mapping[str, Reply], name: str = "hostile", threads: int = 4
) -> Iterator[None]:
    """Serve a provider in a directory of provider sockets; the class's parameter ``reply`` selects the reply."""
    server = grpc.server(
        ThreadPoolExecutor(threads),
        options=[("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 16 << 20)],
    )
    provider_pb2_grpc.add_CSIDriverProviderServicer_to_server(_Servicer(replies), server)
    server.add_insecure_port(f"unix:{directory}/{name}.sock")
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()
