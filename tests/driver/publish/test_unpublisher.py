"""Unpublishing paths that are not volumes, or not any more."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos import csi_pb2
from tests.support.mounts import mount_dead
from tests.support.rig import rig


@pytest.mark.parametrize(
    "volume_id, path, code",
    [
        ("", "/x", "INVALID_ARGUMENT"),
        ("v", "", "INVALID_ARGUMENT"),
        ("v", "/etc", "INVALID_ARGUMENT"),
        ("v", "/nowhere/at/all", None),
    ],
)
def test_not_a_target(tmp_path: Path, volume_id: str, path: str, code: str | None) -> None:
    """A path that does not exist is a success; one that exists and is not a target path is rejected and stays."""

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


def test_dead_mount(tmp_path: Path) -> None:
    """A target that cannot be inspected, because the server of its file system is gone, is unmounted and removed, and
    does not pass for a missing one."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            volume.target.mkdir(parents=True)
            mount_dead(volume.target)
            await volume.unpublish()
            assert not volume.mounted and volume.left_on_disk == []

    asyncio.run(run())
