"""The driver takes over volumes that the Go driver mounted, and leaves volumes that it can take over."""

import asyncio
import os
import re
from pathlib import Path

import yaml

from driver.volume import mounts
from tests.driver.volume.support import entries_of
from tests.support.mounts import mount_plain_tmpfs
from tests.support.rig import Rig, Volume, rig

STAMP = "..2026_01_02_03_04_05.123456789"


def mount_as_go_does(target: Path) -> None:
    """A tmpfs without options: its root has mode 1777, its size is the kernel's default."""
    target.mkdir(parents=True)
    mount_plain_tmpfs(target)


def write_as_go_does(target: Path, files: dict[str, bytes]) -> None:
    """Write the layout of the atomic writer."""
    for name, content in files.items():
        path = target / STAMP / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (target / "..data").symlink_to(STAMP)
    for name in {name.split("/")[0] for name in files}:
        (target / name).symlink_to(f"..data/{name}")


def record_as_go_does(it: Rig, volume: Volume, versions: dict[str, str]) -> None:
    """Write the pod status as the trio does."""
    directory = it.manifests / "podstatuses"
    directory.mkdir(exist_ok=True)
    (directory / "trio.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "secrets-store.csi.x-k8s.io/v1",
                "kind": "SecretProviderClassPodStatus",
                "metadata": {
                    "namespace": "default",
                    "name": "pod-1-default-app",
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "pod-1", "uid": "uid-pod-1"}],
                },
                "status": {
                    "podName": "pod-1",
                    "secretProviderClassName": "app",
                    "mounted": True,
                    "targetPath": str(volume.target),
                    "objects": [{"id": key, "version": value} for key, value in versions.items()],
                },
            }
        )
    )


def test_volume_of_the_go_driver(tmp_path: Path) -> None:
    """Republish: OK, untouched. Due: its content is replaced. Unpublish: gone."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await it.stop()
            mount_as_go_does(volume.target)
            write_as_go_does(volume.target, {"password": b"old", "gone/nested": b"old"})
            record_as_go_does(it, volume, {"secret/password": "v1"})
            await it.start()
            await volume.publish()
            assert it.provider.calls == 0 and volume.read() == b"old"
            found = it.driver.volumes.get(str(volume.target))
            assert found is not None
            found.refreshed_at = None
            await volume.publish()
            assert volume.read() == b"s3cret"
            assert sorted(name for name in os.listdir(volume.target) if not name.startswith("..")) == ["password"]
            assert STAMP not in os.listdir(volume.target)
            await volume.unpublish()
            assert not volume.target.exists()

    asyncio.run(run())


def test_self_written_volume_of_the_go_driver(tmp_path: Path) -> None:
    """Files that a provider wrote itself, without ..data: a failing publish leaves them alone and mounted (ABORTED),
    the next success commits them."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            await it.stop()
            mount_as_go_does(volume.target)
            (volume.target / "password").write_bytes(b"written by the provider")
            await it.start()
            it.write_class(parameters={"objects": "- objectName: password", "stubError": "NOT_FOUND"})
            code, _ = await volume.failure()
            assert code.name == "ABORTED"
            assert volume.read() == b"written by the provider" and mounts.is_tmpfs(str(volume.target))
            it.write_class(parameters={"objects": "- objectName: password", "stubReply": "no-files"})
            await volume.publish()
            assert volume.read() == b"written by the provider" and os.path.isdir(volume.target / "..data")
            await volume.unpublish()
            assert not volume.target.exists()

    asyncio.run(run())


def test_layout_is_that_of_the_go_driver(tmp_path: Path) -> None:
    """The layout that the Go driver's writer and Secret sync rely on: names, symlinks, a relative ..data."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.provider.put("nested/key", "k")
            it.write_class(parameters={"objects": "- objectName: password\n- objectName: nested/key\n"})
            volume = it.volume()
            await volume.publish()
            data = os.readlink(volume.target / "..data")
            assert re.fullmatch(r"\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+", data)
            assert entries_of(volume.target) == {data, "..data", "nested", "password"}
            assert os.readlink(volume.target / "password") == "..data/password"
            assert os.readlink(volume.target / "nested") == "..data/nested"

    asyncio.run(run())
