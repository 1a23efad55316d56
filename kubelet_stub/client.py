"""The driver's Node service as kubelet calls it: a new connection for each call, closed after it (csi_client.go)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from protos import csi_pb2 as csi
from protos import csi_pb2_grpc as csi_grpc
from runtime import redact, rpc
from runtime.endpoints import parse_csi_address

Capability = csi.NodeServiceCapability.RPC


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own; a gRPC error inside becomes a RemoteFailure with its code."""
    channel = rpc.dial(parse_csi_address(address).path)
    try:
        yield channel
    except grpc.aio.AioRpcError as error:
        raise rpc.RemoteFailure(error.code(), redact.text(error.details() or "")) from None
    finally:
        await channel.close()


class NodeClient:
    """One driver, by its endpoint. Every method ends with the reply or a RemoteFailure."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    async def info(self, timeout: float) -> csi.NodeGetInfoResponse:  # noqa: ASYNC109
        """NodeGetInfo."""
        async with connected(self.endpoint) as channel:
            return await csi_grpc.NodeStub(channel).NodeGetInfo(csi.NodeGetInfoRequest(), timeout=timeout)

    async def has(self, capability: "Capability.Type.ValueType", timeout: float) -> bool:  # noqa: ASYNC109
        """NodeGetCapabilities, asked anew each time as kubelet does."""
        async with connected(self.endpoint) as channel:
            reply = await csi_grpc.NodeStub(channel).NodeGetCapabilities(
                csi.NodeGetCapabilitiesRequest(), timeout=timeout
            )
        return any(item.rpc.type == capability for item in reply.capabilities)

    async def publish(self, request: csi.NodePublishVolumeRequest, timeout: float) -> None:  # noqa: ASYNC109
        """NodePublishVolume."""
        async with connected(self.endpoint) as channel:
            await csi_grpc.NodeStub(channel).NodePublishVolume(request, timeout=timeout)

    async def unpublish(self, volume_id: str, target: str, timeout: float) -> None:  # noqa: ASYNC109
        """NodeUnpublishVolume."""
        request = csi.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=target)
        async with connected(self.endpoint) as channel:
            await csi_grpc.NodeStub(channel).NodeUnpublishVolume(request, timeout=timeout)

    async def stats(self, volume_id: str, target: str, timeout: float) -> csi.NodeGetVolumeStatsResponse:  # noqa: ASYNC109
        """NodeGetVolumeStats."""
        request = csi.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=target)
        async with connected(self.endpoint) as channel:
            return await csi_grpc.NodeStub(channel).NodeGetVolumeStats(request, timeout=timeout)
