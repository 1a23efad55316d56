"""Channels to the providers of this node, one a socket, kept; a provider that moves or restarts is found again.
The channel to a socket that a provider has left is closed with the last call that uses it.

One call:
 1. Find the socket: first ``<directory>/<name>.sock`` that exists, additional directories first.
 2. Wait until its channel is connected, looking for the socket again every SEARCH_SECONDS, until the deadline.
 3. Call Mount with what is left of the deadline. UNAVAILABLE is tried again, ATTEMPTS in all; nothing else is.
A provider that was never seen on this node fails at once; one that was here and is gone is waited for, as it is
probably restarting.
"""

import asyncio
import contextlib
import os
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from driver.providers import wire
from protos import provider_pb2, provider_pb2_grpc
from runtime import logs, redact, rpc
from runtime.errors import PreconditionFailed, Unavailable

log = logs.get(__name__)

ATTEMPTS = 3
FIRST_RETRY_SECONDS = 1.0
SEARCH_SECONDS = 0.25
VERSION_SECONDS = 5.0
API_VERSION = "v1alpha1"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,30}")
# A provider that restarts is found again at once. The second is the shortest time for a connection to be made, not a
# pause: a provider on a busy node needs it.
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

Reply = TypeVar("Reply")


@dataclass
class _Provider:
    """One provider in use: where its socket is, the connection to it, and what its last health check said."""

    socket: str
    connection: rpc.Connection
    stub: "provider_pb2_grpc.CSIDriverProviderAsyncStub"
    version: str = ""
    last_error: str = ""
    users: int = 0
    left: bool = False

    @contextlib.asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Keeps the channel open; to close it under a call would cancel the call."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1
            await self.close_if_left()

    async def close_if_left(self) -> None:
        """Close the channel if the provider has moved and nobody uses its old socket any more."""
        if self.left and not self.users:
            await self.connection.close()


class ProviderPool:
    """All providers that this driver has used."""

    def __init__(self, directories: Sequence[str], largest_reply: int) -> None:
        self._directories = tuple(directories)
        self._options = (*_RECONNECT, ("grpc.max_receive_message_length", largest_reply))
        self._largest_reply = largest_reply
        self._providers: dict[str, _Provider] = {}

    async def mount(self, name: str, request: provider_pb2.MountRequest, deadline: float) -> wire.MountReply:
        """Call the provider's Mount; ``deadline`` is loop time. Raises a Failure: the provider's own code passes
        through."""
        attempt = 1
        while True:
            provider = await self._connected(name, deadline)
            try:
                reply = await self._call(name, provider, provider.stub.Mount, request, _left(deadline))
            except rpc.RemoteFailure as failure:
                pause = FIRST_RETRY_SECONDS * random.uniform(0.8, 1.2)
                if failure.code != grpc.StatusCode.UNAVAILABLE or attempt == ATTEMPTS or pause >= _left(deadline):
                    raise
            else:
                self._warn_if_large(name, reply)
                return wire.check_reply(reply)
            await asyncio.sleep(pause)
            attempt += 1

    async def check_health(self) -> None:
        """Ask each provider in use for its version; what it answers is logged and shown in the status."""
        for name in list(self._providers):
            provider = self._providers[name]
            asked = provider_pb2.VersionRequest(version=API_VERSION)
            try:
                reply = await self._call(name, provider, provider.stub.Version, asked, VERSION_SECONDS)
            except rpc.RemoteFailure as failure:
                log.warning("Provider health check failed", provider=name, err=failure)
            else:
                provider.version = reply.runtime_version
                log.verbose(
                    4,
                    "Provider is healthy",
                    provider=name,
                    runtimeName=reply.runtime_name,
                    runtimeVersion=reply.runtime_version,
                )

    def snapshot(self) -> list[Mapping[str, str]]:
        """For the status page."""
        return [
            {"name": name, "socket": item.socket, "version": item.version, "last_error": item.last_error}
            for name, item in sorted(self._providers.items())
        ]

    async def close(self) -> None:
        """Close all channels."""
        while self._providers:
            _, provider = self._providers.popitem()
            await provider.connection.close()

    async def _connected(self, name: str, deadline: float) -> _Provider:
        while True:
            socket = self.find(name)
            if socket is not None:
                provider = await self._provider(name, socket)
                async with provider.used():
                    ready = await provider.connection.wait_ready(min(SEARCH_SECONDS, _left(deadline)))
                if ready and not provider.left:
                    return provider
            elif name not in self._providers:
                raise PreconditionFailed(
                    f'error connecting to provider "{name}": provider not found: provider "{name}" '
                    f"(install it, or check that its socket lies in {', '.join(self._directories)})"
                )
            else:
                await asyncio.sleep(min(SEARCH_SECONDS, _left(deadline)))
            if _left(deadline) <= 0:
                raise Unavailable(
                    f'error connecting to provider "{name}": it does not answer on its socket; is its pod running?'
                )

    def find(self, name: str) -> str | None:
        """The provider's socket, or None. Raises PreconditionFailed for a name that is none."""
        if not _NAME.fullmatch(name):
            raise PreconditionFailed(
                f'error connecting to provider "{redact.text(name)}": invalid provider: '
                "a name has 1 to 30 letters, digits, - and _"
            )
        candidates = (os.path.join(directory, f"{name}.sock") for directory in self._directories)
        return next((path for path in candidates if os.path.exists(path)), None)

    def installed(self) -> list[str]:
        """The names of all providers whose sockets are there."""
        names: set[str] = set()
        for directory in self._directories:
            with contextlib.suppress(OSError):  # a directory that is not there holds no sockets
                names.update(name.removesuffix(".sock") for name in os.listdir(directory) if name.endswith(".sock"))
        return sorted(names)

    async def _provider(self, name: str, socket: str) -> _Provider:
        known = self._providers.get(name)
        if known is not None and known.socket == socket:
            return known
        channel = rpc.dial(socket, self._options)
        provider = _Provider(socket, rpc.Connection(channel), provider_pb2_grpc.CSIDriverProviderStub(channel))
        self._providers[name] = provider
        if known is not None:
            log.info("Provider has moved", provider=name, socket=socket)
            known.left = True
            await known.close_if_left()
        return provider

    async def _call(
        self, name: str, provider: _Provider, method: Callable[..., Awaitable[Reply]], request: Message, seconds: float
    ) -> Reply:
        """One call of one method; what came of it stays in ``last_error``. Raises RemoteFailure."""
        try:
            async with provider.used():
                reply: Reply | None = await method(request, timeout=seconds)
            if reply is None:  # gRPC's word for bytes that it cannot parse
                raise rpc.RemoteFailure(
                    grpc.StatusCode.INTERNAL, f'provider "{name}": its reply is not a message of the provider contract'
                )
        except grpc.aio.AioRpcError as error:
            failure = self._failure(name, error)
            provider.last_error = str(failure)
            raise failure from None
        except rpc.RemoteFailure as failure:
            provider.last_error = str(failure)
            raise
        provider.last_error = ""
        return reply

    def _failure(self, name: str, error: grpc.aio.AioRpcError) -> rpc.RemoteFailure:
        detail = redact.text(error.details() or "no details")
        if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in detail:
            detail += f" (the limit is --max-call-recv-msg-size={self._largest_reply})"
        return rpc.RemoteFailure(error.code(), f'provider "{name}": {detail}')

    def _warn_if_large(self, name: str, reply: provider_pb2.MountResponse) -> None:
        size = reply.ByteSize()
        if size > wire.LARGE_REPLY:
            log.warning("A provider's reply is larger than 1 MiB", provider=name, bytes=size)


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())
