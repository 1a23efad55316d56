"""Target paths that cannot be used, and what a failure leaves there."""

import asyncio
import errno
import os
from pathlib import Path

import grpc
import grpc.aio
import pytest

from driver.volume import walk
from tests.support import needs
from tests.support.mounts import bind, make_read_only
from tests.support.rig import Rig, Volume, rig


@pytest.mark.parametrize(
    "kind, code", [("symlink", "INVALID_ARGUMENT"), ("file", "INVALID_ARGUMENT"), ("not tmpfs", "ABORTED")]
)
def test_hostile_targets(tmp_path: Path, kind: str, code: str) -> None:
    """A target that is a symlink, a file or another mount is rejected and stays as it is; for a mount the code is not
    final."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            elsewhere = tmp_path / "elsewhere"
            elsewhere.mkdir()
            (elsewhere / "keep").write_text("kept")
            volume.target.parent.mkdir(parents=True)
            if kind == "symlink":
                volume.target.symlink_to(elsewhere)
            elif kind == "file":
                volume.target.write_text("file")
            else:
                volume.target.mkdir()
                bind(elsewhere, volume.target)
            found, text = await volume.failure()
            assert found.name == code
            assert f"target path {volume.target}" in text and "on the node" in text
            assert (elsewhere / "keep").read_text() == "kept"
            assert sorted(item.name for item in elsewhere.iterdir()) == ["keep"]
            assert volume.mounted == (kind == "not tmpfs")

    asyncio.run(run())


def test_full_tmpfs(tmp_path: Path) -> None:
    """A reply that does not fit is RESOURCE_EXHAUSTED, names the flag, and leaves nothing."""

    async def run() -> None:
        async with rig(tmp_path, tmpfs_size=16384) as it:
            it.provider.put("password", "x" * 100_000)
            volume = it.volume()
            code, text = await volume.failure()
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "--tmpfs-size" in text
            assert not volume.mounted and volume.left_on_disk == []

    asyncio.run(run())


def test_read_only_directory(tmp_path: Path) -> None:
    """Kubelet's directory is read-only: INTERNAL says so, and nothing is left."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            volume.target.parent.mkdir(parents=True)
            bind(it.pods_dir, it.pods_dir)
            make_read_only(it.pods_dir)
            code, text = await volume.failure()
            assert code == grpc.StatusCode.INTERNAL
            assert "read-only; remount it writable" in text
            assert not volume.mounted and volume.left_on_disk == []

    asyncio.run(run())


def test_read_only_volume(tmp_path: Path) -> None:
    """A tmpfs that an earlier attempt left has become read-only: INTERNAL, and it is unmounted, so that the next
    attempt works."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            await leave_mounted(it, volume)
            make_read_only(volume.target)
            code, text = await volume.failure()
            assert code == grpc.StatusCode.INTERNAL
            assert "failed to write files" in text and "read-only" in text
            assert not volume.mounted and volume.left_on_disk == []
            await volume.publish()
            assert volume.read() == b"s3cret"

    asyncio.run(run())


async def leave_mounted(it: Rig, volume: Volume) -> None:
    """An empty tmpfs at the target, as a killed driver leaves it."""
    from driver.volume import operations

    volume.target.parent.mkdir(parents=True)
    await it.driver.disk.run(operations.prepare, str(volume.target), 1 << 20, False, {})


def test_target_that_cannot_be_inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be inspected may be mounted: ABORTED with the reason, never a final code."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()

            def refuse(*_: object) -> int:
                raise OSError(errno.EMFILE, "x")

            with monkeypatch.context() as patch:
                patch.setattr(walk, "descend", refuse)
                code, text = await volume.failure()
            assert code == grpc.StatusCode.ABORTED
            assert "Too many open files" in text
            await volume.publish()

    asyncio.run(run())


def test_volume_mount_group(tmp_path: Path) -> None:
    """The group may read what the owner may read, and write nothing; an unchanged republish replaces nothing."""
    needs.group(4242)

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(parameters={"objects": "- objectName: password\n  filePermission: '0600'"})
            volume = it.volume(group="4242")
            await volume.publish()
            found = (volume.target / "password").stat()
            assert (found.st_gid, oct(found.st_mode & 0o777)) == (4242, "0o640")
            before = os.readlink(volume.target / "..data")
            published = it.driver.volumes.get(str(volume.target))
            assert published is not None
            published.refreshed_at = None
            await volume.publish()
            assert it.provider.calls == 2
            assert os.readlink(volume.target / "..data") == before

    asyncio.run(run())
