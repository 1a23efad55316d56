"""The publish path over a real socket, a real provider and real tmpfs."""

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from driver.volume import mounts
from protos import csi_pb2
from tests.support.rig import rig

FINAL = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNKNOWN,
)


def test_main_job(tmp_path: Path) -> None:
    """A pod's volume is published: a tmpfs with the secret in it, a pod status beside; unpublished: nothing is left."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            await volume.publish()
            assert volume.read() == b"s3cret"
            assert mounts.is_tmpfs(str(volume.target))
            assert oct(volume.target.stat().st_mode & 0o7777) == "0o755"
            row = next(
                line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(volume.target) in line
            )
            assert all(option in row.split(" ")[5].split(",") for option in ("nosuid", "nodev", "noexec"))
            assert len(list((it.manifests / "podstatuses").iterdir())) == 1
            await volume.unpublish()
            assert not volume.target.exists()
            assert list((it.manifests / "podstatuses").iterdir()) == []
            await volume.unpublish()
            assert it.metric("node_publish_total", provider="stub") == 1
            assert it.metric("node_unpublish_total") == 2

    asyncio.run(run())


def test_a_failed_first_publish_is_never_taken_for_content(tmp_path: Path) -> None:
    """The Go driver's empty volume (spec F.1-1): UNAVAILABLE first, then a publish inside the interval: OK only with
    the files."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(parameters={"objects": "- objectName: password", "stubFailures": "4"})
            volume = it.volume()
            code, _ = await volume.failure()
            assert code == grpc.StatusCode.UNAVAILABLE
            assert not volume.mounted and volume.left_on_disk == []
            await volume.publish()
            assert volume.read() == b"s3cret"

    asyncio.run(run())


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
                ("duplicate", "there twice"),
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
            "orders",
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
            volume = it.volume(provider_class="absent")
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


@pytest.mark.parametrize("change, sentence", [
    (lambda r: r.ClearField("volume_capability"), "Volume capability missing"),
    (lambda r: r.ClearField("volume_id"), "Volume ID missing"),
    (lambda r: r.ClearField("target_path"), "Target path missing"),
    (lambda r: r.volume_context.clear(), "Volume attributes missing"),
    (lambda r: r.ClearField("readonly"), "Readonly is not true"),
    (lambda r: r.volume_context.pop("secretProviderClass"), "secretProviderClass is not set"),
    (lambda r: r.volume_context.pop("csi.storage.k8s.io/pod.namespace"), "podInfoOnMount"),
    (lambda r: r.volume_capability.block.SetInParent(), "block volumes"),
    (lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "staff"), "numeric group id"),
    (lambda r: setattr(r, "target_path", "/etc"), "not a volume of kubelet's"),
    (lambda r: setattr(r, "target_path", "/elsewhere/pods/u/volumes/kubernetes.io~csi/v/mount"), "--kubelet-pods-dir"),
    (lambda r: setattr(r, "target_path", r.target_path.replace("uid-", "../pods/uid-")), "shortest form"),
])
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
            found, _ = await volume.failure()
            assert found.name == code
            assert (elsewhere / "keep").read_text() == "kept"

    asyncio.run(run())


def bind(source: Path, target: Path) -> None:
    """A bind mount, which is no tmpfs."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(os.fsencode(source), os.fsencode(target), None, 4096, None) == 0, os.strerror(ctypes.get_errno())


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


def test_class_cannot_forge_identity(tmp_path: Path) -> None:
    """A class that sets kubelet's keys or a token gets neither through; a class parameter beats the pod author's
    attribute."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.write_class(
                parameters={
                    "objects": "- objectName: password",
                    "roleName": "the-class",
                    "csi.storage.k8s.io/pod.namespace": "kube-system",
                    "csi.storage.k8s.io/serviceAccount.tokens": '{"aud": {"token": "forged"}}',
                }
            )
            volume = it.volume(attributes={"roleName": "the-pod", "extra": "kept"})
            await volume.publish()
            request = it.provider.last_request
            assert request is not None
            assert request.attributes["csi.storage.k8s.io/pod.namespace"] == "default"
            assert "csi.storage.k8s.io/serviceAccount.tokens" not in request.attributes
            assert request.attributes["roleName"] == "the-class"
            assert request.attributes["extra"] == "kept"

    asyncio.run(run())


def test_two_publishes_and_an_unpublish_at_once(tmp_path: Path) -> None:
    """Concurrent calls for one target run one after another: the end is a whole volume or none, never a half."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            for _ in range(10):
                results = await asyncio.gather(
                    volume.publish(), volume.publish(), volume.unpublish(), return_exceptions=True
                )
                assert [item for item in results if isinstance(item, BaseException)] == []
                assert not volume.target.exists() or volume.read() == b"s3cret"
            await volume.unpublish()
            assert not volume.target.exists()

    asyncio.run(run())


def test_second_caller_ends_with_its_deadline(tmp_path: Path) -> None:
    """While one publish hangs in its provider, a second one for the target ends by its own deadline with ABORTED."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.write_class(parameters={"objects": "- objectName: password", "stubDelay": "4s"})
            volume = it.volume()
            first = asyncio.create_task(volume.publish())
            await it.provider.wait_for_calls(1)
            code, _ = await volume.failure(timeout=1.0)
            assert code == grpc.StatusCode.ABORTED
            stats = csi_pb2.NodeGetVolumeStatsRequest(volume_id="v", volume_path=str(volume.target))
            assert (await it.node.NodeGetVolumeStats(stats, timeout=1.0)).usage[0].total > 0
            await first
            assert volume.read() == b"s3cret"

    asyncio.run(run())


def test_caller_that_hangs_up(tmp_path: Path) -> None:
    """A publish whose caller gives up is finished all the same, or cleared; the next one answers OK with the files."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.write_class(parameters={"objects": "- objectName: password", "stubDelay": "500ms"})
            volume = it.volume()
            call = asyncio.create_task(volume.publish())
            await it.provider.wait_for_calls(1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await volume.publish()
            assert volume.read() == b"s3cret"

    asyncio.run(run())


def test_volume_mount_group(tmp_path: Path) -> None:
    """With a group its members may read what the owner may and write nothing; an unchanged republish swaps nothing."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(parameters={"objects": "- objectName: password\n  filePermission: '0600'"})
            volume = it.volume(group="4242")
            await volume.publish()
            found = (volume.target / "password").stat()
            assert (found.st_gid, oct(found.st_mode & 0o777)) == (4242, "0o640")
            before = os.readlink(volume.target / "..data")
            it.driver.volumes.get(str(volume.target)).last_success = 0.0  # type: ignore[union-attr]
            await volume.publish()
            assert it.provider.calls == 2
            assert os.readlink(volume.target / "..data") == before

    asyncio.run(run())


def test_self_writing_provider(tmp_path: Path) -> None:
    """A provider that writes into the target itself and replies with versions only: its files stay, and the volume is
    committed."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.write_class(parameters={"objects": "- objectName: password", "selfWrite": "true"})
            volume = it.volume()
            await volume.publish()
            assert volume.read() == b"s3cret"
            assert not (volume.target / "password").is_symlink()
            assert os.listdir(volume.target / "..data") == []
            await volume.publish()
            assert it.provider.calls == 1
            await volume.unpublish()
            assert not volume.target.exists()

    asyncio.run(run())


def test_tokens_and_secrets_reach_the_provider_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Tokens and nodePublishSecretRef secrets arrive at the provider, and in no log line, status or metric, at any
    verbosity."""

    async def run() -> None:
        from runtime import logs, metrics

        logs.configure("driver", verbosity=10)
        async with rig(tmp_path, v=10) as it:
            token = '{"vault": {"token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"}}'
            volume = it.volume(
                attributes={"csi.storage.k8s.io/serviceAccount.tokens": token}, secrets={"client": "hunter2-hunter2"})
            await volume.publish()
            request = it.provider.last_request
            assert request is not None and request.secrets == {"client": "hunter2-hunter2"}
            assert "eyJhbGci" in str(dict(request.attributes))
            shown = (
                str(it.driver.snapshot())
                + metrics.render(it.driver.metrics.registry).decode()
                + "".join(capfd.readouterr())
            )
            for secret in ("eyJhbGci", "hunter2", "s3cret"):
                assert secret not in shown

    asyncio.run(run())
