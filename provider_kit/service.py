"""The gRPC service ``v1alpha1.CSIDriverProvider`` in front of a ``Provider``.

Many providers refuse a call whose ``:authority`` is not ``localhost``, which is what the driver sends, while gRPC's
default for a Unix socket is the socket's path. This service refuses it too, so that a caller that forgets to set it is
found in a lab and not in production. Only gRPC's thread-based server lets a handler see the authority, hence threads
here and not ``grpc.aio``; the provider's coroutine runs on the event loop all the same.
"""

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import grpc

from protos import provider_pb2
from provider_kit.provider import Provider
from provider_kit.reply import MountReply, ReplyError, encode_reply
from provider_kit.request import decode_request
from runtime import logs, redact, rpc
from runtime.errors import Failure, InvalidRequest

log = logs.get(__name__)

API_VERSION = "v1alpha1"
AUTHORITY = "localhost"
SERVICE = provider_pb2.DESCRIPTOR.services_by_name["CSIDriverProvider"].full_name
T = TypeVar("T")


class ProviderService:
    """Its methods run in gRPC's threads and wait there for the provider, which runs on ``loop``."""

    def __init__(self, provider: Provider, loop: asyncio.AbstractEventLoop) -> None:
        self._provider = provider
        self._loop = loop

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
        _check_authority(context)
        return provider_pb2.VersionResponse(
            version=API_VERSION, runtime_name=self._provider.name, runtime_version=self._provider.version
        )

    def mount(self, request: provider_pb2.MountRequest, context: Any) -> provider_pb2.MountResponse:
        """One volume: the provider's reply, or the status of its failure. The request's secrets are masked in all texts
        that are made meanwhile."""
        with redact.withholding(request):
            return self._answer_mount(request, context)

    def _answer_mount(self, request: provider_pb2.MountRequest, context: Any) -> provider_pb2.MountResponse:
        if log.enabled(rpc.REQUEST_VERBOSITY):
            shown = redact.message(request)
            log.verbose(rpc.REQUEST_VERBOSITY, "request", request=shown, deadline=context.time_remaining())
        _check_authority(context)
        try:
            return self._wait(context, self._mount(request))
        except ReplyError as refusal:
            return provider_pb2.MountResponse(error=provider_pb2.Error(code=refusal.code))
        except Failure as failure:
            _abort(context, rpc.code_of(failure), redact.text(failure))
        except concurrent.futures.CancelledError:
            _abort(context, grpc.StatusCode.CANCELLED, "the call was cancelled")
        except Exception as bug:  # the service boundary: a bug is logged here and shown to nobody
            log.error("Mount ended with a bug", exc=bug, provider=self._provider.name)
            _abort(context, grpc.StatusCode.INTERNAL, "internal error; the provider's log has the details")

    async def _mount(self, message: provider_pb2.MountRequest) -> provider_pb2.MountResponse:
        request = decode_request(message)
        reply = await self._provider.mount(request)
        return encode_reply(reply, request.permission) if isinstance(reply, MountReply) else reply

    def _wait(self, context: Any, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        context.add_callback(future.cancel)  # the work ends when the caller gives up or the server stops
        return future.result()


def _check_authority(context: Any) -> None:
    # gRPC's Python API has no accessor for it (https://github.com/grpc/grpc/issues/38906), but the context's event
    # holds the call's details.
    authority = context._rpc_event.call_details.host.decode(errors="replace")
    if authority != AUTHORITY:
        failure = InvalidRequest(
            f":authority is {authority!r}: call with {AUTHORITY!r} (the channel option grpc.default_authority)"
        )
        _abort(context, rpc.code_of(failure), redact.text(failure))


def _abort(context: Any, code: grpc.StatusCode, sentence: str) -> NoReturn:
    context.abort(code, sentence)
    raise AssertionError("abort() returned")
