"""CSI Identity: the driver's name, version and readiness."""

from typing import Any

from driver.health import Health
from protos import csi_pb2
from runtime.version import build


class IdentityService:
    """Answers for kubelet's registration and for the liveness probe."""

    DESCRIPTOR = csi_pb2.DESCRIPTOR.services_by_name["Identity"]

    def __init__(self, name: str, health: Health) -> None:
        self._info = csi_pb2.GetPluginInfoResponse(name=name, vendor_version=build().version)
        self._health = health

    async def GetPluginInfo(self, request: csi_pb2.GetPluginInfoRequest, context: Any) -> csi_pb2.GetPluginInfoResponse:
        """The driver's name and version."""
        return self._info

    async def GetPluginCapabilities(
        self,
        request: csi_pb2.GetPluginCapabilitiesRequest,
        context: Any,
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """No capabilities. (The Go driver claims a controller service, all of which is unimplemented.)"""
        return csi_pb2.GetPluginCapabilitiesResponse()

    async def Probe(self, request: csi_pb2.ProbeRequest, context: Any) -> csi_pb2.ProbeResponse:
        """Not ready only while the driver starts, and for problems that a restart of the container solves."""
        reply = csi_pb2.ProbeResponse()
        reply.ready.value = self._health.ready
        return reply
