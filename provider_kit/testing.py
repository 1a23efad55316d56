"""A provider in a test: called as it is, or served on a socket and called as a driver does, its calls recorded.

asked = mount_request({"objects": "…"}, tokens={"vault": "header.payload.signature"})
reply = await LabProvider().mount(asked)

async with running(LabProvider(), directory / "lab.sock") as lab:
    reply = await lab.mount(asked)
    assert lab.calls == 1
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from protos import provider_pb2
from provider_kit.provider import Provider
from provider_kit.reply import File, MountReply
from provider_kit.request import POD_PREFIX, TOKENS_ATTRIBUTE, MountRequest
from provider_kit.service import AUTHORITY, SERVICE
from provider_kit.serving import Server, serve
from runtime.status_codes import RemoteFailure, StatusCode


def mount_request(
    parameters: Mapping[str, str],
    *,
    namespace: str = "default",
    pod: str = "pod-1",
    service_account: str = "default",
    tokens: Mapping[str, str] = {},
    secrets: Mapping[str, str] = {},
    target_path: str = "/target",
    permission: int = 0o644,
) -> MountRequest:
    """The request that a driver makes for a pod's volume of a class with these ``parameters``; ``tokens`` are those of
    the service account by audience, ``secrets`` the data of the node publish Secret."""
    attributes = {
        f"{POD_PREFIX}pod.namespace": namespace,
        f"{POD_PREFIX}pod.name": pod,
        f"{POD_PREFIX}pod.uid": f"uid-of-{pod}",
        f"{POD_PREFIX}serviceAccount.name": service_account,
        **parameters,
    }
    if tokens:
        given = {name: {"token": token, "expirationTimestamp": ""} for name, token in tokens.items()}
        attributes[TOKENS_ATTRIBUTE] = json.dumps(given)
    return MountRequest(attributes, secrets, target_path, permission, {})


class RunningProvider:
    """A provider that is being served at ``path``; it records every Mount request that could be decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[MountRequest] = []
        self._recorded = asyncio.Condition()
        self._server: Server | None = None

    @property
    def calls(self) -> int:
        """How many Mount requests were recorded."""
        return len(self.requests)

    @property
    def last_request(self) -> MountRequest | None:
        """The latest request; None before the first."""
        return self.requests[-1] if self.requests else None

    async def wait_for_calls(self, number: int) -> None:
        """Wait until ``number`` requests were recorded; bring your own timeout."""
        async with self._recorded:
            await self._recorded.wait_for(lambda: self.calls >= number)

    async def mount(self, request: MountRequest, seconds: float = 20.0) -> MountReply:
        """Call it over its socket. Raises RemoteFailure with the code and the sentence that a driver would get."""
        message = provider_pb2.MountRequest(
            attributes=json.dumps(dict(request.attributes)),
            secrets=json.dumps(dict(request.secrets)) if request.secrets else "null",
            target_path=request.target_path,
            permission=str(request.permission),
        )
        options = [("grpc.default_authority", AUTHORITY)]
        async with grpc.aio.insecure_channel(f"unix:{self.path.absolute()}", options=options) as channel:
            call = channel.unary_unary(
                f"/{SERVICE}/Mount",
                request_serializer=provider_pb2.MountRequest.SerializeToString,
                response_deserializer=provider_pb2.MountResponse.FromString,
            )
            try:
                reply = await call(message, timeout=seconds)
            except grpc.aio.AioRpcError as error:
                raise RemoteFailure(StatusCode[error.code().name], error.details() or "") from None
        if reply.error.code:
            raise RemoteFailure(StatusCode.UNKNOWN, f"error.code is {reply.error.code}")
        files = [File(file.path, file.contents, file.mode) for file in reply.files]
        return MountReply(files, {item.id: item.version for item in reply.object_version})

    async def record(self, request: MountRequest) -> None:
        """Add a request, from the moment it arrives."""
        async with self._recorded:
            self.requests.append(request)
            self._recorded.notify_all()

    def crash(self) -> None:
        """Break off all calls and leave the dead socket behind, as a killed process does."""
        if self._server is not None:
            self._server.crash()

    @asynccontextmanager
    async def serving(self, provider: Provider) -> AsyncIterator[None]:
        """Serve ``provider`` inside the context."""
        async with serve(_Recording(provider, self), f"unix://{self.path.absolute()}") as self._server:
            yield


class _Recording(Provider):
    """Records each request before it passes it on."""

    def __init__(self, inner: Provider, running: RunningProvider) -> None:
        self.name, self.version = inner.name, inner.version
        self._inner, self._running = inner, running

    async def mount(self, request: MountRequest) -> MountReply | provider_pb2.MountResponse:
        await self._running.record(request)
        return await self._inner.mount(request)

    async def close(self) -> None:
        await self._inner.close()


@asynccontextmanager
async def running(provider: Provider, socket: str | Path) -> AsyncIterator[RunningProvider]:
    """Serve ``provider`` on ``socket`` inside the context."""
    running = RunningProvider(Path(socket))
    async with running.serving(provider):
        yield running
