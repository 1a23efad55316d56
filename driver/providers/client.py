"""The connection to one provider's socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from driver import limits
from driver.providers.measuring import OnCalled, ReplyTooLarge, measured
from driver.volume.workers import DiskWorkers
from protos import provider_pb2, provider_pb2_grpc
from runtime import logs, redact, rpc
from runtime.rpc.client import Connection, dial

log = logs.get(__name__)

API_VERSION = "v1alpha1"
# etcd's limit for an object. A Secret made from a larger reply would not fit, so the operator gets an early warning.
LARGE_REPLY_BYTES = 1024 * 1024
# A restarted provider is found again at once. The minimum is the time that a connection attempt may take, not a pause:
# a provider on a busy node needs it.
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
# The first is gRPC's soft limit, above which it starts to refuse some messages at random.
_ERROR_TEXTS = (
    ("grpc.max_metadata_size", limits.MAX_PROVIDER_ERROR_BYTES),
    ("grpc.absolute_max_metadata_size", limits.MAX_PROVIDER_ERROR_BYTES),
)

Reply = TypeVar("Reply", bound=Message)


class ProviderClient:
    """Calls one provider at one socket.

    ``version`` is what the last health check reported. ``last_error`` is that of the last call, empty if it succeeded.
    ``on_called`` gets every call when it ends.
    """

    def __init__(
        self,
        name: str,
        socket: str,
        workers: DiskWorkers,
        small_bytes: int,
        max_reply_bytes: int,
        on_called: OnCalled = lambda *_: None,
    ) -> None:
        self.name = name
        self._on_called = on_called
        self._workers = workers
        self.socket = socket
        self.version = self.last_error = ""
        self._max_reply_bytes = max_reply_bytes
        self._small_bytes = small_bytes
        channel = self._dial(small_bytes)
        self._connection = Connection(channel)
        self._stub: provider_pb2_grpc.CSIDriverProviderAsyncStub = provider_pb2_grpc.CSIDriverProviderStub(channel)
        # A connection's limit is that of all its calls, so large replies have one of their own, once there are any.
        self._large_channel: grpc.aio.Channel | None = None
        self._calls = self._unanswered = 0
        self._retired = False

    @property
    def connected(self) -> bool:
        """Whether the socket is connected now."""
        return self._connection.ready

    async def wait_ready(self, deadline: float) -> bool:
        """Wait for the connection until ``deadline`` (event loop time); False also if this client is retired."""
        async with self._keep_open():
            return await self._connection.wait_ready(_seconds_until(deadline)) and not self._retired

    @property
    def is_given_up(self) -> bool:
        """Whether so many calls in a row had no answer that a new client should take its place."""
        return self._unanswered >= rpc.MAX_UNANSWERED

    def is_connected_to(self, socket: str) -> bool:
        """Whether this is the provider's connection to a socket, and stands."""
        return self.socket == socket and self._connection.ready

    async def mount(
        self, request: provider_pb2.MountRequest, deadline: float, *, large: bool = True
    ) -> provider_pb2.MountResponse:
        """Call Mount, which ends at ``deadline`` (event loop time). Raises RemoteFailure, or ReplyTooLarge if the reply
        must be ``large`` to be received."""
        method = self._large_stub().Mount if large else self._stub.Mount
        reply = await self._call("Mount", method, request, deadline, large)
        size = reply.ByteSize()
        if size > LARGE_REPLY_BYTES:
            log.warning("A provider's reply is larger than 1 MiB", provider=self.name, bytes=size)
        return reply

    async def check_health(self, deadline: float) -> None:
        """Call Version, which ends at ``deadline`` (event loop time).

        The result is logged, and kept in ``version`` and ``last_error``.
        """
        try:
            request = provider_pb2.VersionRequest(version=API_VERSION)
            reply = await self._call("Version", self._stub.Version, request, deadline)
        except rpc.RemoteFailure as failure:
            log.warning("Provider health check failed", provider=self.name, err=failure)
            return
        self.version = redact.text(reply.runtime_version)
        log.verbose(
            4,
            "Provider is healthy",
            provider=self.name,
            runtimeName=reply.runtime_name,
            runtimeVersion=reply.runtime_version,
        )

    async def retire(self) -> None:
        """Close the connection as soon as no call uses it: closing it earlier would cancel the call."""
        self._retired = True
        if not self._calls:
            await self.close()

    async def close(self) -> None:
        """Close the connection and cancel its calls."""
        await self._connection.close()
        if self._large_channel is not None:
            await self._large_channel.close()

    def _dial(self, max_reply_bytes: int) -> grpc.aio.Channel:
        limit = ("grpc.max_receive_message_length", max_reply_bytes)
        return dial(self.socket, (*_RECONNECT, *_ERROR_TEXTS, limit))

    def _large_stub(self) -> "provider_pb2_grpc.CSIDriverProviderAsyncStub":
        if self._small_bytes == self._max_reply_bytes:
            return self._stub
        if self._large_channel is None:
            self._large_channel = self._dial(self._max_reply_bytes)
        stub: provider_pb2_grpc.CSIDriverProviderAsyncStub = provider_pb2_grpc.CSIDriverProviderStub(
            self._large_channel
        )
        return stub

    @asynccontextmanager
    async def _keep_open(self) -> AsyncIterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if self._retired and not self._calls:
                await self.close()

    async def _call(
        self, name: str, method: Callable[..., Awaitable[Reply]], request: Message, deadline: float, large: bool = True
    ) -> Reply:
        with measured(self._on_called, self.name, name) as outcome:
            reply = await self._call_unmeasured(method, request, deadline, large)
            outcome.answered(reply)
            return reply

    async def _call_unmeasured(
        self, method: Callable[..., Awaitable[Reply]], request: Message, deadline: float, large: bool
    ) -> Reply:
        try:
            async with self._keep_open():
                reply: Reply | None = await method(request, timeout=_seconds_until(deadline))
            if reply is None:  # gRPC returns None for bytes that it cannot parse
                raise rpc.RemoteFailure(
                    grpc.StatusCode.INTERNAL,
                    f'provider "{self.name}": its reply is not a message of the provider contract',
                )
        except grpc.aio.AioRpcError as error:
            self._unanswered = self._unanswered + 1 if error.details() == rpc.DEADLINE_DETAILS else 0
            if not large and self._small_bytes < self._max_reply_bytes and _is_too_large(error):
                raise ReplyTooLarge from None
            failure = await self._failure_of(error)
            self.last_error = str(failure)
            raise failure from None
        except rpc.RemoteFailure as failure:
            self.last_error = str(failure)
            raise
        self.last_error, self._unanswered = "", 0
        return reply

    async def _failure_of(self, error: grpc.aio.AioRpcError) -> rpc.RemoteFailure:
        text = error.details() or "no details"
        if len(text) > limits.LONG_TEXT_CHARACTERS:
            details = await self._workers.run_long(redact.text, text)
        else:
            details = redact.text(text)
        if _is_too_large(error):
            details += f" (the limit is --max-call-recv-msg-size={self._max_reply_bytes})"
        if "metadata size exceeds" in details:
            details = (
                f"its error text is longer than {limits.MAX_PROVIDER_ERROR_BYTES} bytes; the provider's log has it"
            )
        return rpc.RemoteFailure(error.code(), f'provider "{self.name}": {details}')


def _is_too_large(error: grpc.aio.AioRpcError) -> bool:
    return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (error.details() or "")


def _seconds_until(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())
