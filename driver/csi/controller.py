"""CSI Controller: nothing to control. csi-sanity wants a non-empty capability list, so one of type UNKNOWN is told,
as the Go driver does."""

from typing import Any

from protos import csi_pb2, csi_pb2_grpc


class ControllerService(csi_pb2_grpc.ControllerServicer):
    """Every other method answers UNIMPLEMENTED by inheritance."""

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
