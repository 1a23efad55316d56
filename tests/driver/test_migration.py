"""Volumes that the Go driver mounted, in its layout (spec A.8), under our driver: taken over, rotated, unpublished;
and ours in its."""

import asyncio
import ctypes
import os
import re
from pathlib import Path

import yaml

from driver.volume import mounts
from tests.support.rig import Rig, Volume, rig

_libc = ctypes.CDLL(None, use_errno=True)
STAMP = "..2026_01_02_03_04_05.123456789"


def mount_as_go_does(target: Path) -> None:
    """tmpfs without options: root mode 1777, the kernel's size."""
    target.mkdir(parents=True)
    assert _libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", 0, None) == 0


def write_as_go_does(target: Path, files: dict[str, bytes]) -> None:
    """The atomic writer's layout."""
    for name, content in files.items():
        path = target / STAMP / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (target / "..data").symlink_to(STAMP)
    for name in {name.split("/")[0] for name in files}:
        (target / name).symlink_to(f"..data/{name}")


def record_as_go_does(it: Rig, volume: Volume, versions: dict[str, str]) -> None:
    """The pod status of the trio."""
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
    """Republish: OK, not touched; due: its versions are sent, the content is rotated; unpublish: gone."""

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
            found.last_refresh = 1.0
            await volume.publish()
            assert it.provider.last_request is not None
            assert it.provider.last_request.current_versions == {"secret/password": "v1"}
            assert volume.read() == b"s3cret"
            assert sorted(name for name in os.listdir(volume.target) if not name.startswith("..")) == ["password"]
            assert STAMP not in os.listdir(volume.target)
            await volume.unpublish()
            assert not volume.target.exists()

    asyncio.run(run())


def test_self_written_volume_of_the_go_driver(tmp_path: Path) -> None:
    """Files that a provider wrote itself, without ..data: a publish that fails leaves them alone and mounted
    (ABORTED), the next good one commits them."""

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


def test_our_layout_is_the_go_drivers(tmp_path: Path) -> None:
    """What the Go driver's writer and its Secret sync rely on when they take over: names, links, a relative ..data."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.provider.put("nested/key", "k")
            it.write_class(parameters={"objects": "- objectName: password\n- objectName: nested/key\n"})
            volume = it.volume()
            await volume.publish()
            data = os.readlink(volume.target / "..data")
            assert re.fullmatch(r"\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+", data)
            assert sorted(os.listdir(volume.target)) == sorted([data, "..data", "nested", "password"])
            assert os.readlink(volume.target / "password") == "..data/password"
            assert os.readlink(volume.target / "nested") == "..data/nested"

    asyncio.run(run())
