"""NodeGetVolumeStats over a real socket."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos import csi_pb2
from tests.support.rig import rig


def test_stats(tmp_path: Path) -> None:
    """The bytes and inodes of a mounted volume, and its condition only if the flag asks for it."""

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
def test_not_a_volume(tmp_path: Path, path: str, code: str) -> None:
    """A path that is not a mounted volume is NOT_FOUND; an empty one is INVALID_ARGUMENT."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await it.node.NodeGetVolumeStats(csi_pb2.NodeGetVolumeStatsRequest(volume_id="v", volume_path=path))
            assert error.value.code().name == code

    asyncio.run(run())
