"""Asks the driver whether it is well: one kept channel, one call in flight for all that ask at the same time."""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry, Histogram

from protos import csi_pb2, csi_pb2_grpc
from runtime import logs, redact, rpc

PROBE, GET_PLUGIN_INFO = "/csi.v1.Identity/Probe", "/csi.v1.Identity/GetPluginInfo"
UNKNOWN_DRIVER = "unknown-driver"
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600)
NOT_CONNECTED = "context deadline exceeded"
# A driver that restarts is seen again at once. The second is the shortest time for a connection to be made, not a
# pause: a slow node needs it, and a frozen driver answers on the connection that waits for it.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 250),
)

log = logs.get(__name__)


@dataclass(frozen=True)
class ProbeResult:
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
        self._asking: asyncio.Task[ProbeResult] | None = None
        self._seconds = Histogram(
            "csi_sidecar_operations_seconds",
            "[ALPHA] Container Storage Interface operation duration with gRPC error code status total",
            ("driver_name", "method_name", "grpc_status_code"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._told: bool | None = None
        self._channel = rpc.dial(path, _OPTIONS)
        self._connection = rpc.Connection(self._channel)
        self._identity = csi_pb2_grpc.IdentityStub(self._channel)

    async def check(self) -> ProbeResult:
        """The driver's state within the timeout; who asks while an answer is awaited shares it."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, _: "asyncio.Task[ProbeResult]") -> None:
        self._asking = None

    async def _ask(self) -> ProbeResult:
        """Ask once; once more if the kept connection turns out to be that of a driver that is gone."""
        deadline = time.monotonic() + self._timeout
        verdict, lost = await self._try(deadline)
        if lost:
            verdict, _ = await self._try(deadline)
        self._tell(verdict)
        return verdict

    async def _try(self, deadline: float) -> tuple[ProbeResult, bool]:
        """The verdict, and whether the connection was lost on the way."""
        if not await self._connection.wait_ready(max(0.0, deadline - time.monotonic())):
            return ProbeResult(False, NOT_CONNECTED if self.answered else self._never_answered()), False
        try:
            if self.name == UNKNOWN_DRIVER and not await self._learn_name(deadline):
                return ProbeResult(False, "driver name is empty"), False
            reply = await self._call(PROBE, self._identity.Probe, csi_pb2.ProbeRequest(), deadline)
        except grpc.aio.AioRpcError as error:
            verdict = ProbeResult(False, f"rpc error: code = {go_name(error.code())} desc = {_text(error)}")
            return verdict, self._channel.get_state() is not grpc.ChannelConnectivity.READY
        self.answered = True
        # An absent value is as good as true, as the CSI specification has it.
        if reply.HasField("ready") and not reply.ready.value:
            return ProbeResult(False, "driver responded but is not ready"), False
        return ProbeResult(True, "ok"), False

    def _never_answered(self) -> str:
        """livenessprobe has no words for this: it refuses connections until the driver has answered once."""
        what = "nobody answers there" if os.path.exists(self._path) else "that does not exist"
        return f"{NOT_CONNECTED}: the driver has not answered yet on {self._path}; {what}"

    async def _learn_name(self, deadline: float) -> bool:
        """Once, for the metrics' label. A driver without a name is of no use to kubelet; the original ends there."""
        request = csi_pb2.GetPluginInfoRequest()
        self.name = (await self._call(GET_PLUGIN_INFO, self._identity.GetPluginInfo, request, deadline)).name
        if self.name:
            return True
        self.name = UNKNOWN_DRIVER
        return False

    async def _call(self, method: str, call: Any, request: Any, deadline: float) -> Any:
        """One timed call; the original's labels tell it under the name that was known when it began."""
        started, name, code = time.monotonic(), self.name, grpc.StatusCode.OK
        try:
            return await call(request, timeout=deadline - started)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            raise
        finally:
            self._seconds.labels(name, method, go_name(code)).observe(time.monotonic() - started)

    def _tell(self, verdict: ProbeResult) -> None:
        """One line when it changes, not one an asker."""
        if verdict.healthy is not self._told:
            self._told = verdict.healthy
            if verdict.healthy:
                log.info("The driver is well", driver=self.name)
            else:
                log.warning("The driver is not well", reason=verdict.text)

    async def close(self) -> None:
        """Close the channel."""
        await self._connection.close()


def _text(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    return NOT_CONNECTED if details == rpc.DEADLINE_DETAILS else redact.text(details)


def go_name(code: grpc.StatusCode) -> str:
    """``DEADLINE_EXCEEDED`` → ``DeadlineExceeded``, as Go writes codes; OK stays."""
    return {"OK": "OK", "CANCELLED": "Canceled"}.get(code.name) or "".join(
        part.capitalize() for part in code.name.split("_")
    )
