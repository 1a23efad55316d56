"""CSI Controller: there is nothing to control. csi-sanity requires a non-empty list of capabilities, so there is one of
type UNKNOWN, as in the Go driver."""

from typing import Any

from protos import csi_pb2


class ControllerService:
    """All other methods answer UNIMPLEMENTED."""

    DESCRIPTOR = csi_pb2.DESCRIPTOR.services_by_name["Controller"]

    async def ControllerGetCapabilities(
        self,
        request: csi_pb2.ControllerGetCapabilitiesRequest,
        context: Any,
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        """One capability of type UNKNOWN (0)."""
        unknown = csi_pb2.ControllerServiceCapability.RPC(type=csi_pb2.ControllerServiceCapability.RPC.UNKNOWN)
        return csi_pb2.ControllerGetCapabilitiesResponse(
            capabilities=[csi_pb2.ControllerServiceCapability(rpc=unknown)]
        )
