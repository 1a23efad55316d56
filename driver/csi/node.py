"""CSI Node. Failures become status codes in ``runtime.rpc``."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

from driver.config import DriverConfig
from driver.csi.stats import volume_stats
from driver.publish.publisher import Publisher
from driver.publish.request import PublishRequest
from driver.publish.stopping import Stopping
from driver.publish.unpublisher import Unpublisher
from driver.registry import VolumeRegistry
from protos import csi_pb2
from runtime import redact
from runtime.errors import InvalidRequest, Unimplemented

# Kubelet's own deadline, for callers that set none.
DEFAULT_DEADLINE_SECONDS = 120.0
# We answer before the caller gives up, because only we know the reason of the delay.
MAX_MARGIN_SECONDS = 1.0
MARGIN = 0.05

_RPC = csi_pb2.NodeServiceCapability.RPC


class NodeService:
    """The CSI service that runs on each node. It offers no staging: ephemeral volumes are never staged."""

    DESCRIPTOR = csi_pb2.DESCRIPTOR.services_by_name["Node"]

    def __init__(
        self,
        config: DriverConfig,
        volumes: VolumeRegistry,
        publisher: Publisher,
        unpublisher: Unpublisher,
        stopping: Stopping,
    ) -> None:
        self._config = config
        self._volumes = volumes
        self._publisher = publisher
        self._unpublisher = unpublisher
        self._stopping = stopping
        self._running: set[asyncio.Task[None]] = set()
        self._capabilities = csi_pb2.NodeGetCapabilitiesResponse(
            capabilities=[csi_pb2.NodeServiceCapability(rpc=_RPC(type=kind)) for kind in _capabilities(config)]
        )

    async def NodeGetInfo(self, request: csi_pb2.NodeGetInfoRequest, context: Any) -> csi_pb2.NodeGetInfoResponse:
        """The node's name; no limit of volumes and no topology."""
        return csi_pb2.NodeGetInfoResponse(node_id=self._config.nodeid)

    async def NodeGetCapabilities(
        self,
        request: csi_pb2.NodeGetCapabilitiesRequest,
        context: Any,
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """The capabilities that the flags allow; built only once, as kubelet asks twice before each publish."""
        return self._capabilities

    async def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: Any
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Publish a volume; the steps are in ``driver.publish.publisher``."""
        deadline = _deadline(context)
        try:
            checked = PublishRequest.parse(
                request,
                pods_dir=self._config.kubelet_pods_dir,
                apply_group=self._config.apply_volume_mount_group,
                context_tokens=self._config.accept_context_tokens,
            )
        except InvalidRequest:
            self._publisher.count_invalid_request()
            raise
        await self._run_to_end(self._publisher.publish(checked, deadline))
        return csi_pb2.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Unmount and remove a volume; see ``driver.publish.unpublisher``."""
        await self._run_to_end(self._unpublisher.unpublish(request.volume_id, request.target_path, _deadline(context)))
        return csi_pb2.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(
        self,
        request: csi_pb2.NodeGetVolumeStatsRequest,
        context: Any,
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """The usage of a volume, and with ``--volume-condition`` its condition; never waits for the target's lock."""
        return await volume_stats(request, self._volumes, self._config)

    async def NodeExpandVolume(
        self,
        request: csi_pb2.NodeExpandVolumeRequest,
        context: Any,
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Not implemented."""
        raise Unimplemented("NodeExpandVolume is not implemented")

    def stop(self) -> None:
        """The driver stops: no operation waits any longer for what may be away."""
        self._stopping.stop()

    async def drain(self) -> None:
        """Wait for all operations, also those whose callers have disconnected."""
        if self._running:
            await asyncio.wait(self._running)

    async def _run_to_end(self, operation: Coroutine[Any, Any, None]) -> None:
        """Run an operation to its end even if the caller disconnects: a thread that writes or unmounts cannot be
        cancelled. The call's secrets stay masked as long, though the call may end before."""
        held = ExitStack()
        held.enter_context(redact.held())
        task = asyncio.create_task(operation)
        task.add_done_callback(lambda _: held.close())
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Retrieved, because asyncio logs it otherwise; the operation has logged and counted its failure already.
            task.exception()


def _deadline(context: Any) -> float:
    """The event loop time by which we answer: a little before the caller's deadline."""
    left = context.time_remaining()
    seconds = DEFAULT_DEADLINE_SECONDS if left is None else left - min(MAX_MARGIN_SECONDS, left * MARGIN)
    return float(asyncio.get_running_loop().time() + min(seconds, DEFAULT_DEADLINE_SECONDS))


def _capabilities(config: DriverConfig) -> list["_RPC.Type.ValueType"]:
    capabilities = [_RPC.GET_VOLUME_STATS]
    if config.apply_volume_mount_group:
        capabilities.append(_RPC.VOLUME_MOUNT_GROUP)
    if config.volume_condition:
        capabilities.append(_RPC.VOLUME_CONDITION)
    return capabilities
