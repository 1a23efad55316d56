"""Rotation as users of a cluster see it: intervals, changed classes, failures in status, events and metrics."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver.ports import INTERVAL_ANNOTATION, REFRESH_ANNOTATION, ClassRef
from driver.registry import Volume as Known
from tests.cluster.api import Object
from tests.cluster.driving import BASE_RULES, OBJECTS, Site, until
from tests.cluster.servers import ControlPlane
from tests.cluster.syncing import run
from tests.support.rig import Rig, Volume

FAILING = {"objects": OBJECTS, "stubError": "INTERNAL"}


@pytest.fixture
def site(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Site:
    """A namespace, and a driver's account with the rights that it has without sync."""
    return Site(cluster, namespace, tmp_path, BASE_RULES)


def known(rig: Rig, volume: Volume) -> Known:
    """What the driver knows of a volume."""
    found = rig.driver.volumes.get(str(volume.target))
    assert found is not None
    return found


async def watching(site: Site) -> None:
    """Wait until the driver's watch is open."""
    await until(lambda: site.count(0).get(("watch", "secretproviderclasses")), "the watch to be open")


async def seen(rig: Rig, site: Site, provider: Callable[[Any], bool]) -> None:
    """Wait until the driver has heard of a change to the class."""
    class_ref = ClassRef(site.namespace, "app")
    for _ in range(200):
        if provider(await rig.driver.backend.cluster.get_class(class_ref)):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the driver did not hear of the class's change")


def test_the_interval_of_a_class(site: Site) -> None:
    """The flag says an hour, the class ten seconds, then the class an hour too: due by the class each time."""
    site.make_class(annotations={INTERVAL_ANNOTATION: "10s"})
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(enable_secret_rotation=True, rotation_poll_interval=3600.0) as rig:
            volume = site.volume(rig, pod)
            await volume.publish()
            await watching(site)
            state = known(rig, volume)
            assert state.last_refresh is not None
            state.last_refresh -= 15
            await volume.publish()
            assert rig.provider.calls == 2
            site.make_class(annotations={INTERVAL_ANNOTATION: "1h"})
            await seen(rig, site, lambda found: found.annotations[INTERVAL_ANNOTATION] == "1h")
            state.last_refresh -= 15
            await volume.publish()
            assert rig.provider.calls == 2

    run(test)


def test_an_interval_that_is_none(site: Site) -> None:
    """The annotation says "soon": one Warning event, and the flag's interval counts."""
    site.make_class(annotations={INTERVAL_ANNOTATION: "soon"})
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(enable_secret_rotation=True, rotation_poll_interval=60.0) as rig:
            volume = site.volume(rig, pod)
            for age, calls in ((0, 1), (30, 1), (90, 2), (0, 2)):
                if age:
                    known(rig, volume).last_refresh = time.time() - age
                await volume.publish()
                assert rig.provider.calls == calls
            (event,) = await until(lambda: site.events("InvalidInterval"), "the event")
            assert INTERVAL_ANNOTATION in event["message"] and event["type"] == "Warning"
            await volume.publish()
            assert [item["count"] for item in site.events()] == [1]

    run(test)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"objects": OBJECTS, "more": "x"}},
        {"annotations": {REFRESH_ANNOTATION: "2"}},
    ],
    ids=["parameters", "refresh-annotation"],
)
def test_a_changed_class_is_due_at_once(site: Site, change: dict[str, Any]) -> None:
    """The next republish fetches, well inside the interval; the one after does not."""
    site.make_class(annotations={REFRESH_ANNOTATION: "1"})
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(enable_secret_rotation=True, rotation_poll_interval=3600.0) as rig:
            volume = site.volume(rig, pod)
            await volume.publish()
            await watching(site)
            before = await rig.driver.backend.cluster.get_class(ClassRef(site.namespace, "app"))
            site.make_class(**{"annotations": {REFRESH_ANNOTATION: "1"}, **change})
            await seen(rig, site, lambda found: found != before)
            rig.provider.put("password", "new")
            await volume.publish()
            assert rig.provider.calls == 2 and volume.read() == b"new"
            await volume.publish()
            assert rig.provider.calls == 2

    run(test)


def test_failure_and_recovery(site: Site) -> None:
    """A refresh fails three times: the content stays and kubelet is told nothing; one event is counted up, the status
    and the metric tell. Then it works: a Normal event, and the rest is clear again."""
    site.make_class()
    pod = site.make_pod()

    def status() -> Object:
        found: Object = site.api.get(site.status_path())["status"]
        return found

    async def test() -> None:
        async with site.driver(enable_secret_rotation=True) as rig:
            volume = site.volume(rig, pod)
            await volume.publish()
            await watching(site)
            site.make_class(parameters=FAILING)
            await seen(rig, site, lambda found: "stubError" in found.parameters)
            for _ in range(3):
                known(rig, volume).retry_at = 0.0
                await volume.publish()
            assert volume.read() == b"s3cret"
            (event,) = await until(
                lambda: [item for item in site.events("SecretRefreshFailed") if item["count"] == 3], "the event"
            )
            assert event["type"] == "Warning" and "keeps its old content" in event["message"]
            assert event["involvedObject"]["name"] == pod.name
            failure = status()["lastFailure"]
            assert failure["count"] == 3 and failure["reason"] and failure["message"]
            (condition,) = status()["conditions"]
            assert (condition["type"], condition["status"]) == ("Refreshed", "False")
            labels = {"namespace": site.namespace, "pod": pod.name, "volume": "secrets", "provider": "stub"}
            sample = rig.driver.metrics.registry.get_sample_value
            assert sample("secrets_store_volume_refresh_failures", labels) == 3
            site.make_class()
            await seen(rig, site, lambda found: "stubError" not in found.parameters)
            await volume.publish()
            await until(lambda: site.events("SecretRefreshRecovered"), "the good news")
            assert site.events("SecretRefreshRecovered")[0]["type"] == "Normal"
            assert "lastFailure" not in status() and status()["conditions"][0]["status"] == "True"
            assert sample("secrets_store_volume_refresh_failures", labels) == 0
            assert len(site.events()) == 2

    run(test)


def test_a_failure_survives_a_restart(site: Site) -> None:
    """The driver is restarted between failures: the count goes on, and the series of events too."""
    site.make_class()
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(enable_secret_rotation=True) as rig:
            volume = site.volume(rig, pod)
            await volume.publish()
            site.make_class(parameters=FAILING)
            for count in (1, 2):
                await rig.restart()
                known(rig, volume).last_refresh = 1.0
                await volume.publish()
                state = known(rig, volume)
                assert state.failure is not None and state.failure.count == count
                await until(lambda: site.events("SecretRefreshFailed"), "the event")
            await until(lambda: site.events("SecretRefreshFailed")[0]["count"] >= 1, "the series")
            assert len(site.events("SecretRefreshFailed")) == 1

    run(test)


def test_a_pod_status_is_collected_with_its_pod(site: Site) -> None:
    """Nobody deletes the status: it goes with the pod that owns it."""
    site.make_class()
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver() as rig:
            volume = site.volume(rig, pod)
            await volume.publish()
            site.api.delete(site.path("pods", pod.name))
            await volume.unpublish()
            await until(lambda: site.api.find(site.status_path()) is None, "the status to be collected")

    run(test)
