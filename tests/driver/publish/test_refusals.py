"""Bad input: each gets the code and the sentence that tells what to do, leaves nothing mounted and nothing on disk."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from driver.volume import syscalls, walk
from tests.driver.volume.support import MS_BIND, bind
from tests.support.rig import Rig, Volume, rig

MS_RDONLY, MS_REMOUNT = 1, 32


@pytest.mark.parametrize(
    "spec, code, sentence",
    [
        ({"provider": ""}, "FAILED_PRECONDITION", "provider not set in default/app"),
        ({"parameters": {}}, "FAILED_PRECONDITION", "parameters not set in default/app"),
        ({"provider": "../stub"}, "FAILED_PRECONDITION", "invalid provider"),
        ({"provider": "a/b"}, "FAILED_PRECONDITION", "invalid provider"),
        ({"provider": "stub\n"}, "FAILED_PRECONDITION", "invalid provider"),
        ({"provider": "absent"}, "FAILED_PRECONDITION", 'provider not found: provider "absent"'),
        (
            {"parameters": {"objects": "- objectName: absent"}},
            "NOT_FOUND",
            "failed to mount secrets store objects for pod default/pod-1",
        ),
        *[
            ({"parameters": {"objects": "- objectName: password", "stubReply": kind}}, "UNKNOWN", text)
            for kind, text in (
                ("no-versions", "missing object versions"),
                ("empty", "missing object versions"),
                ("absolute", "must be relative"),
                ("dot-dot", "must not contain '..'"),
                ("inner-dot-dot", "must not contain '..'"),
                ("reserved", "must not begin with '..'"),
                ("dot", "shortest form"),
                ("empty-path", "must not be empty"),
                ("unclean", "shortest form"),
                ("duplicate", "listed twice"),
                ("conflict", "is a file of the same payload"),
                ("long-name", "longer than 255 bytes"),
                ("long-path", "longer than 4096 bytes"),
            )
        ],
        (
            {"parameters": {"objects": "- objectName: password", "stubReply": "oversized"}},
            "RESOURCE_EXHAUSTED",
            "--max-call-recv-msg-size",
        ),
        (
            {"parameters": {"objects": "- objectName: password", "stubErrorCode": "Forbidden"}},
            "UNKNOWN",
            "provider error code Forbidden",
        ),
        (
            {"parameters": {"objects": "- objectName: password", "stubError": "PERMISSION_DENIED"}},
            "PERMISSION_DENIED",
            "the class requests PERMISSION_DENIED",
        ),
        ({"parameters": {"objects": "- objectName: password", "stubDelay": "10s"}}, "DEADLINE_EXCEEDED", "stub"),
        ({"parameters": {"objects": "- objectName: password", "stubCrash": "true"}}, "UNAVAILABLE", "stub"),
    ],
)
def test_refusals_leave_nothing(tmp_path: Path, spec: dict[str, Any], code: str, sentence: str) -> None:
    """Whatever is wrong with the class, the provider or its reply: the code and the sentence, nothing mounted,
    nothing on disk."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.write_class(**spec)
            volume = it.volume()
            found, text = await volume.failure(timeout=2.0)
            assert found.name == code, text
            assert sentence in text
            assert not volume.mounted and volume.left_on_disk == []
            assert "s3cret" not in text

    asyncio.run(run())


def test_unknown_class(tmp_path: Path) -> None:
    """A class that does not exist in the pod's namespace is NOT_FOUND, with the phrase that users search for."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume(class_name="absent")
            code, text = await volume.failure()
            assert code == grpc.StatusCode.NOT_FOUND
            assert "failed to get secretproviderclass default/absent" in text and "not found" in text
            assert volume.left_on_disk == []
            assert it.metric("node_publish_error_total", provider="", error_type="SecretProviderClassNotFound") == 1

    asyncio.run(run())


def test_malformed_manifest_names_file_and_line(tmp_path: Path) -> None:
    """Bad YAML is told with its file and line, and another file's class is not served meanwhile."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            (it.manifests / "a.yaml").write_text("kind: SecretProviderClass\nmetadata: {name: x\n")
            code, text = await it.volume().failure()
            assert code == grpc.StatusCode.FAILED_PRECONDITION
            assert f"{it.manifests}/a.yaml line" in text

    asyncio.run(run())


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda r: r.ClearField("volume_capability"), "Volume capability missing"),
        (lambda r: r.ClearField("volume_id"), "Volume ID missing"),
        (lambda r: r.ClearField("target_path"), "Target path missing"),
        (lambda r: r.volume_context.clear(), "Volume attributes missing"),
        (lambda r: r.ClearField("readonly"), "Readonly is not true"),
        (lambda r: r.volume_context.pop("secretProviderClass"), "secretProviderClass is not set"),
        *[
            (lambda r, name=name: r.volume_context.pop(f"csi.storage.k8s.io/pod.{name}"), "podInfoOnMount")
            for name in ("namespace", "name", "uid")
        ],
        *[
            (
                lambda r, name=name: r.volume_context.update(secretProviderClass=name),
                "not the name of a SecretProviderClass",
            )
            for name in (
                "../../kube-system/secretproviderclasses/app",
                "default/app",
                "app?watch=true",
                "App",
                "x" * 254,
            )
        ],
        (lambda r: r.volume_capability.block.SetInParent(), "block volumes"),
        (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "staff"), "numeric group id"),
        (lambda r: setattr(r, "target_path", "/etc"), "not a CSI volume of kubelet's"),
        (
            lambda r: setattr(r, "target_path", "/elsewhere/pods/u/volumes/kubernetes.io~csi/v/mount"),
            "--kubelet-pods-dir",
        ),
        (lambda r: setattr(r, "target_path", r.target_path.replace("uid-", "../pods/uid-")), "shortest form"),
    ],
)
def test_bad_requests(tmp_path: Path, change: object, sentence: str) -> None:
    """Each missing or wrong field is INVALID_ARGUMENT with a sentence, and nothing is made on disk."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            request = it.volume().request()
            change(request)  # type: ignore[operator]
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await it.node.NodePublishVolume(request)
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert sentence in (error.value.details() or "")
            assert list(it.pods_dir.iterdir()) == []

    asyncio.run(run())


@pytest.mark.parametrize(
    "kind, code", [("symlink", "INVALID_ARGUMENT"), ("file", "INVALID_ARGUMENT"), ("not tmpfs", "ABORTED")]
)
def test_hostile_targets(tmp_path: Path, kind: str, code: str) -> None:
    """A target that is a symlink, a file or another mount is refused and stays as it is; a mount keeps kubelet from
    forgetting it."""

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


def make_read_only(target: Path) -> None:
    """Whatever is mounted there can no longer be written to."""
    with walk.directory(str(target)) as opened:
        syscalls.mount("", opened.fd, "", MS_REMOUNT | MS_BIND | MS_RDONLY, "")


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
    """Kubelet's directory is read-only: INTERNAL, which says so, and nothing is there."""

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
    """A tmpfs that an earlier try left, and that has become read-only: INTERNAL, and it is unmounted, so that the next
    try works."""

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
    """An empty tmpfs at the target, as a driver that was killed in the middle leaves it."""
    from driver.volume import operations

    volume.target.parent.mkdir(parents=True)
    await it.driver.disk.run(operations.prepare, str(volume.target), 1 << 20, False)
