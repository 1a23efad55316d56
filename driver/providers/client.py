"""The connection to one provider's socket."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from google.protobuf.message import Message

from driver import limits
from driver.providers.measuring import OnCalled, ReplyTooLarge, measured
from driver.volume.workers import DiskWorkers
from protos import provider_pb2
from runtime import logs, redact, rpc
from runtime.http2.bounds import Bounds

log = logs.get(__name__)

API_VERSION = "v1alpha1"
# etcd's limit for an object. A Secret made from a larger reply would not fit, so the operator gets an early warning.
LARGE_REPLY_BYTES = 1024 * 1024
_MOUNT, _VERSION = "/v1alpha1.CSIDriverProvider/Mount", "/v1alpha1.CSIDriverProvider/Version"
# How long a health check waits for a provider that is not connected.
CONNECT_SECONDS = 1.0
# What a provider may send before we confirm it.
_WINDOW_BYTES = 256 * 1024

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
        self._channel = rpc.SocketChannel(
            socket, Bounds(max_reply_bytes, limits.MAX_PROVIDER_ERROR_BYTES, _WINDOW_BYTES)
        )
        self._calls = self._unanswered = 0
        self._retired = False

    @property
    def connected(self) -> bool:
        """Whether the socket is connected now."""
        return self._channel.ready

    async def wait_ready(self, deadline: float) -> bool:
        """Wait for the connection until ``deadline`` (event loop time); False also if this client is retired."""
        with self._keep_open():
            return await self._channel.wait_ready(_seconds_until(deadline)) and not self._retired

    @property
    def is_given_up(self) -> bool:
        """Whether so many calls in a row had no answer that a new client should take its place."""
        return self._unanswered >= rpc.MAX_UNANSWERED

    def is_connected_to(self, socket: str) -> bool:
        """Whether this is the provider's connection to a socket, and stands."""
        return self.socket == socket and self._channel.ready

    async def mount(
        self, request: provider_pb2.MountRequest, deadline: float, *, large: bool = True
    ) -> provider_pb2.MountResponse:
        """Call Mount, which ends at ``deadline`` (event loop time). Raises RemoteFailure, or ReplyTooLarge if the reply
        must be ``large`` to be received."""
        reply = await self._call(_MOUNT, request, provider_pb2.MountResponse, deadline, large)
        size = reply.ByteSize()
        if size > LARGE_REPLY_BYTES:
            log.warning("A provider's reply is larger than 1 MiB", provider=self.name, bytes=size)
        return reply

    async def check_health(self, deadline: float) -> None:
        """Call Version, which ends at ``deadline`` (event loop time).

        The result is logged, and kept in ``version`` and ``last_error``.
        """
        await self.wait_ready(min(deadline, asyncio.get_running_loop().time() + CONNECT_SECONDS))
        try:
            request = provider_pb2.VersionRequest(version=API_VERSION)
            reply = await self._call(_VERSION, request, provider_pb2.VersionResponse, deadline)
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

    def retire(self) -> None:
        """Close the connection as soon as no call uses it: closing it earlier would cancel the call."""
        self._retired = True
        if not self._calls:
            self.close()

    def close(self) -> None:
        """Close the connection and cancel its calls."""
        self._channel.close()

    @contextmanager
    def _keep_open(self) -> Iterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if self._retired and not self._calls:
                self.close()

    async def _call(
        self, method: str, request: Message, expected: type[Reply], deadline: float, large: bool = True
    ) -> Reply:
        with measured(self._on_called, self.name, method.rpartition("/")[2]) as outcome:
            reply = await self._call_unmeasured(method, request, expected, deadline, large)
            outcome.answered(reply)
            return reply

    async def _call_unmeasured(
        self, method: str, request: Message, expected: type[Reply], deadline: float, large: bool
    ) -> Reply:
        try:
            with self._keep_open():
                most = self._max_reply_bytes if large else self._small_bytes
                reply = await self._channel.call(method, request, expected, _seconds_until(deadline), most)
        except rpc.CallFailed as failed:
            self._unanswered = self._unanswered + 1 if failed.is_unanswered else 0
            if not large and self._small_bytes < self._max_reply_bytes and _is_too_large(failed):
                raise ReplyTooLarge from None
            failure = await self._failure_of(failed)
            self.last_error = str(failure)
            raise failure from None
        self.last_error, self._unanswered = "", 0
        return reply

    async def _failure_of(self, failed: rpc.CallFailed) -> rpc.RemoteFailure:
        if isinstance(failed, rpc.Unreadable):
            text = "its reply is not a message of the provider contract"
        else:
            text = failed.details or "no details"
        if len(text) > limits.LONG_TEXT_CHARACTERS:
            details = await self._workers.run_long(redact.text, text)
        else:
            details = redact.text(text)
        if _is_too_large(failed):
            details += f" (the limit is --max-call-recv-msg-size={self._max_reply_bytes})"
        if "metadata size exceeds" in details:
            details = (
                f"its error text is longer than {limits.MAX_PROVIDER_ERROR_BYTES} bytes; the provider's log has it"
            )
        return rpc.RemoteFailure(failed.code, f'provider "{self.name}": {details}')


def _is_too_large(failed: rpc.CallFailed) -> bool:
    return failed.code is rpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in failed.details


def _seconds_until(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())
