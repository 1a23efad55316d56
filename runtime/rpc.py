"""gRPC at the edges: serving on a Unix socket or TCP, dialling one, and turning our failures into status codes.

The table below is the only place that knows which of our failures is which code, and the interceptor the only one
that ends a call with a status. Bugs are logged with their stack and answered as INTERNAL without it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from runtime import errors, logs, redact, sockets
from runtime.endpoints import Endpoint, UnixEndpoint

log = logs.get(__name__)

STATUS_CODES: dict[type[errors.Failure], grpc.StatusCode] = {
    errors.Failure: grpc.StatusCode.UNKNOWN,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
# After these kubelet keeps the volume and asks again, since the driver may still be at work; after any other it takes
# the volume as never published (kubernetes, pkg/volume/csi/csi_client.go, isFinalError).
NON_FINAL_CODES = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)
# What grpc itself says when a call's own deadline has passed; a server may answer that code with a text of its own.
DEADLINE_DETAILS = "Deadline Exceeded"
REQUEST_VERBOSITY = 5
GRACE_SECONDS = 10.0

Register = Callable[[grpc.aio.Server], None]
Handler = Callable[[Any, Any], Awaitable[Any]]


class RemoteFailure(errors.Failure):
    """Another gRPC server's own error; its code passes through to our caller."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(failure: errors.Failure) -> grpc.StatusCode:
    """The status code of the nearest class in the table; a remote failure keeps the code that it came with."""
    if isinstance(failure, RemoteFailure):
        return failure.code
    return next(STATUS_CODES[cls] for cls in type(failure).__mro__ if cls in STATUS_CODES)


def as_failure(error: Exception, method: str) -> errors.Failure:
    """An expected failure as it is. Whatever else a method raised is a bug of ours: logged here with its stack, and
    told to nobody but as Internal."""
    if isinstance(error, errors.Failure):
        return error
    log.error("A call ended with a bug", exc=error, method=method)
    return errors.Internal("internal error; the driver's log has the details")


class FailureInterceptor(grpc.aio.ServerInterceptor):
    """Ends each call with the code of its failure, and logs the call at verbosity 5 without its secrets."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the one kind of handler that CSI has: unary in, unary out."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        wrapped = self._wrap(handler_call_details.method, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(
            wrapped, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )

    def _wrap(self, method: str, handler: Handler) -> Handler:
        async def call(request: Any, context: Any) -> Any:
            started = time.monotonic()
            if log.enabled(REQUEST_VERBOSITY):
                log.verbose(
                    REQUEST_VERBOSITY,
                    "request",
                    method=method,
                    request=redact.message(request),
                    deadline=context.time_remaining(),
                )
            code, sentence = grpc.StatusCode.OK, ""
            try:
                return await handler(request, context)
            except NotImplementedError:  # the generated servicer's own answer for a method that is left out
                code = grpc.StatusCode.UNIMPLEMENTED
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # the boundary: nothing passes it but as a status
                failure = as_failure(error, method)
                code, sentence = code_of(failure), redact.text(failure)
            finally:
                log.verbose(
                    REQUEST_VERBOSITY,
                    "response",
                    method=method,
                    code=code.name,
                    seconds=round(time.monotonic() - started, 6),
                    message=sentence,
                )
            await context.abort(code, sentence)
            raise AssertionError("abort() returned")

        return call


@asynccontextmanager
async def serve(
    endpoint: Endpoint, register: Register, options: Sequence[tuple[str, Any]] = ()
) -> AsyncIterator[sockets.BoundSocket | None]:
    """A running server for as long as the context lasts; at its end the socket goes first, then running calls get
    their grace.

    Yields the socket that was bound (None for TCP). A path that holds something else than a socket is a
    ConfigurationError.
    """
    path = Path(endpoint.path) if isinstance(endpoint, UnixEndpoint) else None
    hidden = sockets.hidden_path(path) if path is not None else None
    server = grpc.aio.server(interceptors=[FailureInterceptor()], options=list(options))
    register(server)
    bound = None
    try:
        try:
            with sockets.private_umask():
                _bind(server, f"unix:{hidden}" if hidden is not None else endpoint.target, endpoint.target)
        finally:
            # Also where the bind failed: grpc crashes when a server that was never started is collected.
            await server.start()
        if path is not None and hidden is not None:
            bound = sockets.move_into_place(hidden, path)
        yield bound
    finally:
        if bound is not None:
            bound.unlink()
        await server.stop(GRACE_SECONDS)


def _bind(server: grpc.aio.Server, target: str, told: str) -> None:
    # What is told has no random name in it: who tries again can see that it is the same trouble.
    try:
        bound = server.add_insecure_port(target)
    except RuntimeError as error:  # grpc's own way to say that it cannot bind
        raise errors.ConfigurationError(
            f"cannot listen on {told}: {redact.text(error).replace(target, told)}"
        ) from None
    if not bound:
        raise errors.ConfigurationError(f"cannot listen on {told}: is the address in use, or its directory read-only?")


# Providers refuse any other authority, and gRPC would send the path. Without a pool of its own a channel shares the
# connection of the process' others to that path, and with it the pause after somebody's failed attempt.
_CHANNEL_OPTIONS = (("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1))


def dial(path: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
    """A channel of its own to a Unix socket."""
    return grpc.aio.insecure_channel(f"unix:{path}", options=[*_CHANNEL_OPTIONS, *options])


class Connection:
    """Whether a channel is connected. One task waits for that, however many ask in vain: grpc.aio loses some memory
    with each wait that is cancelled."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._waiting: asyncio.Task[None] | None = None

    async def wait_ready(self, seconds: float) -> bool:
        """Ask for the connection and wait for it, no longer than ``seconds``."""
        if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return True
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._channel.channel_ready())
        done, _ = await asyncio.wait([self._waiting], timeout=seconds)
        return bool(done)

    async def close(self) -> None:
        """Close the channel; nobody waits for it any more."""
        if self._waiting is not None:
            self._waiting.cancel()
        await self._channel.close()
