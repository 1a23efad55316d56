"""The API server as the driver's world: classes, the watch, pod status, events, with the chart's rights only."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.ports import ClassRef, PodEvent, RefreshFailure
from runtime.errors import ConfigurationError, NotFound
from tests.cluster.driving import BASE_RULES, Site, until
from tests.cluster.servers import ControlPlane
from tests.support.rig import NODE


@pytest.fixture
def site(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Site:
    """A namespace and a driver's account with the rights that it has without sync."""
    return Site(cluster, namespace, tmp_path, BASE_RULES)


@asynccontextmanager
async def gateway(site: Site, *, running: bool = False, **options: Any) -> AsyncIterator[ApiCluster]:
    """A gateway with the account's token; ``running`` with its background work."""
    api = Api(site.kubeconfig())
    gateway = ApiCluster(api, NODE, **options)
    task = asyncio.create_task(gateway.run()) if running else None
    try:
        yield gateway
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await api.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The test, in at most a minute."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_a_class_is_read_once(site: Site, version: str) -> None:
    """Ten volumes ask for one class at once, of either API version: one GET, and the class is as it was written."""
    site.make_class(
        version=version,
        secretObjects=[
            {
                "secretName": "s",
                "type": "Opaque",
                "data": [{"objectName": "password", "key": "p"}],
                "labels": {"a": "b"},
            }
        ],
    )

    async def test() -> None:
        async with gateway(site) as it:
            mark = site.cluster.audit.mark()
            class_ref = ClassRef(site.namespace, "app")
            found = await asyncio.gather(*(it.get_class(class_ref) for _ in range(10)))
            assert {item.provider for item in found} == {"stub"}
            assert found[0].secret_objects[0].data == (("password", "p"),)
            assert found[0].secret_objects[0].labels == {"a": "b"}
            assert site.count(mark) == {("get", "secretproviderclasses"): 1}

    run(test)


def test_a_class_that_is_not_there(site: Site) -> None:
    """NotFound, in the words that users know; once it exists it is found."""

    async def test() -> None:
        async with gateway(site) as it:
            with pytest.raises(NotFound, match='SecretProviderClass.secrets-store.csi.x-k8s.io "app" not found'):
                await it.get_class(ClassRef(site.namespace, "app"))
            site.make_class()
            assert (await it.get_class(ClassRef(site.namespace, "app"))).provider == "stub"

    run(test)


async def watching(site: Site, it: ApiCluster) -> tuple[ClassRef, list[ClassRef]]:
    """The class ``app`` is in use and its watch open; with it, the list of what the listener hears."""
    heard: list[ClassRef] = []
    it.on_class_change(heard.append)
    class_ref = ClassRef(site.namespace, "app")
    await it.get_class(class_ref)
    await until(lambda: site.count(0).get(("watch", "secretproviderclasses")), "the watch to be open")
    return class_ref, heard


def test_the_watch_keeps_classes_fresh(site: Site) -> None:
    """A class in use is changed, then deleted: the listener hears of both and the next question gets the new answer;
    a class that nobody uses costs nothing."""
    site.make_class()
    site.make_class("other")

    async def test() -> None:
        async with gateway(site, running=True) as it:
            class_ref, heard = await watching(site, it)
            mark = site.cluster.audit.mark()
            site.make_class("other", provider="else")
            site.make_class(provider="changed")
            await until(lambda: heard == [class_ref], "news of the change")
            assert (await it.get_class(class_ref)).provider == "changed"
            assert site.count(mark) == {("get", "secretproviderclasses"): 1}
            site.api.delete(site.path("secretproviderclasses", "app"))
            await until(lambda: heard == [class_ref, class_ref], "news of the deletion")
            with pytest.raises(NotFound):
                await it.get_class(class_ref)

    run(test)


def test_a_class_that_comes_back(site: Site) -> None:
    """A class in use is deleted and made again, as some tools replace objects: the listener hears of it both times."""
    site.make_class()

    async def test() -> None:
        async with gateway(site, running=True) as it:
            class_ref, heard = await watching(site, it)
            site.api.delete(site.path("secretproviderclasses", "app"))
            await until(lambda: heard == [class_ref], "news of the deletion")
            site.make_class(provider="again")
            await until(lambda: heard == [class_ref, class_ref], "news of its return")
            assert (await it.get_class(class_ref)).provider == "again"
            site.make_class(provider="changed")
            await until(lambda: heard == [class_ref, class_ref, class_ref], "news of a change")

    run(test)


def test_pod_status(site: Site) -> None:
    """POST when new, nothing when unchanged, PATCH when changed, POST again after someone deleted it; a failure appears
    and goes away again."""
    pod = site.make_pod()

    async def test() -> None:
        async with gateway(site) as it:
            mark = site.cluster.audit.mark()
            await it.record(site.record(pod, last_refresh=1000.0))
            found = site.api.get(site.status_path())
            assert found["metadata"]["labels"] == {"internal.secrets-store.csi.k8s.io/node-name": NODE}
            owner = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
            assert found["metadata"]["ownerReferences"] == [owner]
            assert (
                found["status"].items()
                >= {
                    "podName": "pod-1",
                    "secretProviderClassName": "app",
                    "mounted": True,
                    "targetPath": site.record(pod).target_path,
                    "objects": [{"id": "password", "version": "v1"}],
                    "lastRefresh": "1970-01-01T00:16:40Z",
                }.items()
            )
            await it.record(site.record(pod, last_refresh=2000.0))
            resource = "secretproviderclasspodstatuses"
            assert site.count(mark) == {("create", resource): 1}
            failure = RefreshFailure("GRPCProviderError", "no", 2, 3000.0)
            await it.record(site.record(pod, objects={"other": "2"}, last_refresh=2000.0, failure=failure))
            status = site.api.get(site.status_path())["status"]
            assert status["objects"] == [{"id": "other", "version": "2"}]
            assert status["lastFailure"] == {
                "reason": "GRPCProviderError",
                "message": "no",
                "count": 2,
                "time": "1970-01-01T00:50:00Z",
            }
            (condition,) = status["conditions"]
            assert (condition["status"], condition["lastTransitionTime"]) == ("False", "1970-01-01T00:50:00Z")
            again = RefreshFailure("GRPCProviderError", "no", 3, 3600.0)
            await it.record(site.record(pod, objects={"other": "2"}, last_refresh=2000.0, failure=again))
            assert site.api.get(site.status_path())["status"]["conditions"] == [condition]
            await it.record(site.record(pod, objects={"other": "2"}, last_refresh=4000.0))
            status = site.api.get(site.status_path())["status"]
            assert "lastFailure" not in status and status["conditions"][0]["status"] == "True"
            assert site.count(mark) == {("create", resource): 1, ("patch", resource): 3}
            site.api.delete(site.status_path())
            await it.record(site.record(pod))
            assert site.api.get(site.status_path())["status"]["objects"] == [{"id": "password", "version": "v1"}]

    run(test)


def test_a_status_that_is_there_already(site: Site) -> None:
    """A StatefulSet's pod came back on this node with another UID: the record is taken over, label and owner too."""
    old = site.make_pod()

    async def test() -> None:
        async with gateway(site) as it:
            await it.record(site.record(old))
        site.api.patch(site.status_path(), {"metadata": {"labels": None}})
        site.api.delete(site.path("pods", "pod-1"))
        new = site.make_pod()
        async with gateway(site) as it:
            await it.record(site.record(new))
            found = site.api.get(site.status_path())
            assert found["metadata"]["ownerReferences"][0]["uid"] == new.uid
            assert found["metadata"]["labels"] == {"internal.secrets-store.csi.k8s.io/node-name": NODE}

    run(test)


def test_a_restart_is_one_list(site: Site) -> None:
    """Two volumes of two pods, then a new gateway: one LIST tells of both, and an unchanged record writes nothing."""
    pods = [site.make_pod(name) for name in ("pod-1", "pod-2")]
    records = [site.record(pod, last_refresh=1000.0, failure=RefreshFailure("R", "m", 3, 999.0)) for pod in pods]

    async def test() -> None:
        async with gateway(site) as it:
            for record in records:
                await it.record(record)
        async with gateway(site) as it:
            mark = site.cluster.audit.mark()
            found = [item for item in await it.records() if item.pod.namespace == site.namespace]
            assert sorted(found, key=lambda record: record.pod.name) == records
            for record in records:
                await it.record(record)
            assert site.count(mark) == {("list", "secretproviderclasspodstatuses"): 1}

    run(test)


def test_two_volumes_with_one_class(site: Site) -> None:
    """Each has its own record, and keeps it over a restart."""
    pod = site.make_pod()
    records = [site.record(pod, volume=name, objects={"password": name}) for name in ("one", "two")]

    async def test() -> None:
        for _ in range(2):
            async with gateway(site) as it:
                await it.records()
                await asyncio.gather(*(it.record(record) for record in records))
            found = {
                item["status"]["targetPath"]: item["status"]["objects"][0]["version"]
                for item in site.listed("secretproviderclasspodstatuses")
            }
            assert found == {record.target_path: record.volume_name for record in records}

    run(test)


def test_two_volumes_with_one_class_after_a_restart(site: Site) -> None:
    """The second volume is told of before the driver knows what was written: the first one's record stays."""
    pod = site.make_pod()
    one, two = (site.record(pod, volume=name, objects={"password": name}) for name in ("one", "two"))

    async def test() -> None:
        async with gateway(site) as it:
            await it.record(one)
            await it.record(two)
        names = {item["metadata"]["name"] for item in site.listed("secretproviderclasspodstatuses")}
        async with gateway(site) as it:
            await it.record(replace(two, objects={"password": "new"}))
            await it.record(one)
        found = site.listed("secretproviderclasspodstatuses")
        assert {item["metadata"]["name"] for item in found} == names
        assert {item["status"]["targetPath"]: item["status"]["objects"][0]["version"] for item in found} == {
            one.target_path: "one",
            two.target_path: "new",
        }

    run(test)


def test_a_name_that_is_too_long(site: Site) -> None:
    """Pod and class names of 200 characters: a shortened name, the same one each time."""
    pod = site.make_pod("p" * 200)
    record = site.record(pod, class_name="c" * 200)

    async def test() -> None:
        for _ in range(2):
            async with gateway(site) as it:
                await it.record(record)
            (found,) = site.listed("secretproviderclasspodstatuses")
            assert len(found["metadata"]["name"]) <= 253 and found["status"]["secretProviderClassName"] == "c" * 200

    run(test)


@pytest.mark.parametrize("node", ["", "n" * 64, "-node", "a node"])
def test_a_node_name_that_is_no_label(node: str) -> None:
    """Such a node cannot be found again by its label: it is refused at start, with the reason."""
    with pytest.raises(ConfigurationError, match="nodeid"):
        ApiCluster(Api(""), node)


def test_events_are_series(site: Site) -> None:
    """One failure told three times, also by a restarted driver, is one event with a count; another subject another."""
    pod = site.make_pod()

    def event(message: str, subject: str = "secrets") -> PodEvent:
        return PodEvent(pod, True, "SecretRefreshFailed", message, subject)

    def told() -> dict[str, int]:
        return {item["message"]: item["count"] for item in site.events()}

    async def test() -> None:
        async with gateway(site, running=True) as it:
            for message in ("first", "second", "%s third"):
                await it.event(event(message))
            await until(lambda: told() == {"%s third": 3}, "one event, counted")
            (found,) = site.events()
            assert found["involvedObject"]["uid"] == pod.uid and found["type"] == "Warning"
            assert found["source"] == {"component": "secrets-store-csi-driver", "host": NODE}
        async with gateway(site, running=True) as it:
            await it.event(event("again"))
            await until(lambda: "again" in told(), "the event's new message")
            await it.event(event("again"))
            await until(lambda: told() == {"again": 5}, "the count to go on")
            await it.event(event("other", "more"))
            await until(lambda: len(told()) == 2, "a second series")
            site.api.delete(site.path("events", found["metadata"]["name"]))
            await it.event(event("back"))
            await until(lambda: told().get("back"), "the event that had expired")

    run(test)
