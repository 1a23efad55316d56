"""The small methods of CSI Node over a real socket."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos import csi_pb2
from tests.support.rig import NODE, rig

_NODE = csi_pb2.NodeServiceCapability.RPC


@pytest.mark.parametrize(
    "config, expected",
    [
        ({}, {_NODE.GET_VOLUME_STATS, _NODE.VOLUME_MOUNT_GROUP}),
        ({"apply_volume_mount_group": False}, {_NODE.GET_VOLUME_STATS}),
        ({"volume_condition": True}, {_NODE.GET_VOLUME_STATS, _NODE.VOLUME_MOUNT_GROUP, _NODE.VOLUME_CONDITION}),
    ],
)
def test_capabilities(tmp_path: Path, config: dict[str, bool], expected: set[int]) -> None:
    """The capabilities follow the flags."""

    async def run() -> None:
        async with rig(tmp_path, **config) as it:
            reply = await it.node.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest())
            assert {item.rpc.type for item in reply.capabilities} == expected
            assert (await it.node.NodeGetInfo(csi_pb2.NodeGetInfoRequest())).node_id == NODE

    asyncio.run(run())


def test_expand(tmp_path: Path) -> None:
    """UNIMPLEMENTED, with the Go driver's text."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await it.node.NodeExpandVolume(csi_pb2.NodeExpandVolumeRequest())
            assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert error.value.details() == "NodeExpandVolume is not implemented"

    asyncio.run(run())
