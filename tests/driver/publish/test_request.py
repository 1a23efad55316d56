"""Invalid requests."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from driver import limits
from protos import csi_pb2
from tests.support.rig import rig


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
        *[
            (
                lambda r, uid=uid: r.volume_context.update({"csi.storage.k8s.io/pod.uid": uid}),
                "not the UID in the target",
            )
            for uid in ("uid-pod-2", "uid-pod-", "UID-POD-1")
        ],
        *[
            (lambda r, more=more: r.volume_context.update(more), "volumeAttributes of")
            for more in (
                {f"key-{number}": "" for number in range(1024)},
                {"x": "v" * 262_144},
                {"k" * 300_000: ""},
                {"x": "ü" * 131_072},
            )
        ],
        *[
            (
                lambda r, key=key, text=text: r.volume_context.update({f"csi.storage.k8s.io/pod.{key}": text}),
                f"csi.storage.k8s.io/pod.{key} is not a name or UID",
            )
            for key in ("name", "namespace", "uid")
            for text in ("x" * 254, "a/../b", "a\nb", "\x1b[31m", "a b", "é")
        ],
        (lambda r: r.volume_capability.block.SetInParent(), "block volumes"),
        (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "staff"), "numeric group id"),
        (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "9" * 5000), "numeric group id"),
        (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "9" * 21), "numeric group id"),
        (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "-1"), "numeric group id"),
        (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "4294967295"), "numeric group id"),
        (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "٣"), "numeric group id"),
        (lambda r: setattr(r, "target_path", "/etc"), "not a CSI volume of kubelet's"),
        (
            lambda r: setattr(r, "target_path", "/elsewhere/pods/u/volumes/kubernetes.io~csi/v/mount"),
            "--kubelet-pods-dir",
        ),
        (lambda r: setattr(r, "target_path", r.target_path.replace("uid-", "../pods/uid-")), "shortest form"),
    ],
)
def test_invalid_requests(
    tmp_path: Path, change: Callable[[csi_pb2.NodePublishVolumeRequest], object], sentence: str
) -> None:
    """Each missing or wrong field is INVALID_ARGUMENT, says what to do, and nothing is created on disk."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            request = it.volume().request()
            change(request)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await it.node.NodePublishVolume(request)
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert sentence in (error.value.details() or "")
            assert list(it.pods_dir.iterdir()) == []

    asyncio.run(run())


@pytest.mark.parametrize("size", [4_100_000, 4_200_000, 20_000_000])
def test_a_request_of_megabytes(tmp_path: Path, size: int) -> None:
    """A request that is just small enough to be read, or too large → the code says which bound; the driver goes on."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            request = it.volume().request()
            request.volume_context["x"] = "v" * size
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await it.node.NodePublishVolume(request)
            too_large = size > limits.MAX_REQUEST_BYTES
            assert error.value.code() == (
                grpc.StatusCode.RESOURCE_EXHAUSTED if too_large else grpc.StatusCode.INVALID_ARGUMENT
            )
            await it.volume().publish()

    asyncio.run(run())
