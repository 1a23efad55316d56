"""What is reported about a publish besides its answer."""

import asyncio
from pathlib import Path

import pytest
import yaml

from driver.ports import INTERVAL_ANNOTATION
from tests.driver.publish.support import FAILING, known, make_due
from tests.support.rig import rig


def test_failed_refresh(tmp_path: Path) -> None:
    """A failed refresh answers OK and keeps the content; pod status, metrics and volume condition report it; a recovery
    clears it."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, volume_condition=True) as it:
            volume = it.volume()
            await volume.publish()
            it.write_class(parameters=FAILING)
            await volume.publish()
            assert volume.read() == b"s3cret"
            failure = known(it, volume).failure
            assert failure is not None and failure.count == 1
            status = yaml.safe_load(next((it.manifests / "podstatuses").iterdir()).read_text())["status"]
            assert status["lastFailure"]["count"] == 1 and "INTERNAL" in status["lastFailure"]["message"]
            assert (
                it.metric(
                    "rotation_reconcile_error_total", provider="stub", error_type="GRPCProviderError", rotated="true"
                )
                == 1
            )
            assert it.driver.snapshot()["volumes"][0]["failures"] == 1
            await volume.publish()
            assert it.provider.calls == 2, "the back-off was not kept"
            it.write_class()
            await volume.publish()
            assert known(it, volume).failure is None
            status = yaml.safe_load(next((it.manifests / "podstatuses").iterdir()).read_text())["status"]
            assert "lastFailure" not in status

    asyncio.run(run())


def test_deleted_class(tmp_path: Path) -> None:
    """The class of a running pod is deleted: republish answers OK, the content stays, and the failure is reported once
    for each back-off."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            for path in it.manifests.glob("*.yaml"):
                path.unlink()
            await volume.publish()
            await volume.publish()
            assert volume.read() == b"s3cret"
            failure = known(it, volume).failure
            assert failure is not None and failure.count == 1 and "not found" in failure.message

    asyncio.run(run())


def test_reserved_parameters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A class sets kubelet's attributes and a token: none reaches the provider, and an event names them. Its other
    parameters override the pod's attributes."""

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


@pytest.mark.parametrize(
    "key", ["serviceAccount.tokens", "serviceAccount.uid", "pod.labels", "", "serviceAccount.Tokens"]
)
@pytest.mark.parametrize("tokens", [True, False], ids=["tokenRequests", "no tokenRequests"])
def test_attributes_that_kubelet_passes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, tokens: bool
) -> None:
    """A pod's author sets an attribute with kubelet's prefix that kubelet does not set itself: it does not reach the
    provider, and an event names it. Tokens are kubelet's where the CSIDriver object has tokenRequests, only there."""
    name = f"csi.storage.k8s.io/{key}"
    is_kubelets = tokens and key == "serviceAccount.tokens"

    async def run() -> None:
        async with rig(tmp_path, accept_context_tokens=tokens) as it:
            it.write_class()
            await it.volume(attributes={name: '{"aud": {"token": "forged-token"}}'}).publish()
            request = it.provider.last_request
            assert request is not None
            assert (name in request.attributes) is is_kubelets
            assert request.attributes["csi.storage.k8s.io/serviceAccount.name"] == "default"
            found = [each for item in caplog.records if (each := getattr(item, "fields", {})).get("reason")]
            assert [event["reason"] for event in found] == ([] if is_kubelets else ["ReservedAttribute"])
            for event in found:
                assert f"sets {name}, which only kubelet may set" in event["message"] and "forged" not in str(event)
                assert ("tokenRequests" in event["message"]) is (key == "serviceAccount.tokens")

    asyncio.run(run())


def test_invalid_interval(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An invalid annotation is reported by one event until it changes, and the flag's interval applies."""

    def events() -> list[str]:
        found = [each for item in caplog.records if (each := getattr(item, "fields", {})).get("reason")]
        assert {event["reason"] for event in found} == {"InvalidInterval"}
        return [event["message"] for event in found]

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(annotations={INTERVAL_ANNOTATION: "10ms"})
            volume = it.volume()
            for _ in range(3):
                await volume.publish()
            assert it.provider.calls == 1
            assert len(events()) == 1 and f"annotation {INTERVAL_ANNOTATION}: it must be at least 1s" in events()[0]
            it.write_class(annotations={INTERVAL_ANNOTATION: "soon"})
            await volume.publish()
            assert len(events()) == 2 and "the driver's own interval applies" in events()[1]

    asyncio.run(run())


def test_repeated_paths(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The provider's reply lists a path twice → the publish succeeds with the last file, as with the Go driver, and one
    event for the class says so, not one for each refresh or volume."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(parameters={"objects": "- objectName: password", "stubReply": "duplicate"})
            volume, other = it.volume(), it.volume("pod-2")
            await volume.publish()
            await other.publish()
            make_due(it, volume)
            await volume.publish()
            assert it.provider.calls == 3 and volume.read("ordered") == b"last"
            [event] = [each for item in caplog.records if (each := getattr(item, "fields", {})).get("reason")]
            assert event["reason"] == "RepeatedInReply" and "the last file counts: ordered." in event["message"]

    asyncio.run(run())
