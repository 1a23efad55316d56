"""Checks the driver's health over one channel that is kept; concurrent checks share one call."""

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
# Reconnect quickly to a driver that restarts. The second option is not a delay but the least time that an attempt to
# connect is given: a slow node needs it, and a frozen driver answers on the connection that is waiting for it.
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 250),
)

log = logs.get(__name__)


@dataclass(frozen=True)
class ProbeResult:
    """The outcome of a health check; ``text`` is the response body, in livenessprobe's words."""

    healthy: bool
    text: str


class DriverProbe:
    """Health checks of the driver behind one socket. ``answered`` is whether it has ever answered one; ``name`` is the
    driver's name once it is known."""

    def __init__(self, path: str, timeout: float, registry: CollectorRegistry) -> None:
        self.answered = False
        self.name = UNKNOWN_DRIVER
        self._path = path
        self._timeout = timeout
        self._running: asyncio.Task[ProbeResult] | None = None
        self._seconds = Histogram(
            "csi_sidecar_operations_seconds",
            "[ALPHA] Container Storage Interface operation duration with gRPC error code status total",
            ("driver_name", "method_name", "grpc_status_code"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._logged_healthy: bool | None = None
        self._channel = rpc.dial(path, _RECONNECT)
        self._connection = rpc.Connection(self._channel)
        self._identity = csi_pb2_grpc.IdentityStub(self._channel)

    async def check(self) -> ProbeResult:
        """The result of a check, within the timeout; joins a check that is already running."""
        if self._running is None:
            self._running = asyncio.create_task(self._check())
            self._running.add_done_callback(self._on_checked)
        return await asyncio.shield(self._running)

    def _on_checked(self, _: "asyncio.Task[ProbeResult]") -> None:
        self._running = None

    async def _check(self) -> ProbeResult:
        """Try twice if the kept connection turns out to lead to a driver that has ended."""
        deadline = time.monotonic() + self._timeout
        result, connection_lost = await self._try(deadline)
        if connection_lost:
            result, _ = await self._try(deadline)
        self._log_change(result)
        return result

    async def _try(self, deadline: float) -> tuple[ProbeResult, bool]:
        """The result, and whether the connection was lost meanwhile."""
        if not await self._connection.wait_ready(max(0.0, deadline - time.monotonic())):
            return ProbeResult(False, NOT_CONNECTED if self.answered else self._never_answered()), False
        try:
            if self.name == UNKNOWN_DRIVER and not await self._learn_name(deadline):
                return ProbeResult(False, "driver name is empty"), False
            reply = await self._call(PROBE, self._identity.Probe, csi_pb2.ProbeRequest(), deadline)
        except grpc.aio.AioRpcError as error:
            result = ProbeResult(False, f"rpc error: code = {go_name(error.code())} desc = {_text(error)}")
            return result, self._channel.get_state() is not grpc.ChannelConnectivity.READY
        self.answered = True
        # An absent value means ready: https://github.com/container-storage-interface/spec/blob/master/spec.md#probe
        if reply.HasField("ready") and not reply.ready.value:
            return ProbeResult(False, "driver responded but is not ready"), False
        return ProbeResult(True, "ok"), False

    def _never_answered(self) -> str:
        """livenessprobe has no text for this: it refuses connections until the driver has answered once."""
        what = "nobody answers there" if os.path.exists(self._path) else "the socket does not exist"
        return f"{NOT_CONNECTED}: the driver has not answered yet on {self._path}; {what}"

    async def _learn_name(self, deadline: float) -> bool:
        """Ask for the name, once, for a label of the metrics; False if it is empty. kubelet cannot use a driver without
        a name, and livenessprobe exits if it finds one."""
        request = csi_pb2.GetPluginInfoRequest()
        self.name = (await self._call(GET_PLUGIN_INFO, self._identity.GetPluginInfo, request, deadline)).name
        if self.name:
            return True
        self.name = UNKNOWN_DRIVER
        return False

    async def _call(self, method: str, call: Any, request: Any, deadline: float) -> Any:
        """One call, measured. As in livenessprobe, ``driver_name`` is the name that was known when the call began."""
        started, name, code = time.monotonic(), self.name, grpc.StatusCode.OK
        try:
            return await call(request, timeout=deadline - started)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            raise
        finally:
            self._seconds.labels(name, method, go_name(code)).observe(time.monotonic() - started)

    def _log_change(self, result: ProbeResult) -> None:
        """Log when the driver's health changes, not with each check."""
        if result.healthy is not self._logged_healthy:
            self._logged_healthy = result.healthy
            if result.healthy:
                log.info("The driver is healthy", driver=self.name)
            else:
                log.warning("The driver is unhealthy", reason=result.text)

    async def close(self) -> None:
        """Close the channel."""
        await self._connection.close()


def _text(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    return NOT_CONNECTED if details == rpc.DEADLINE_DETAILS else redact.text(details)


def go_name(code: grpc.StatusCode) -> str:
    """A code in Go's spelling: ``DEADLINE_EXCEEDED`` → ``DeadlineExceeded``."""
    return {"OK": "OK", "CANCELLED": "Canceled"}.get(code.name) or "".join(
        part.capitalize() for part in code.name.split("_")
    )
