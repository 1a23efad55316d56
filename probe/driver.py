"""Checks the driver's health; concurrent checks share one call.

The connection is kept only while the socket's path leads to the same driver: kubelet dials the path for each call."""

import asyncio
import os
import time
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, Histogram

from protos import csi_pb2
from runtime import logs, redact, rpc

PROBE, GET_PLUGIN_INFO = "/csi.v1.Identity/Probe", "/csi.v1.Identity/GetPluginInfo"
UNKNOWN_DRIVER = "unknown-driver"
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600)
NOT_CONNECTED = "context deadline exceeded"
STOPPING = "the probe is stopping"

log = logs.get(__name__)

Reply = TypeVar("Reply", bound=Message)


class ProbeResult(NamedTuple):
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
        self._channel = rpc.SocketChannel(path)

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
        try:
            result, connection_lost = await self._try(deadline)
            if connection_lost:
                result, _ = await self._try(deadline)
        except asyncio.CancelledError:  # by ``stop``: nobody else has this task
            return ProbeResult(False, STOPPING)
        self._log_change(result)
        return result

    def stop(self) -> None:
        """End the check that is running: whoever waits for a driver that does not answer is answered now."""
        if self._running is not None:
            self._running.cancel()

    async def _try(self, deadline: float) -> tuple[ProbeResult, bool]:
        """The result, and whether the connection was lost meanwhile."""
        self._channel.renew()
        if not await self._channel.wait_ready(max(0.0, deadline - time.monotonic())):
            return ProbeResult(False, NOT_CONNECTED if self.answered else self._never_answered()), False
        try:
            if self.name == UNKNOWN_DRIVER and not await self._learn_name(deadline):
                return ProbeResult(False, "driver name is empty"), False
            reply = await self._call(PROBE, csi_pb2.ProbeRequest(), csi_pb2.ProbeResponse, deadline)
        except rpc.CallFailed as failure:
            result = ProbeResult(False, f"rpc error: code = {rpc.go_name(failure.code)} desc = {_text(failure)}")
            return result, not self._channel.ready
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
        self.name = (await self._call(GET_PLUGIN_INFO, request, csi_pb2.GetPluginInfoResponse, deadline)).name
        if self.name:
            return True
        self.name = UNKNOWN_DRIVER
        return False

    async def _call(self, method: str, request: Message, reply: type[Reply], deadline: float) -> Reply:
        """One call, measured. As in livenessprobe, ``driver_name`` is the name that was known when the call began."""
        started, name, code = time.monotonic(), self.name, rpc.StatusCode.OK
        try:
            return await self._channel.call(method, request, reply, deadline - started)
        except rpc.CallFailed as failure:
            code = failure.code
            raise
        finally:
            self._seconds.labels(name, method, rpc.go_name(code)).observe(time.monotonic() - started)

    def _log_change(self, result: ProbeResult) -> None:
        """Log when the driver's health changes, not with each check."""
        if result.healthy is not self._logged_healthy:
            self._logged_healthy = result.healthy
            if result.healthy:
                log.info("The driver is healthy", driver=self.name)
            else:
                log.warning("The driver is unhealthy", reason=result.text)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _text(failure: rpc.CallFailed) -> str:
    return NOT_CONNECTED if failure.is_unanswered else redact.text(failure.details)
