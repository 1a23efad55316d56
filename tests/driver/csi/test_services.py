"""Identity, Controller and the small Node calls, over a real socket."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from protos import csi_pb2, csi_pb2_grpc
from runtime import rpc
from runtime.version import build
from tests.driver.volume.support import mount_dead
from tests.support.rig import NODE, rig

CONTROLLER_METHODS = [
    method.name
    for method in csi_pb2.DESCRIPTOR.services_by_name["Controller"].methods
    if method.name != "ControllerGetCapabilities"
]
_NODE = csi_pb2.NodeServiceCapability.RPC


def test_identity(tmp_path: Path) -> None:
    """Name, version, no capability, and ready once it serves."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            info = await it.identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest())
            assert (info.name, info.vendor_version) == ("secrets-store.csi.k8s.io", build().version)
            assert (
                len((await it.identity.GetPluginCapabilities(csi_pb2.GetPluginCapabilitiesRequest())).capabilities) == 0
            )
            probe = await it.identity.Probe(csi_pb2.ProbeRequest())
            assert probe.HasField("ready") and probe.ready.value

    asyncio.run(run())


@pytest.mark.parametrize("name", CONTROLLER_METHODS)
def test_controller_is_unimplemented(tmp_path: Path, name: str) -> None:
    """Every controller method but one answers UNIMPLEMENTED."""

    async def run() -> None:
        async with rig(tmp_path) as it, rpc.dial(f"{it.directory}/csi.sock") as channel:
            stub: Any = csi_pb2_grpc.ControllerStub(channel)
            request = getattr(csi_pb2, f"{name}Request")()
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await getattr(stub, name)(request)
            assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(run())


def test_controller_capabilities(tmp_path: Path) -> None:
    """One capability of type UNKNOWN, as the Go driver tells."""

    async def run() -> None:
        async with rig(tmp_path) as it, rpc.dial(f"{it.directory}/csi.sock") as channel:
            stub = csi_pb2_grpc.ControllerStub(channel)
            reply = await stub.ControllerGetCapabilities(csi_pb2.ControllerGetCapabilitiesRequest())
            assert [item.rpc.type for item in reply.capabilities] == [0]

    asyncio.run(run())


@pytest.mark.parametrize(
    "config, expected",
    [
        ({}, {_NODE.GET_VOLUME_STATS, _NODE.VOLUME_MOUNT_GROUP}),
        ({"apply_volume_mount_group": False}, {_NODE.GET_VOLUME_STATS}),
        ({"volume_condition": True}, {_NODE.GET_VOLUME_STATS, _NODE.VOLUME_MOUNT_GROUP, _NODE.VOLUME_CONDITION}),
    ],
)
def test_node_capabilities(tmp_path: Path, config: dict[str, bool], expected: set[int]) -> None:
    """What is offered follows the flags."""

    async def run() -> None:
        async with rig(tmp_path, **config) as it:
            reply = await it.node.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest())
            assert {item.rpc.type for item in reply.capabilities} == expected
            assert (await it.node.NodeGetInfo(csi_pb2.NodeGetInfoRequest())).node_id == NODE

    asyncio.run(run())


def test_stats(tmp_path: Path) -> None:
    """A mounted volume's bytes and inodes; a condition only if asked for."""

    async def run() -> None:
        async with rig(tmp_path, tmpfs_size=65536) as it:
            volume = it.volume()
            await volume.publish()
            reply = await it.node.NodeGetVolumeStats(
                csi_pb2.NodeGetVolumeStatsRequest(volume_id="v", volume_path=str(volume.target))
            )
            usage = {item.unit: item for item in reply.usage}
            assert usage[csi_pb2.VolumeUsage.BYTES].total == 65536
            assert usage[csi_pb2.VolumeUsage.BYTES].used > 0 and usage[csi_pb2.VolumeUsage.INODES].used > 0
            assert not reply.HasField("volume_condition")

    asyncio.run(run())


@pytest.mark.parametrize(
    "path, code",
    [("", "INVALID_ARGUMENT"), ("/nowhere", "NOT_FOUND"), ("/tmp", "NOT_FOUND"), ("/dev/shm", "NOT_FOUND")],
)
def test_stats_of_what_is_no_volume(tmp_path: Path, path: str, code: str) -> None:
    """Any path that is no mounted target is NOT_FOUND; no path is INVALID_ARGUMENT."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await it.node.NodeGetVolumeStats(csi_pb2.NodeGetVolumeStatsRequest(volume_id="v", volume_path=path))
            assert error.value.code().name == code

    asyncio.run(run())


@pytest.mark.parametrize(
    "volume_id, path, code",
    [
        ("", "/x", "INVALID_ARGUMENT"),
        ("v", "", "INVALID_ARGUMENT"),
        ("v", "/etc", "INVALID_ARGUMENT"),
        ("v", "/nowhere/at/all", None),
    ],
)
def test_unpublish_of_what_is_no_target(tmp_path: Path, volume_id: str, path: str, code: str | None) -> None:
    """A path that does not exist is done already; one that exists and is no target is refused and stays."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=path)
            try:
                await it.node.NodeUnpublishVolume(request)
                assert code is None
            except grpc.aio.AioRpcError as error:
                assert error.code().name == code
            assert Path("/etc/passwd").exists()

    asyncio.run(run())


def test_unpublish_of_a_dead_mount(tmp_path: Path) -> None:
    """A target that cannot be looked at, because the file system mounted there has lost its server, is unmounted and
    removed, and not taken for one that is gone."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            volume.target.mkdir(parents=True)
            mount_dead(volume.target)
            await volume.unpublish()
            assert not volume.mounted and volume.left_on_disk == []

    asyncio.run(run())


def test_expand_is_unimplemented(tmp_path: Path) -> None:
    """With the Go driver's sentence."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await it.node.NodeExpandVolume(csi_pb2.NodeExpandVolumeRequest())
            assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert error.value.details() == "NodeExpandVolume is not implemented"

    asyncio.run(run())
