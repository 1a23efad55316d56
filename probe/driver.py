"""Asks the driver whether it is well: one kept channel, one call in flight for all that ask at the same time."""

import asyncio
import time
from dataclasses import dataclass

import grpc.aio
from prometheus_client import CollectorRegistry, Histogram

from protos import csi_pb2, csi_pb2_grpc
from runtime import redact, rpc

METHOD = "/csi.v1.Identity/Probe"
UNKNOWN_DRIVER = "unknown-driver"
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600)
NOT_CONNECTED = "context deadline exceeded"
_LOST = grpc.StatusCode.UNAVAILABLE
# A driver that restarts is seen again at once.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
)


@dataclass(frozen=True)
class Verdict:
    """How the driver answered: ``text`` is livenessprobe's body for it."""

    healthy: bool
    text: str


class DriverProbe:
    """The driver behind one socket. ``answered`` tells whether it has ever answered."""

    def __init__(self, path: str, timeout: float, registry: CollectorRegistry) -> None:
        self.answered = False
        self.name = UNKNOWN_DRIVER
        self._path = path
        self._timeout = timeout
        self._asking: asyncio.Task[Verdict] | None = None
        self._seconds = Histogram(
            "csi_sidecar_operations_seconds",
            "[ALPHA] Container Storage Interface operation duration with gRPC error code status total",
            ("driver_name", "method_name", "grpc_status_code"), buckets=BUCKETS, registry=registry)
        self._connect()

    def _connect(self) -> None:
        self._channel = rpc.dial(self._path, _OPTIONS)
        self._identity = csi_pb2_grpc.IdentityStub(self._channel)

    async def ask(self) -> Verdict:
        """The driver's state within the timeout; who asks while an answer is awaited shares it."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, _: "asyncio.Task[Verdict]") -> None:
        self._asking = None

    async def _ask(self) -> Verdict:
        """Ask once; once more if the kept connection turns out to be that of a driver that is gone."""
        deadline = time.monotonic() + self._timeout
        verdict, lost = await self._try(deadline)
        return (await self._try(deadline))[0] if lost else verdict

    async def _try(self, deadline: float) -> tuple[Verdict, bool]:
        """The verdict, and whether the connection was lost on the way."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._channel.channel_ready()
        except TimeoutError:
            return Verdict(False, NOT_CONNECTED), False
        started, left = time.monotonic(), deadline - time.monotonic()
        code = grpc.StatusCode.OK
        try:
            if self.name == UNKNOWN_DRIVER:
                info = await self._identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest(), timeout=left)
                self.name = info.name or UNKNOWN_DRIVER
            reply = await self._identity.Probe(csi_pb2.ProbeRequest(), timeout=left)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            return Verdict(False, f"rpc error: code = {go_name(code)} desc = {_text(error)}"), code is _LOST
        finally:
            self._seconds.labels(self.name, METHOD, go_name(code)).observe(time.monotonic() - started)
        self.answered = True
        # An absent value is as good as true, as the CSI specification has it.
        if reply.HasField("ready") and not reply.ready.value:
            return Verdict(False, "driver responded but is not ready"), False
        return Verdict(True, "ok"), False

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


def _text(error: grpc.aio.AioRpcError) -> str:
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return NOT_CONNECTED
    return redact.text(error.details() or "")


def go_name(code: grpc.StatusCode) -> str:
    """``DEADLINE_EXCEEDED`` → ``DeadlineExceeded``, as Go writes codes; OK stays."""
    return {"OK": "OK", "CANCELLED": "Canceled"}.get(code.name) or "".join(
        part.capitalize() for part in code.name.split("_")
    )
