"""Rotation as users of a cluster see it: intervals, changed classes, failures in pod status, events and metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver.ports import INTERVAL_ANNOTATION, REFRESH_ANNOTATION, ClassRef, ProviderClass
from driver.registry import Volume as Known
from runtime import clock
from tests.cluster.api import Object
from tests.cluster.rig import BASE_RULES, ClusterRig, until_class
from tests.cluster.servers import ControlPlane
from tests.support.rig import OBJECTS, Rig, Volume
from tests.support.waiting import run_async, until_blocking

FAILING = {"objects": OBJECTS, "stubError": "INTERNAL"}


@pytest.fixture
def cluster_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> ClusterRig:
    """A namespace and a driver's account without the rights for synced Secrets."""
    return ClusterRig(cluster, namespace, tmp_path, BASE_RULES)


def known(rig: Rig, volume: Volume) -> Known:
    """What the driver knows of a volume."""
    found = rig.driver.volumes.get(str(volume.target))
    assert found is not None
    return found


async def until_app_class(rig: Rig, cluster_rig: ClusterRig, condition: Callable[[ProviderClass], bool]) -> None:
    """Wait until the driver has the class ``app`` as it should be."""
    await until_class(rig.driver.backend.cluster, ClassRef(cluster_rig.namespace, "app"), condition)


def test_the_interval_of_a_class(cluster_rig: ClusterRig) -> None:
    """The flag's interval is an hour, the class's ten seconds and later an hour → the class's interval decides each
    time."""
    cluster_rig.make_class(annotations={INTERVAL_ANNOTATION: "10s"})
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True, rotation_poll_interval=3600.0) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await cluster_rig.watch_open()
            state = known(rig, volume)
            assert state.refreshed_at is not None
            state.refreshed_at -= 15
            await volume.publish()
            assert rig.provider.calls == 2
            cluster_rig.make_class(annotations={INTERVAL_ANNOTATION: "1h"})
            await until_app_class(rig, cluster_rig, lambda found: found.annotations[INTERVAL_ANNOTATION] == "1h")
            state.refreshed_at -= 15
            await volume.publish()
            assert rig.provider.calls == 2

    run_async(test)


def test_invalid_interval(cluster_rig: ClusterRig) -> None:
    """The class's interval is not a duration → one Warning event, and the flag's interval is used."""
    cluster_rig.make_class(annotations={INTERVAL_ANNOTATION: "soon"})
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True, rotation_poll_interval=60.0) as rig:
            volume = cluster_rig.volume(rig, pod)
            for age, calls in ((0, 1), (30, 1), (90, 2), (0, 2)):
                if age:
                    known(rig, volume).refreshed_at = clock.now() - age
                await volume.publish()
                assert rig.provider.calls == calls
            (event,) = await until_blocking(lambda: cluster_rig.events("InvalidInterval"), "the event")
            assert INTERVAL_ANNOTATION in event["message"] and event["type"] == "Warning"
            await volume.publish()
            assert [item["count"] for item in cluster_rig.events()] == [1]

    run_async(test)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"objects": OBJECTS, "more": "x"}},
        {"annotations": {REFRESH_ANNOTATION: "2"}},
    ],
    ids=["parameters", "refresh-annotation"],
)
def test_a_changed_class_is_due_at_once(cluster_rig: ClusterRig, change: dict[str, Any]) -> None:
    """The class changes → the next republish fetches, long before the interval is over; the one after it does not."""
    cluster_rig.make_class(annotations={REFRESH_ANNOTATION: "1"})
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True, rotation_poll_interval=3600.0) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await cluster_rig.watch_open()
            before = await rig.driver.backend.cluster.get_class(ClassRef(cluster_rig.namespace, "app"))
            cluster_rig.make_class(**{"annotations": {REFRESH_ANNOTATION: "1"}, **change})
            await until_app_class(rig, cluster_rig, lambda found: found != before)
            rig.provider.put("password", "new")
            await volume.publish()
            assert rig.provider.calls == 2 and volume.read() == b"new"
            await volume.publish()
            assert rig.provider.calls == 2

    run_async(test)


def test_failure_and_recovery(cluster_rig: ClusterRig) -> None:
    """A refresh fails three times → the content stays and kubelet gets OK; one event is counted up, pod status and
    metric show the failure. It succeeds → a Normal event, and status and metric are clear again."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    def status() -> Object:
        found: Object = cluster_rig.api.get(cluster_rig.status_path())["status"]
        return found

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await cluster_rig.watch_open()
            cluster_rig.make_class(parameters=FAILING)
            await until_app_class(rig, cluster_rig, lambda found: "stubError" in found.parameters)
            for _ in range(3):
                known(rig, volume).retry_at = 0.0
                await volume.publish()
            assert volume.read() == b"s3cret"
            (event,) = await until_blocking(
                lambda: [item for item in cluster_rig.events("SecretRefreshFailed") if item["count"] == 3], "the event"
            )
            assert event["type"] == "Warning" and "keeps its old content" in event["message"]
            assert event["involvedObject"]["name"] == pod.name
            failure = status()["lastFailure"]
            assert failure["count"] == 3 and failure["reason"] and failure["message"]
            (condition,) = status()["conditions"]
            assert (condition["type"], condition["status"]) == ("Refreshed", "False")
            labels = {"namespace": cluster_rig.namespace, "pod": pod.name, "volume": "secrets", "provider": "stub"}
            sample = rig.driver.metrics.registry.get_sample_value
            assert sample("secrets_store_volume_refresh_failures", labels) == 3
            cluster_rig.make_class()
            await until_app_class(rig, cluster_rig, lambda found: "stubError" not in found.parameters)
            await volume.publish()
            await until_blocking(lambda: cluster_rig.events("SecretRefreshRecovered"), "the event of the recovery")
            assert cluster_rig.events("SecretRefreshRecovered")[0]["type"] == "Normal"
            assert "lastFailure" not in status() and status()["conditions"][0]["status"] == "True"
            assert sample("secrets_store_volume_refresh_failures", labels) == 0
            assert len(cluster_rig.events()) == 2

    run_async(test)


def test_a_failure_survives_a_restart(cluster_rig: ClusterRig) -> None:
    """The driver is restarted between failures → the count goes on, and so does the series of events."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            cluster_rig.make_class(parameters=FAILING)
            for count in (1, 2):
                await rig.restart()
                known(rig, volume).refreshed_at = None
                await volume.publish()
                state = known(rig, volume)
                assert state.failure is not None and state.failure.count == count
                await until_blocking(lambda: cluster_rig.events("SecretRefreshFailed"), "the event")
            await until_blocking(lambda: cluster_rig.events("SecretRefreshFailed")[0]["count"] >= 1, "the series")
            assert len(cluster_rig.events("SecretRefreshFailed")) == 1

    run_async(test)


def test_a_pod_status_is_collected_with_its_pod(cluster_rig: ClusterRig) -> None:
    """The pod is deleted → its pod status is collected, because the pod owns it."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            cluster_rig.api.delete(cluster_rig.path("pods", pod.name))
            await volume.unpublish()
            await until_blocking(
                lambda: cluster_rig.api.find(cluster_rig.status_path()) is None, "the status to be collected"
            )

    run_async(test)
