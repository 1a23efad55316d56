"""Calls to a driver's Node service, each over a new connection that is closed afterwards, as in kubelet's
csi_client.go.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from kubelet_stub.dialing import dial
from protos import csi_pb2 as csi
from protos import csi_pb2_grpc as csi_grpc
from runtime import redact, rpc
from runtime.endpoints import parse_csi_address

Capability = csi.NodeServiceCapability.RPC


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A new connection; a gRPC error inside the context is raised as a RemoteFailure with its code."""
    channel = dial(parse_csi_address(address).path)
    try:
        yield channel
    except grpc.aio.AioRpcError as error:
        raise rpc.RemoteFailure(error.code(), redact.text(error.details() or "")) from None
    finally:
        await channel.close()


class NodeClient:
    """The Node service at ``endpoint``. Each method has a limit in seconds and raises RemoteFailure."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    async def info(self, seconds: float) -> csi.NodeGetInfoResponse:
        """NodeGetInfo."""
        async with connect(self.endpoint) as channel:
            return await csi_grpc.NodeStub(channel).NodeGetInfo(csi.NodeGetInfoRequest(), timeout=seconds)

    async def has(self, capability: "Capability.Type.ValueType", seconds: float) -> bool:
        """NodeGetCapabilities, not cached, as in kubelet."""
        async with connect(self.endpoint) as channel:
            reply = await csi_grpc.NodeStub(channel).NodeGetCapabilities(
                csi.NodeGetCapabilitiesRequest(), timeout=seconds
            )
        return any(item.rpc.type == capability for item in reply.capabilities)

    async def publish(self, request: csi.NodePublishVolumeRequest, seconds: float) -> None:
        """NodePublishVolume."""
        async with connect(self.endpoint) as channel:
            await csi_grpc.NodeStub(channel).NodePublishVolume(request, timeout=seconds)

    async def unpublish(self, volume_id: str, target: str, seconds: float) -> None:
        """NodeUnpublishVolume."""
        request = csi.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=target)
        async with connect(self.endpoint) as channel:
            await csi_grpc.NodeStub(channel).NodeUnpublishVolume(request, timeout=seconds)

    async def stats(self, volume_id: str, target: str, seconds: float) -> csi.NodeGetVolumeStatsResponse:
        """NodeGetVolumeStats."""
        request = csi.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=target)
        async with connect(self.endpoint) as channel:
            return await csi_grpc.NodeStub(channel).NodeGetVolumeStats(request, timeout=seconds)
