"""Serving a provider on its Unix socket, and the command around it.

This is a thread-based gRPC server in front of an asyncio provider, not ``grpc.aio``: providers in the field refuse a
call whose ``:authority`` is not ``localhost`` (the driver's Go original sends that, gRPC's Python default is the
socket's path), and only the thread-based server lets its handler see what was sent.
"""

import asyncio
import concurrent.futures
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc

from protos import provider_pb2
from provider_stub.contract import API_VERSION, MountReply, Provider, ReplyError, read_request, write_reply
from runtime import logs, process, redact, rpc, sockets
from runtime.endpoints import UnixEndpoint, parse_endpoint
from runtime.errors import ConfigurationError, Failure, InvalidRequest
from runtime.flags import FlagSet, flag
from runtime.signals import stop_event

log = logs.get(__name__)

AUTHORITY = "localhost"
GRACE_SECONDS = 10.0
MOST_CALLS = 64
SERVICE = provider_pb2.DESCRIPTOR.services_by_name["CSIDriverProvider"].full_name
_SOCKET_NAME = re.compile(r"[a-zA-Z0-9_-]{1,30}\.sock")
T = TypeVar("T")


@dataclass(frozen=True)
class ServeConfig:
    """What every provider command takes; subclass it for flags of your own."""

    endpoint: str = flag(
        "unix:///var/run/secrets-store-csi-providers/stub.sock", "socket to serve; its name is the provider's name"
    )
    v: int = flag(0, "log verbosity; 5 logs every call")
    log_format_json: bool = flag(False, "write logs as JSON lines")
    version: bool = flag(False, "print the version as JSON and exit")

    def __post_init__(self) -> None:
        socket_of(self.endpoint)


C = TypeVar("C", bound=ServeConfig)


class Serving:
    """A server that runs: ``path`` is its socket."""

    def __init__(self, server: grpc.Server, bound: sockets.BoundSocket) -> None:
        self.path = bound.path
        self._server = server
        self._bound = bound

    def cut(self) -> None:
        """Break off as a crash would: running calls end at once, the socket's file stays behind."""
        self._server.stop(None)

    async def stop(self, grace: float) -> None:
        """No new calls; running ones get ``grace`` seconds."""
        self._bound.unlink()
        await asyncio.to_thread(self._server.stop(grace).wait)


def socket_of(endpoint: str) -> Path:
    """The endpoint as a path; the driver finds a provider as ``<name>.sock``, with a name of letters, digits,
    ``_`` and ``-``.
    """
    found = parse_endpoint(endpoint)
    if not isinstance(found, UnixEndpoint):
        raise ConfigurationError(
            f"invalid endpoint: {endpoint} (a provider is served on a Unix socket: unix:///path/to/<name>.sock)"
        )
    if not _SOCKET_NAME.fullmatch(Path(found.path).name):
        raise ConfigurationError(
            f"{found.path} must end in <name>.sock, the name 1 to 30 letters, digits, _ or -: the driver looks for it"
        )
    return Path(found.path)


@asynccontextmanager
async def served(provider: Provider, endpoint: str) -> AsyncIterator[Serving]:
    """Serve for as long as the context lasts; at its end the socket goes first, then running calls get their grace."""
    path = socket_of(endpoint)
    sockets.refuse_non_socket(path)
    threads = concurrent.futures.ThreadPoolExecutor(MOST_CALLS, "mount")
    server = grpc.server(threads)
    server.add_generic_rpc_handlers((_Service(provider, asyncio.get_running_loop()).handlers(),))
    hidden = sockets.hidden_path(path)
    with sockets.private_umask():
        try:
            server.add_insecure_port(f"unix:{hidden}")
        except RuntimeError as error:  # grpc's own way to say that it cannot bind
            raise ConfigurationError(f"cannot listen on {path}: {redact.text(error)}") from None
    server.start()
    serving = Serving(server, sockets.move_into_place(hidden, path))
    try:
        yield serving
    finally:
        await serving.stop(GRACE_SECONDS)
        threads.shutdown(wait=False)


async def serve(provider: Provider, endpoint: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    with stop_event() as stop:
        async with served(provider, endpoint) as serving:
            log.info("Serving", provider=provider.name, socket=serving.path)
            await stop.wait()


def run_command(
    program: str, config_type: type[C], make: Callable[[C], Provider], argv: Sequence[str] | None = None
) -> int:
    """A provider's ``main``: flags, logs, signals; returns the exit code. ``make`` builds the provider from the
    parsed flags.
    """

    async def work(config: C) -> None:
        await serve(make(config), config.endpoint)

    def run(config: C) -> int:
        logs.configure("provider", as_json=config.log_format_json, verbosity=config.v)
        return process.run(work(config))

    return process.start(FlagSet(program).add(config_type), config_type, sys.argv[1:] if argv is None else argv, run)


class _Service:
    """Runs in gRPC's threads; the provider's own coroutine runs on the loop."""

    def __init__(self, provider: Provider, loop: asyncio.AbstractEventLoop) -> None:
        self._provider = provider
        self._loop = loop

    def handlers(self) -> grpc.GenericRpcHandler:
        """Not the generated registration: gRPC withholds the call's details, ``:authority`` among them, from
        methods registered by name.
        """
        messages = provider_pb2
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Version": grpc.unary_unary_rpc_method_handler(
                    self.version, messages.VersionRequest.FromString, messages.VersionResponse.SerializeToString
                ),
                "Mount": grpc.unary_unary_rpc_method_handler(
                    self.mount, messages.MountRequest.FromString, messages.MountResponse.SerializeToString
                ),
            },
        )

    def version(self, request: provider_pb2.VersionRequest, context: Any) -> provider_pb2.VersionResponse:
        """What the driver's health check reads."""
        _check_authority(context)
        return provider_pb2.VersionResponse(
            version=API_VERSION, runtime_name=self._provider.name, runtime_version=self._provider.version
        )

    def mount(self, request: provider_pb2.MountRequest, context: Any) -> provider_pb2.MountResponse:
        """One volume."""
        if log.enabled(rpc.REQUEST_VERBOSITY):
            shown = redact.message(request)
            log.verbose(rpc.REQUEST_VERBOSITY, "request", request=shown, deadline=context.time_remaining())
        _check_authority(context)
        try:
            return self._finish(context, self._mount(request))
        except ReplyError as refusal:
            return provider_pb2.MountResponse(error=provider_pb2.Error(code=refusal.code))
        except Failure as failure:
            _abort(context, rpc.code_of(failure), redact.text(failure))
        except concurrent.futures.CancelledError:
            _abort(context, grpc.StatusCode.CANCELLED, "the call was cancelled")
        except Exception as bug:  # the boundary: whatever else comes here is a bug, told in the log only
            log.error("Mount ended with a bug", exc=bug, provider=self._provider.name)
            _abort(context, grpc.StatusCode.INTERNAL, "internal error; the provider's log has the details")

    async def _mount(self, message: provider_pb2.MountRequest) -> provider_pb2.MountResponse:
        request = read_request(message)
        reply = await self._provider.mount(request)
        return write_reply(reply, request.permission) if isinstance(reply, MountReply) else reply

    def _finish(self, context: Any, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        context.add_callback(future.cancel)  # a caller that gave up, or a server that stops, ends the work
        return future.result()


def _check_authority(context: Any) -> None:
    # gRPC's Python API has no accessor for it (grpc/grpc#38906); the context's event holds the call's details.
    found = context._rpc_event.call_details.host.decode(errors="replace")
    if found != AUTHORITY:
        failure = InvalidRequest(
            f":authority is {found!r}: call with {AUTHORITY!r} (the channel option grpc.default_authority)"
        )
        _abort(context, rpc.code_of(failure), redact.text(failure))


def _abort(context: Any, code: grpc.StatusCode, sentence: str) -> NoReturn:
    context.abort(code, sentence)
    raise AssertionError("abort() returned")
