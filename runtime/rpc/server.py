"""Serve gRPC on a Unix socket or TCP; the interceptor is the only place that ends a call with a status.

A ``Failure`` becomes its status code and its sentence. Any other exception is logged with its stack and answered as
INTERNAL without it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from runtime import errors, logs, redact, sockets
from runtime.endpoints import Endpoint, UnixEndpoint
from runtime.rpc.codes import as_failure, code_of

log = logs.get(__name__)

REQUEST_VERBOSITY = 5
GRACE_SECONDS = 10.0
# How long gRPC may take to send the last answers and to say goodbye. A client that is frozen never confirms that.
FLUSH_SECONDS = 0.5

Register = Callable[[grpc.aio.Server], None]
Handler = Callable[[Any, Any], Awaitable[Any]]


class FailureInterceptor(grpc.aio.ServerInterceptor):
    """Ends each call with the code of its failure, and logs the call at verbosity 5. In all texts that are made during
    the call, the secrets of its request are masked. ``idle`` is set while no call is running."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.idle.set()
        self._running = 0

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap unary-unary handlers, the only kind that CSI has."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        wrapped = self._wrap(handler_call_details.method, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(
            wrapped,
            request_deserializer=partial(_decode, handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _wrap(self, method: str, handler: Handler) -> Handler:
        async def counted(request: Any, context: Any) -> Any:
            self._running += 1
            self.idle.clear()
            try:
                return await call(request, context)
            finally:
                self._running -= 1
                if not self._running:
                    self.idle.set()

        async def call(request: Any, context: Any) -> Any:
            started = time.monotonic()
            # Both lines are made outside of ``withholding``, which would have to prepare for a search, since they have
            # no values in them: the request is redacted by its fields, and the sentence has been.
            _log_request(method, request, context)
            code, sentence = grpc.StatusCode.CANCELLED, ""
            try:
                with redact.withholding(*(() if request is None else (request,))):
                    reply, code, sentence = await answer(request, context)
            finally:
                _log_response(method, code, sentence, time.monotonic() - started)
            if code is not grpc.StatusCode.OK:
                await context.abort(code, sentence)
                raise AssertionError("abort() returned")
            return reply

        async def answer(request: Any, context: Any) -> tuple[Any, grpc.StatusCode, str]:
            try:
                if request is None:
                    raise errors.Internal("the request is not a message of the method's type")
                return await handler(request, context), grpc.StatusCode.OK, ""
            except NotImplementedError:  # raised by the generated servicer for a method that is not overridden
                return None, grpc.StatusCode.UNIMPLEMENTED, ""
            except Exception as error:  # the boundary: no exception passes it other than as a status
                failure = as_failure(error, method)
                return None, code_of(failure), redact.text(failure)

        return counted


def _decode(decode: Callable[[bytes], Any], data: bytes) -> Any:
    """The request; None for bytes that are not one. gRPC would log an exception with its stack, and answer UNKNOWN with
    its text; in Go the code is INTERNAL."""
    try:
        return decode(data)
    except DecodeError:
        return None


def _log_request(method: str, request: Any, context: Any) -> None:
    if log.enabled(REQUEST_VERBOSITY):
        shown = None if request is None else redact.message(request)
        log.verbose(REQUEST_VERBOSITY, "request", method=method, request=shown, deadline=context.time_remaining())


def _log_response(method: str, code: grpc.StatusCode, sentence: str, seconds: float) -> None:
    log.verbose(
        REQUEST_VERBOSITY, "response", method=method, code=code.name, seconds=round(seconds, 6), message=sentence
    )


@dataclass(frozen=True, eq=False)
class RunningServer:
    """A server and the socket that it has bound; None for TCP."""

    server: grpc.aio.Server
    bound: sockets.BoundSocket | None
    calls: FailureInterceptor

    async def stop(self, seconds: float = GRACE_SECONDS) -> None:
        """Remove the socket if it is still ours, and take no new calls; those that are still running have so many
        seconds to finish. A second call may cut that short."""
        if self.bound is not None:
            self.bound.unlink()
        stopping = asyncio.create_task(self.server.stop(seconds))
        while not stopping.done():
            await self._wait_idle(stopping)
            await asyncio.wait([stopping], timeout=FLUSH_SECONDS)
            if self.calls.idle.is_set():
                await self.server.stop(None)
        await stopping

    async def _wait_idle(self, stopping: "asyncio.Task[None]") -> None:
        idle = asyncio.create_task(self.calls.idle.wait())
        try:
            await asyncio.wait([stopping, idle], return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()


@asynccontextmanager
async def serve(
    endpoint: Endpoint, register: Register, options: Sequence[tuple[str, Any]] = ()
) -> AsyncIterator[sockets.BoundSocket | None]:
    """Run a server for as long as the context lasts. At the end the socket is removed first; calls that are still
    running then have GRACE_SECONDS to finish.

    Yields the bound socket (None for TCP). Raises ConfigurationError if the address cannot be bound, or if the path
    holds anything but a socket.
    """
    running = await start(endpoint, register, options)
    try:
        yield running.bound
    finally:
        await running.stop()


async def start(endpoint: Endpoint, register: Register, options: Sequence[tuple[str, Any]] = ()) -> RunningServer:
    """Start a server, which the caller must stop. Raises as ``serve``."""
    path = Path(endpoint.path) if isinstance(endpoint, UnixEndpoint) else None
    hidden = sockets.hidden_path(path) if path is not None else None
    calls = FailureInterceptor()
    server = grpc.aio.server(interceptors=[calls], options=list(options))
    register(server)
    try:
        try:
            with sockets.private_umask():
                _bind(server, f"unix:{hidden}" if hidden is not None else endpoint.target, endpoint.target)
        finally:
            # Even if the bind has failed: gRPC crashes when a server that was never started is garbage-collected.
            await server.start()
        bound = sockets.move_into_place(hidden, path) if path is not None and hidden is not None else None
    except BaseException:
        await server.stop(None)
        raise
    return RunningServer(server, bound, calls)


def _bind(server: grpc.aio.Server, target: str, shown: str) -> None:
    # Errors name the target without the random part of the hidden path, so that a repeated error reads the same.
    try:
        bound = server.add_insecure_port(target)
    except RuntimeError as error:  # how gRPC reports that it cannot bind
        raise errors.ConfigurationError(
            f"cannot listen on {shown}: {redact.text(error).replace(target, shown)}"
        ) from None
    if not bound:
        raise errors.ConfigurationError(f"cannot listen on {shown}: is the address in use, or its directory read-only?")
