"""Publishing over a real socket, with a real provider and a real tmpfs."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest

from driver.ports import ClassRef
from driver.volume import mountinfo, mounts
from protos import csi_pb2
from tests.support.rig import OBJECTS, rig


def test_publish_and_unpublish(tmp_path: Path) -> None:
    """A published volume is a tmpfs with the secret in it, and has a pod status; after the unpublish nothing is
    left."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            await volume.publish()
            assert volume.read() == b"s3cret"
            assert mounts.is_tmpfs(str(volume.target))
            assert oct(volume.target.stat().st_mode & 0o7777) == "0o755"
            mount = next(entry for entry in mountinfo.read() if entry.path == str(volume.target))
            assert all(option in mount.options for option in ("nosuid", "nodev", "noexec"))
            assert len(list((it.manifests / "podstatuses").iterdir())) == 1
            await volume.unpublish()
            assert not volume.target.exists()
            assert list((it.manifests / "podstatuses").iterdir()) == []
            await volume.unpublish()
            assert it.metric("node_publish_total", provider="stub") == 1
            assert it.metric("node_unpublish_total") == 2

    asyncio.run(run())


@pytest.mark.parametrize("noexec", [True, False])
def test_noexec_is_a_choice(tmp_path: Path, noexec: bool) -> None:
    """``--tmpfs-noexec`` → the volume has the mount option or not."""

    async def run() -> None:
        async with rig(tmp_path, tmpfs_noexec=noexec) as it:
            volume = it.volume()
            await volume.publish()
            mount = next(entry for entry in mountinfo.read() if entry.path == str(volume.target))
            assert ("noexec" in mount.options) is noexec
            await volume.unpublish()

    asyncio.run(run())


def test_failed_first_publish_leaves_no_volume(tmp_path: Path) -> None:
    """A first publish fails with UNAVAILABLE. The next one, inside the rotation interval, must not answer OK without
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


def test_concurrent_publishes_and_unpublish(tmp_path: Path) -> None:
    """Concurrent calls for one target run one after the other: in the end there is a complete volume or none."""

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


def test_lock_is_awaited_until_the_deadline(tmp_path: Path) -> None:
    """While the provider delays one publish, a second one for the same target ends with ABORTED at its own deadline."""

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


def test_caller_that_disconnects(tmp_path: Path) -> None:
    """A publish whose caller disconnects runs to its end all the same; the next one answers OK, with the files."""

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


def test_self_writing_provider(tmp_path: Path) -> None:
    """A provider writes into the target itself and replies only with versions: its files stay, and the volume is
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


def test_tokens_and_secrets_reach_only_the_provider(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Tokens and the secrets of nodePublishSecretRef reach the provider, but no log line, status or metric, at any
    verbosity."""

    async def run() -> None:
        from runtime import logs, metrics

        logs.configure("driver", verbosity=10)
        async with rig(tmp_path, v=10) as it:
            token = '{"vault": {"token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"}}'
            volume = it.volume(
                attributes={"csi.storage.k8s.io/serviceAccount.tokens": token}, secrets={"client": "hunter2-hunter2"}
            )
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


def test_class_is_not_forgotten_during_a_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last other volume of a class is unpublished during a publish: the class stays known, so that its changes are
    noticed. It is forgotten with the last volume."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            forgotten: list[ClassRef] = []
            monkeypatch.setattr(it.driver.backend.cluster, "forget_class", forgotten.append)
            first, second = it.volume("pod-1"), it.volume("pod-2")
            await first.publish()
            it.write_class(parameters={"objects": OBJECTS, "stubDelay": "500ms"})
            publishing = asyncio.create_task(second.publish())
            await it.provider.wait_for_calls(2)
            await first.unpublish()
            assert not publishing.done() and not forgotten
            await publishing
            assert not forgotten
            await second.unpublish()
            assert forgotten == [ClassRef("default", "app")]

    asyncio.run(run())
