"""The publish path over a real socket, a real provider and real tmpfs."""

import asyncio
import errno
import os
from pathlib import Path

import grpc
import pytest

from driver.ports import ClassRef
from driver.volume import mountinfo, mounts, walk
from protos import csi_pb2
from tests.support import needs
from tests.support.rig import OBJECTS, rig


def test_main_job(tmp_path: Path) -> None:
    """A pod's volume is published: a tmpfs with the secret in it, a pod status beside; unpublished: nothing is left."""

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


def test_class_cannot_forge_identity(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A class that sets kubelet's keys or a token gets neither through, and an event says which; a class parameter
    beats the pod author's attribute."""

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
            [event] = [each for item in caplog.records if (each := getattr(item, "fields", {})).get("reason")]
            assert event["reason"] == "ReservedParameter" and "forged" not in str(event)
            assert "sets csi.storage.k8s.io/pod.namespace, csi.storage.k8s.io/serviceAccount.tokens" in event["message"]

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
    needs.group(4242)

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(parameters={"objects": "- objectName: password\n  filePermission: '0600'"})
            volume = it.volume(group="4242")
            await volume.publish()
            found = (volume.target / "password").stat()
            assert (found.st_gid, oct(found.st_mode & 0o777)) == (4242, "0o640")
            before = os.readlink(volume.target / "..data")
            it.driver.volumes.get(str(volume.target)).last_refresh = 0.0  # type: ignore[union-attr]
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


def test_target_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be looked at may hold a mount: ABORTED and the system's reason, never a final code."""

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


def test_a_class_is_not_forgotten_under_a_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last other user of a class goes while a publish is under way: the class stays known for it, or nobody would
    hear of its changes; it is forgotten with the last volume."""

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
