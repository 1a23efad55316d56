"""CSI Node: check the request, call one function, answer. Failures become codes in ``runtime.rpc``."""

import asyncio
from typing import Any

from driver.config import DriverConfig
from driver.csi.stats import volume_stats
from driver.publish.publisher import Publisher
from driver.publish.request import PublishRequest
from driver.publish.unpublisher import Unpublisher
from protos import csi_pb2, csi_pb2_grpc
from runtime.errors import InvalidRequest, Unimplemented

# Kubelet gives two minutes; a caller without a deadline gets the same.
DEFAULT_DEADLINE_SECONDS = 120.0
# We answer ourselves before the caller gives up, with the reason that only we know.
LARGEST_MARGIN_SECONDS = 1.0
MARGIN = 0.05

_RPC = csi_pb2.NodeServiceCapability.RPC


class NodeService(csi_pb2_grpc.NodeServicer):
    """The node half of the driver. Staging is not offered: ephemeral volumes are never staged."""

    def __init__(self, config: DriverConfig, publisher: Publisher, unpublisher: Unpublisher) -> None:
        self._config = config
        self._publisher = publisher
        self._unpublisher = unpublisher
        self._running: set[asyncio.Task[None]] = set()
        self._capabilities = csi_pb2.NodeGetCapabilitiesResponse(
            capabilities=[csi_pb2.NodeServiceCapability(rpc=_RPC(type=kind)) for kind in _capabilities(config)]
        )

    async def NodeGetInfo(self, request: csi_pb2.NodeGetInfoRequest, context: Any) -> csi_pb2.NodeGetInfoResponse:
        """The node's name; no limit, no topology."""
        return csi_pb2.NodeGetInfoResponse(node_id=self._config.nodeid)

    async def NodeGetCapabilities(
        self,
        request: csi_pb2.NodeGetCapabilitiesRequest,
        context: Any,
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """Built once: kubelet asks twice before each publish."""
        return self._capabilities

    async def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: Any
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Publish one volume; the steps are in ``publish``."""
        deadline = _deadline(context)
        try:
            checked = PublishRequest.parse(
                request, pods_dir=self._config.kubelet_pods_dir, apply_group=self._config.apply_volume_mount_group
            )
        except InvalidRequest:
            self._publisher.count_refused()
            raise
        await self._finish(self._publisher.publish(checked, deadline))
        return csi_pb2.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Unmount and remove one volume; the rules are in ``unpublish``."""
        await self._finish(self._unpublisher.unpublish(request.volume_id, request.target_path, _deadline(context)))
        return csi_pb2.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(
        self,
        request: csi_pb2.NodeGetVolumeStatsRequest,
        context: Any,
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """Usage of a mounted target, and its condition if asked for by flag; never waits for the target's lock."""
        return await volume_stats(request, self._publisher.volumes, self._config)

    async def NodeExpandVolume(
        self,
        request: csi_pb2.NodeExpandVolumeRequest,
        context: Any,
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Not offered."""
        raise Unimplemented("NodeExpandVolume is not implemented")

    async def drain(self) -> None:
        """Wait for the operations whose callers have gone away."""
        if self._running:
            await asyncio.wait(self._running)

    async def _finish(self, operation: Any) -> None:
        """Run to its own end even if the caller hangs up: threads that write or unmount cannot be taken back
        half-way."""
        task = asyncio.create_task(operation)
        self._running.add(task)
        task.add_done_callback(self._finished)
        await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone; the operation itself has logged and counted the failure


def _deadline(context: Any) -> float:
    """Loop time by which we want to have answered."""
    left = context.time_remaining()
    seconds = DEFAULT_DEADLINE_SECONDS if left is None else left - min(LARGEST_MARGIN_SECONDS, left * MARGIN)
    return float(asyncio.get_running_loop().time() + min(seconds, DEFAULT_DEADLINE_SECONDS))


def _capabilities(config: DriverConfig) -> list["_RPC.Type.ValueType"]:
    offered = [_RPC.GET_VOLUME_STATS]
    if config.apply_volume_mount_group:
        offered.append(_RPC.VOLUME_MOUNT_GROUP)
    if config.volume_condition:
        offered.append(_RPC.VOLUME_CONDITION)
    return offered
