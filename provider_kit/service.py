"""The gRPC service ``v1alpha1.CSIDriverProvider`` in front of a ``Provider``.

Many providers refuse a call whose ``:authority`` is not ``localhost``, which is what the driver sends, while gRPC's
default for a Unix socket is the socket's path. This service refuses it too, so that a caller that forgets to set it is
found in a lab and not in production. Only gRPC's thread-based server lets a handler see the authority, hence threads
here and not ``grpc.aio``; the provider's coroutine runs on the event loop all the same.
"""

import asyncio
import concurrent.futures
import math
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import grpc

from protos import provider_pb2
from provider_kit.provider import Provider
from provider_kit.reply import MountReply, ReplyError, encode_reply
from provider_kit.request import decode_request
from runtime import logs, redact
from runtime.errors import Failure, InvalidRequest, ResourceExhausted
from runtime.status_codes import StatusCode, code_of

log = logs.get(__name__)

API_VERSION = "v1alpha1"
AUTHORITY = "localhost"
# Twice the pods that a node has by default, and so many threads at most.
MAX_CONCURRENT_CALLS = 256
SERVICE = provider_pb2.DESCRIPTOR.services_by_name["CSIDriverProvider"].full_name
# gRPC shows a call without a deadline as one with hundreds of years.
_NO_DEADLINE_SECONDS = 1e9
T = TypeVar("T")


class Observer:
    """Sees each call of Mount begin and end; this one does nothing. Called in many threads."""

    def started(self) -> None:
        """A call has arrived."""

    def ended(self, code: str, seconds: float) -> None:
        """It was answered: a gRPC code, or ERROR_CODE for the reply's own ``error.code``."""


class ProviderService:
    """Its methods run in gRPC's threads and wait there for the provider, which runs on ``loop``."""

    def __init__(self, provider: Provider, loop: asyncio.AbstractEventLoop, observer: Observer | None = None) -> None:
        self._provider = provider
        self._loop = loop
        self._observer = observer or Observer()
        self._places = threading.BoundedSemaphore(MAX_CONCURRENT_CALLS)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The handlers for a server. The generated registration will not do: gRPC hides the details of a call,
        ``:authority`` among them, from methods that are registered by name.
        """
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Version": grpc.unary_unary_rpc_method_handler(
                    self.version, provider_pb2.VersionRequest.FromString, provider_pb2.VersionResponse.SerializeToString
                ),
                "Mount": grpc.unary_unary_rpc_method_handler(
                    self.mount, provider_pb2.MountRequest.FromString, provider_pb2.MountResponse.SerializeToString
                ),
            },
        )

    def version(self, request: provider_pb2.VersionRequest, context: Any) -> provider_pb2.VersionResponse:
        """The contract's version, and the provider's name and version."""
        try:
            _check_authority(context)
        except InvalidRequest as failure:
            _abort(context, code_of(failure), redact.text(failure))
        return provider_pb2.VersionResponse(
            version=API_VERSION, runtime_name=self._provider.name, runtime_version=self._provider.version
        )

    def mount(self, request: provider_pb2.MountRequest, context: Any) -> provider_pb2.MountResponse:
        """One volume: the provider's reply, or the status of its failure. The request's secrets are masked in all texts
        that are made meanwhile."""
        began = time.monotonic()
        self._observer.started()
        with redact.withholding(request):
            code, answer = self._answer_mount(request, context)
            self._observer.ended("ERROR_CODE" if _has_error_code(answer) else code.name, time.monotonic() - began)
            if isinstance(answer, str):
                _abort(context, code, answer)
            return answer

    def _answer_mount(
        self, request: provider_pb2.MountRequest, context: Any
    ) -> tuple[StatusCode, provider_pb2.MountResponse | str]:
        """The code, and the reply or what to say instead."""
        if log.enabled(logs.REQUEST_VERBOSITY):
            shown = redact.message(request)
            log.verbose(logs.REQUEST_VERBOSITY, "request", request=shown, deadline=context.time_remaining())
        try:
            _check_authority(context)
            with self._place():
                return StatusCode.OK, self._wait(context, self._mount(request, context.time_remaining()))
        except ReplyError as refusal:
            return StatusCode.OK, provider_pb2.MountResponse(error=provider_pb2.Error(code=refusal.code))
        except Failure as failure:
            return code_of(failure), redact.text(failure)
        except TimeoutError:  # as asyncio.timeout_at(request.deadline) raises it
            return StatusCode.DEADLINE_EXCEEDED, f"{self._provider.name} did not get the secrets in time"
        except concurrent.futures.CancelledError:
            return StatusCode.CANCELLED, "the call was cancelled"
        except Exception as bug:  # the service boundary: a bug is logged here and shown to nobody
            log.error("Mount ended with a bug", exc=bug, provider=self._provider.name)
            return StatusCode.INTERNAL, "internal error; the provider's log has the details"

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the calls that may run at a time. More are refused and not queued, since a queue of calls keeps the
        threads that Version, the driver's health check, is answered in."""
        if not self._places.acquire(blocking=False):
            raise ResourceExhausted(f"{MAX_CONCURRENT_CALLS} volumes are being fetched; this one will be tried again")
        try:
            yield
        finally:
            self._places.release()

    async def _mount(self, message: provider_pb2.MountRequest, seconds: float | None) -> provider_pb2.MountResponse:
        unbounded = seconds is None or seconds > _NO_DEADLINE_SECONDS
        request = decode_request(message, math.inf if unbounded else time.monotonic() + (seconds or 0.0))
        reply: object = await self._provider.mount(request)
        if isinstance(reply, MountReply):
            return encode_reply(reply, request.permission)
        if isinstance(reply, provider_pb2.MountResponse):
            return reply
        raise TypeError(f"mount returned {type(reply).__name__}, not a MountReply")

    def _wait(self, context: Any, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        # The work ends when the caller gives up or the server stops, which may have happened already.
        if not context.add_callback(future.cancel):
            future.cancel()
        return future.result()


def _has_error_code(answer: provider_pb2.MountResponse | str) -> bool:
    return not isinstance(answer, str) and bool(answer.error.code)


def _check_authority(context: Any) -> None:
    # gRPC's Python API has no accessor for it (https://github.com/grpc/grpc/issues/38906), but the context's event
    # holds the call's details.
    authority = context._rpc_event.call_details.host.decode(errors="replace")
    if authority != AUTHORITY:
        raise InvalidRequest(
            f":authority is {authority!r}: call with {AUTHORITY!r} (the channel option grpc.default_authority)"
        )


def _abort(context: Any, code: StatusCode, sentence: str) -> NoReturn:
    context.abort(grpc.StatusCode[code.name], sentence)
    raise AssertionError("abort() returned")
