"""Volumes: what the stub sends to a driver, and what it keeps or removes after each kind of reply."""

import asyncio
import base64
import json
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kubelet_stub.directories import volume_handle
from kubelet_stub.events import Reason
from kubelet_stub.kubelet import KubeletStub
from kubelet_stub.volume import State
from protos import csi_pb2 as csi
from runtime.flags import Duration
from runtime.rpc import StatusCode
from tests.kubelet_stub.mounting_driver import NAME, Capability, MountingDriver
from tests.kubelet_stub.rig import KubeletStubRig, config, kubelet_stub_rig, pod

TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
NOT_FINAL = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED")


def run_in_rig(
    test: Callable[[KubeletStubRig], Awaitable[None]], driver: MountingDriver | None = None, **changes: Any
) -> None:
    """Run a test with a stub and a driver, for at most 30 s."""

    async def run() -> None:
        async with asyncio.timeout(30), kubelet_stub_rig(driver, **changes) as rig:
            await test(rig)

    asyncio.run(run())


def test_publishes_as_kubelet_does_and_takes_down_again() -> None:
    """A pod is added and deleted → one publish with kubelet's fields, kubelet's directory layout, and nothing left
    afterwards."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.wait_mounted(running)
        directory = rig.stub.config.pods_directory / "uid-web/volumes/kubernetes.io~csi/secrets"
        assert rig.stub.target(running) == directory / "mount"
        assert (directory / "mount/secret").read_text() == "value"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o750
        data = json.loads((directory / "vol_data.json").read_text())
        assert (data["driverName"], data["volumeHandle"], data["volumeLifecycleMode"]) == (
            NAME,
            volume_handle("uid-web", "secrets"),
            "Ephemeral",
        )
        [request] = rig.driver.requests("NodePublishVolume")
        assert request.volume_id == volume_handle("uid-web", "secrets") and request.readonly
        assert dict(request.volume_context) == {
            "secretProviderClass": "class",
            "csi.storage.k8s.io/pod.name": "web",
            "csi.storage.k8s.io/pod.namespace": "shop",
            "csi.storage.k8s.io/pod.uid": "uid-web",
            "csi.storage.k8s.io/serviceAccount.name": "clerk",
            "csi.storage.k8s.io/ephemeral": "true",
        }
        assert request.volume_capability.mount.volume_mount_group == "2000"
        assert request.volume_capability.access_mode.mode == csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
        await rig.stub.delete_pod(running)
        assert [item.target_path for item in rig.driver.requests("NodeUnpublishVolume")] == [str(directory / "mount")]
        assert list(rig.stub.config.pods_directory.iterdir()) == [] and rig.stub.leaks == []

    run_in_rig(test)


def test_asks_capabilities_twice_before_each_publish() -> None:
    """A publish and a republish → two NodeGetCapabilities before each."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.wait_mounted(running)
        assert await rig.stub.republish(running) == []
        assert [name for name, _ in rig.driver.calls] == [
            "NodeGetCapabilities",
            "NodeGetCapabilities",
            "NodePublishVolume",
        ] * 2

    run_in_rig(test)


def test_each_call_has_a_connection_of_its_own() -> None:
    """A pod comes and goes while a proxy counts connections → as many connections as calls."""

    async def test(rig: KubeletStubRig) -> None:
        connections = 0

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):  # gRPC resets a connection that it closes
                while data := await reader.read(65536):
                    writer.write(data)
            writer.close()

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            behind_reader, behind_writer = await asyncio.open_unix_connection(rig.driver.endpoint)
            await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))

        path = str(rig.directory / "proxy.sock")
        async with await asyncio.start_unix_server(proxy, path):
            rig.stub.use_driver(NAME, path)
            running = await rig.stub.add_pod(pod())
            await rig.stub.wait_mounted(running)
            await rig.stub.delete_pod(running)
            assert connections == len(rig.driver.calls) == 4

    run_in_rig(test)


def test_no_group_without_the_capability() -> None:
    """The driver lacks VOLUME_MOUNT_GROUP but has SINGLE_NODE_MULTI_WRITER → fsGroup is not sent, and the access mode
    is that one."""

    async def test(rig: KubeletStubRig) -> None:
        await rig.stub.wait_mounted(await rig.stub.add_pod(pod()))
        capability = rig.driver.requests("NodePublishVolume")[0].volume_capability
        assert capability.mount.volume_mount_group == ""
        assert capability.access_mode.mode == csi.VolumeCapability.AccessMode.SINGLE_NODE_MULTI_WRITER

    run_in_rig(test, MountingDriver(capabilities=(Capability.SINGLE_NODE_MULTI_WRITER,)))


@pytest.mark.parametrize("code", NOT_FINAL)
def test_a_failure_that_is_not_final_keeps_the_directory(code: str) -> None:
    """The first publish fails with one of the codes that are not final → directory and data file stay, and deleting the
    pod unpublishes."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        event = await rig.stub.events.wait(Reason.FAILED_MOUNT, "shop/web")
        name = "Canceled" if code == "CANCELLED" else code.title().replace("_", "")
        assert (
            event.message
            == f'MountVolume.SetUp failed for volume "secrets" : rpc error: code = {name} desc = driver trouble'
        )
        [volume] = rig.stub.volumes(running)
        assert volume.state is State.UNCERTAIN and volume.directory.data_file.exists()
        await rig.stub.delete_pod(running)
        assert len(rig.driver.requests("NodeUnpublishVolume")) == 1 and not volume.directory.path.exists()

    run_in_rig(test, MountingDriver(failures=[StatusCode[code]] * 99))


def test_a_final_failure_forgets_the_volume() -> None:
    """All publishes fail with NOT_FOUND → the directory is removed each time, and deleting the pod does not
    unpublish."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.events.wait(Reason.FORGOTTEN, count=2)
        [volume] = rig.stub.volumes(running)
        await volume.stop()
        assert volume.state is State.FORGOTTEN and not volume.directory.path.exists()
        await rig.stub.delete_pod(running)
        assert rig.driver.requests("NodeUnpublishVolume") == [] and rig.stub.leaks == []

    run_in_rig(test, MountingDriver(failures=[StatusCode.NOT_FOUND] * 99))


def test_a_mount_left_behind_by_a_final_failure_is_a_leak() -> None:
    """The driver mounts and then fails with INTERNAL → the mount stays, is never unpublished, and is reported as a
    leak."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        leak = await rig.stub.events.wait(Reason.LEAKED)
        assert str(rig.stub.target(running)) in leak.message and rig.stub.target(running).is_mount()
        [volume] = rig.stub.volumes(running)
        await volume.stop()
        await rig.stub.delete_pod(running)
        assert rig.driver.requests("NodeUnpublishVolume") == []

    run_in_rig(
        test,
        MountingDriver(failures=[StatusCode.INTERNAL], mount_before_failing=True),
        backoff_base=Duration(60),
        backoff_cap=Duration(60),
    )


def test_a_final_failure_of_a_republish_removes_the_directory() -> None:
    """A republish unmounts and fails with NOT_FOUND → as with kubelet's defect the directory is removed, and deleting
    the pod cannot unpublish any more."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.wait_mounted(running)
        rig.driver.failures, rig.driver.unmount_when_failing = [StatusCode.NOT_FOUND], True
        assert [str(failure) for failure in await rig.stub.republish(running)] == ["driver trouble"]
        assert not rig.stub.target(running).parent.exists()
        await rig.stub.delete_pod(running)
        assert rig.driver.requests("NodeUnpublishVolume") == []
        assert "unmounter failed to load volume data file" in rig.stub.events.of(Reason.FAILED_UNMOUNT)[0].message

    run_in_rig(test)


@pytest.mark.parametrize(("removes", "unmounts"), [(True, False), (False, True)])
def test_other_failures_of_a_republish_keep_the_directory(removes: bool, unmounts: bool) -> None:
    """A republish fails with NOT_FOUND while the volume is still mounted, or with a kubelet that has the fix → the data
    file stays, and deleting the pod unpublishes."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.wait_mounted(running)
        rig.driver.failures, rig.driver.unmount_when_failing = [StatusCode.NOT_FOUND], unmounts
        assert len(await rig.stub.republish(running)) == 1
        assert (rig.stub.target(running).parent / "vol_data.json").exists()
        await rig.stub.delete_pod(running)
        assert len(rig.driver.requests("NodeUnpublishVolume")) == 1

    run_in_rig(test, republish_removes=removes)


@pytest.mark.parametrize("call", [1, 2])
def test_capability_failures_are_transient_first_and_final_second(call: int) -> None:
    """NodeGetCapabilities is UNAVAILABLE → the first call of a publish is a transient failure, the second a final
    one."""

    async def test(rig: KubeletStubRig) -> None:
        rig.driver.failing_capabilities = [None, StatusCode.UNAVAILABLE][-call:]
        running = await rig.stub.add_pod(pod())
        event = await rig.stub.events.wait(Reason.FAILED_MOUNT)
        assert event.message.endswith("rpc error: code = Unavailable desc = no capabilities today")
        assert ("to determine if the node service has VOLUME_MOUNT_GROUP" in event.message) is (call == 1)
        await rig.stub.wait_mounted(running)
        assert len(rig.stub.events.of(Reason.FORGOTTEN)) == call - 1

    run_in_rig(test)


def test_backs_off_and_recovers() -> None:
    """Three publishes fail, the fourth succeeds → three FailedMount events, pauses that double, and a mounted
    volume."""

    async def test(rig: KubeletStubRig) -> None:
        started = asyncio.get_running_loop().time()
        running = await rig.stub.add_pod(pod())
        await rig.stub.wait_mounted(running)
        assert len(rig.stub.events.of(Reason.FAILED_MOUNT)) == 3
        assert asyncio.get_running_loop().time() - started >= 0.01 + 0.02 + 0.04

    run_in_rig(test, MountingDriver(failures=[StatusCode.UNAVAILABLE] * 3))


def test_republishes_by_itself() -> None:
    """A short republish interval → publishes go on, with an event each."""

    async def test(rig: KubeletStubRig) -> None:
        await rig.stub.add_pod(pod())
        await rig.stub.events.wait(Reason.REPUBLISHED, count=2)

    run_in_rig(test, republish_interval=Duration(0.02))


def test_unpublish_is_tried_until_it_works() -> None:
    """Unpublish fails twice → three calls, and nothing left."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.wait_mounted(running)
        await rig.stub.delete_pod(running)
        assert (
            len(rig.driver.requests("NodeUnpublishVolume")) == 3 and len(rig.stub.events.of(Reason.FAILED_UNMOUNT)) == 2
        )
        assert list(rig.stub.config.pods_directory.iterdir()) == []

    run_in_rig(test, MountingDriver(unpublish_failures=[StatusCode.INTERNAL, StatusCode.UNAVAILABLE]))


def test_statistics_and_conditions() -> None:
    """The driver reports statistics and a condition → the usage is kept; an abnormal condition is a warning event, a
    normal one is not."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.events.wait(Reason.CONDITION_ABNORMAL)
        assert rig.stub.events.all[-1].message == "Volume secrets: old content"
        assert rig.stub.volumes(running)[0].usage[0].total == 7
        rig.driver.condition = csi.VolumeCondition(abnormal=False, message="fine")
        await rig.stub.events.wait(Reason.CONDITION_NORMAL)

    capabilities = (Capability.GET_VOLUME_STATS, Capability.VOLUME_CONDITION)
    driver = MountingDriver(
        capabilities=capabilities, condition=csi.VolumeCondition(abnormal=True, message="old content")
    )
    run_in_rig(test, driver, stats_interval=Duration(0.02))


@pytest.mark.parametrize("in_secrets", [False, True])
def test_tokens_are_signed_and_bound(in_secrets: bool) -> None:
    """Two audiences → two RS256 tokens bound to the pod, in the volume context or in the secrets; a republish sends the
    same ones."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod())
        await rig.stub.wait_mounted(running)
        await rig.stub.republish(running)
        first, second = rig.driver.requests("NodePublishVolume")
        holder = first.secrets if in_secrets else first.volume_context
        assert TOKENS not in (first.volume_context if in_secrets else first.secrets)
        assert holder[TOKENS] == (second.secrets if in_secrets else second.volume_context)[TOKENS]
        tokens = json.loads(holder[TOKENS])
        assert sorted(tokens) == ["bank", "vault"] and tokens["vault"]["expirationTimestamp"].endswith("Z")
        claims = _verified(tokens["vault"]["token"], rig.stub.host.tokens.public_key_pem())
        assert claims["aud"] == ["vault"] and claims["sub"] == "system:serviceaccount:shop:clerk"
        assert claims["kubernetes.io"]["pod"] == {"name": "web", "uid": "uid-web"}

    run_in_rig(test, token_audiences=("vault", "bank"), token_in_secrets=in_secrets)


def test_publish_secrets_come_from_the_named_secret() -> None:
    """The Secret of nodePublishSecretRef does not exist → a transient failure that names it, and no call; it is created
    → its data is sent."""

    async def test(rig: KubeletStubRig) -> None:
        running = await rig.stub.add_pod(pod(nodePublishSecretRef={"name": "creds"}))
        event = await rig.stub.events.wait(Reason.FAILED_MOUNT)
        assert (
            'fetching NodePublishSecretRef shop/creds failed: secrets "creds" not found' in event.message
            and rig.driver.calls == []
        )
        rig.stub.add_secret(
            {
                "kind": "Secret",
                "metadata": {"name": "creds", "namespace": "shop"},
                "data": {"clientid": base64.b64encode(b"me").decode()},
                "stringData": {"plain": "p"},
            }
        )
        await rig.stub.wait_mounted(running)
        assert dict(rig.driver.requests("NodePublishVolume")[0].secrets) == {"clientid": "me", "plain": "p"}

    run_in_rig(test)


def test_a_restarted_stub_takes_its_volumes_over() -> None:
    """A stub stops while two pods run, and a new one is given one of them → that one is published again and later
    unpublished, the other is unpublished as an orphan."""

    async def test(rig: KubeletStubRig) -> None:
        for name in ("stays", "goes"):
            await rig.stub.wait_mounted(await rig.stub.add_pod(pod(name)))
        async with KubeletStub(config(rig.directory)) as second:
            second.use_driver(NAME, rig.driver.endpoint)
            running = await second.add_pod(pod("stays"))
            assert second.volumes(running)[0].state is State.UNCERTAIN
            await second.clean_orphans()
            assert [path.name for path in second.config.pods_directory.iterdir()] == ["uid-stays"]
            await second.wait_mounted(running)
            await second.delete_pod(running)
            assert list(second.config.pods_directory.iterdir()) == [] and second.leaks == []

    run_in_rig(test)


def test_many_pods_and_volumes_at_once() -> None:
    """Five pods of two volumes each → ten mounts, then none."""

    async def test(rig: KubeletStubRig) -> None:
        running = [await rig.stub.add_pod(pod(f"p{number}", ("one", "two"))) for number in range(5)]
        await asyncio.gather(*map(rig.stub.wait_mounted, running))
        assert len({request.target_path for request in rig.driver.requests("NodePublishVolume")}) == 10
        await rig.stub.delete_all()
        assert len(rig.driver.requests("NodeUnpublishVolume")) == 10 and rig.stub.leaks == []

    run_in_rig(test)


def test_an_unregistered_driver_is_waited_for() -> None:
    """The driver is not registered → a FailedMount event says so; it is registered → the volume is mounted."""

    async def test(rig: KubeletStubRig) -> None:
        rig.stub.host.drivers.remove(NAME)
        running = await rig.stub.add_pod(pod())
        event = await rig.stub.events.wait(Reason.FAILED_MOUNT)
        assert f"driver name {NAME} not found in the list of registered CSI drivers" in event.message
        rig.stub.use_driver(NAME, rig.driver.endpoint)
        await rig.stub.wait_mounted(running)

    run_in_rig(test)


def _verified(token: str, pem: str) -> dict[str, Any]:
    head, body, signature = token.split(".")
    key = serialization.load_pem_public_key(pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(_unbase64(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    claims: dict[str, Any] = json.loads(_unbase64(body))
    return claims


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
