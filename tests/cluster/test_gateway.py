"""The gateway to the API server, with the chart's rights only: classes, the watch, pod statuses, events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.cluster.answers import NotServed
from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.objects import GROUP
from driver.ports import ClassRef, PodEvent, RefreshFailure
from runtime.errors import ConfigurationError, NotFound
from tests.cluster.rig import BASE_RULES, ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.background import run_background
from tests.support.rig import DRIVER, NODE
from tests.support.waiting import run_async, until_blocking


@pytest.fixture
def cluster_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> ClusterRig:
    """A namespace and a driver's account without the rights for synced Secrets."""
    return ClusterRig(cluster, namespace, tmp_path, BASE_RULES)


@asynccontextmanager
async def gateway(
    cluster_rig: ClusterRig, *, running: bool = False, node: str = NODE, **options: Any
) -> AsyncIterator[ApiCluster]:
    """A gateway with the account's token; ``running``: with its background tasks."""
    api = Api(cluster_rig.kubeconfig())
    gateway = ApiCluster(api, node, DRIVER, **options)
    task = asyncio.create_task(run_background(gateway)) if running else None
    try:
        yield gateway
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await api.close()


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_a_class_is_read_once(cluster_rig: ClusterRig, version: str) -> None:
    """Ten volumes need a class at once, of either API version → one GET, and the class as it was written."""
    cluster_rig.make_class(
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
        async with gateway(cluster_rig) as it:
            mark = cluster_rig.cluster.audit.mark()
            class_ref = ClassRef(cluster_rig.namespace, "app")
            found = await asyncio.gather(*(it.get_class(class_ref) for _ in range(10)))
            assert {item.provider for item in found} == {"stub"}
            assert found[0].secret_objects[0].data == (("password", "p"),)
            assert found[0].secret_objects[0].labels == {"a": "b"}
            assert cluster_rig.count(mark) == {("get", "secretproviderclasses"): 1}

    run_async(test)


def test_missing_class(cluster_rig: ClusterRig) -> None:
    """The class does not exist → NotFound with the Go driver's text; it is created → found."""

    async def test() -> None:
        async with gateway(cluster_rig) as it:
            with pytest.raises(NotFound, match='SecretProviderClass.secrets-store.csi.x-k8s.io "app" not found'):
                await it.get_class(ClassRef(cluster_rig.namespace, "app"))
            cluster_rig.make_class()
            assert (await it.get_class(ClassRef(cluster_rig.namespace, "app"))).provider == "stub"

    run_async(test)


async def watching(cluster_rig: ClusterRig, it: ApiCluster) -> tuple[ClassRef, list[ClassRef]]:
    """Use the class ``app`` and wait for the watch; returns its reference and the list of notifications."""
    notified: list[ClassRef] = []
    it.on_class_change(notified.append)
    class_ref = ClassRef(cluster_rig.namespace, "app")
    await it.get_class(class_ref)
    await cluster_rig.watch_open()
    return class_ref, notified


def test_the_watch_keeps_classes_fresh(cluster_rig: ClusterRig) -> None:
    """A class in use is changed, then deleted → the listener is notified of both and the next lookup has the new state;
    a class that is not in use costs no call."""
    cluster_rig.make_class()
    cluster_rig.make_class("other")

    async def test() -> None:
        async with gateway(cluster_rig, running=True) as it:
            class_ref, notified = await watching(cluster_rig, it)
            mark = cluster_rig.cluster.audit.mark()
            cluster_rig.make_class("other", provider="else")
            cluster_rig.make_class(provider="changed")
            await until_blocking(lambda: notified == [class_ref], "the notification of the change")
            assert (await it.get_class(class_ref)).provider == "changed"
            assert cluster_rig.count(mark) == {("get", "secretproviderclasses"): 1}
            cluster_rig.api.delete(cluster_rig.path("secretproviderclasses", "app"))
            await until_blocking(lambda: notified == [class_ref, class_ref], "the notification of the deletion")
            with pytest.raises(NotFound):
                await it.get_class(class_ref)

    run_async(test)


def test_recreated_class(cluster_rig: ClusterRig) -> None:
    """A class in use is deleted and recreated, as some tools replace objects → the listener is notified of each
    step."""
    cluster_rig.make_class()

    async def test() -> None:
        async with gateway(cluster_rig, running=True) as it:
            class_ref, notified = await watching(cluster_rig, it)
            cluster_rig.api.delete(cluster_rig.path("secretproviderclasses", "app"))
            await until_blocking(lambda: notified == [class_ref], "the notification of the deletion")
            cluster_rig.make_class(provider="again")
            await until_blocking(lambda: notified == [class_ref, class_ref], "the notification of the new class")
            assert (await it.get_class(class_ref)).provider == "again"
            cluster_rig.make_class(provider="changed")
            await until_blocking(
                lambda: notified == [class_ref, class_ref, class_ref], "the notification of its change"
            )

    run_async(test)


def test_pod_status(cluster_rig: ClusterRig) -> None:
    """A pod status is created when new, patched when changed, not touched when unchanged, and recreated after someone
    has deleted it; a failure appears in it and is cleared."""
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with gateway(cluster_rig) as it:
            mark = cluster_rig.cluster.audit.mark()
            await it.record(cluster_rig.record(pod, last_refresh=1000.0))
            found = cluster_rig.api.get(cluster_rig.status_path())
            assert found["metadata"]["labels"] == {"internal.secrets-store.csi.k8s.io/node-name": NODE}
            owner = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
            assert found["metadata"]["ownerReferences"] == [owner]
            assert (
                found["status"].items()
                >= {
                    "podName": "pod-1",
                    "secretProviderClassName": "app",
                    "mounted": True,
                    "targetPath": cluster_rig.record(pod).target_path,
                    "objects": [{"id": "password", "version": "v1"}],
                    "lastRefresh": "1970-01-01T00:16:40Z",
                }.items()
            )
            await it.record(cluster_rig.record(pod, last_refresh=2000.0))
            resource = "secretproviderclasspodstatuses"
            assert cluster_rig.count(mark) == {("create", resource): 1}
            failure = RefreshFailure("GRPCProviderError", "no", 2, 3000.0)
            await it.record(cluster_rig.record(pod, objects={"other": "2"}, last_refresh=2000.0, failure=failure))
            status = cluster_rig.api.get(cluster_rig.status_path())["status"]
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
            await it.record(cluster_rig.record(pod, objects={"other": "2"}, last_refresh=2000.0, failure=again))
            assert cluster_rig.api.get(cluster_rig.status_path())["status"]["conditions"] == [condition]
            await it.record(cluster_rig.record(pod, objects={"other": "2"}, last_refresh=4000.0))
            status = cluster_rig.api.get(cluster_rig.status_path())["status"]
            assert "lastFailure" not in status and status["conditions"][0]["status"] == "True"
            assert cluster_rig.count(mark) == {("create", resource): 1, ("patch", resource): 3}
            cluster_rig.api.delete(cluster_rig.status_path())
            await it.record(cluster_rig.record(pod))
            assert cluster_rig.api.get(cluster_rig.status_path())["status"]["objects"] == [
                {"id": "password", "version": "v1"}
            ]

    run_async(test)


def test_status_of_an_earlier_pod(cluster_rig: ClusterRig) -> None:
    """A StatefulSet's pod is recreated on this node with another UID → its pod status is taken over, with label and
    owner."""
    old = cluster_rig.make_pod()

    async def test() -> None:
        async with gateway(cluster_rig) as it:
            await it.record(cluster_rig.record(old))
        cluster_rig.api.patch(cluster_rig.status_path(), {"metadata": {"labels": None}})
        cluster_rig.api.delete(cluster_rig.path("pods", "pod-1"))
        new = cluster_rig.make_pod()
        async with gateway(cluster_rig) as it:
            await it.record(cluster_rig.record(new))
            found = cluster_rig.api.get(cluster_rig.status_path())
            assert found["metadata"]["ownerReferences"][0]["uid"] == new.uid
            assert found["metadata"]["labels"] == {"internal.secrets-store.csi.k8s.io/node-name": NODE}

    run_async(test)


def test_a_restart_is_one_list(cluster_rig: ClusterRig) -> None:
    """Two volumes of two pods are recorded, then a gateway starts → one LIST and a GET of each pod find both, and an
    unchanged record writes nothing."""
    pods = [cluster_rig.make_pod(name) for name in ("pod-1", "pod-2")]
    records = [cluster_rig.record(pod, last_refresh=1000.0, failure=RefreshFailure("R", "m", 3, 999.0)) for pod in pods]

    async def test() -> None:
        async with gateway(cluster_rig, node=cluster_rig.namespace) as it:
            for record in records:
                await it.record(record)
        async with gateway(cluster_rig, node=cluster_rig.namespace) as it:
            mark = cluster_rig.cluster.audit.mark()
            found = [record for record, _ in await it.records([record.target_path for record in records])]
            assert sorted(found, key=lambda record: record.pod.name) == records
            for record in records:
                await it.record(record)
            counted = cluster_rig.count(mark)
            # And an empty page if the cluster has statuses of other nodes after ours.
            assert counted.pop(("list", "secretproviderclasspodstatuses")) in (1, 2)
            assert counted == {("get", "pods"): 2}

    run_async(test)


def test_two_volumes_with_one_class(cluster_rig: ClusterRig) -> None:
    """Two volumes of a pod have the same class → each has its own pod status, and keeps it over a restart."""
    pod = cluster_rig.make_pod(volumes={"one": "app", "two": "app"})
    records = [cluster_rig.record(pod, volume=name, objects={"password": name}) for name in ("one", "two")]

    async def test() -> None:
        for _ in range(2):
            async with gateway(cluster_rig) as it:
                await it.records([record.target_path for record in records])
                await asyncio.gather(*(it.record(record) for record in records))
            found = {
                item["status"]["targetPath"]: item["status"]["objects"][0]["version"]
                for item in cluster_rig.listed("secretproviderclasspodstatuses")
            }
            assert found == {record.target_path: record.volume_name for record in records}

    run_async(test)


def test_two_volumes_with_one_class_after_a_restart(cluster_rig: ClusterRig) -> None:
    """After a restart the second volume is recorded before the driver has listed the pod statuses → the first volume's
    stays as it is."""
    pod = cluster_rig.make_pod()
    one, two = (cluster_rig.record(pod, volume=name, objects={"password": name}) for name in ("one", "two"))

    async def test() -> None:
        async with gateway(cluster_rig) as it:
            await it.record(one)
            await it.record(two)
        names = {item["metadata"]["name"] for item in cluster_rig.listed("secretproviderclasspodstatuses")}
        async with gateway(cluster_rig) as it:
            await it.record(replace(two, objects={"password": "new"}))
            await it.record(one)
        found = cluster_rig.listed("secretproviderclasspodstatuses")
        assert {item["metadata"]["name"] for item in found} == names
        assert {item["status"]["targetPath"]: item["status"]["objects"][0]["version"] for item in found} == {
            one.target_path: "one",
            two.target_path: "new",
        }

    run_async(test)


def test_long_names(cluster_rig: ClusterRig) -> None:
    """Pod and class names of 200 characters → a shortened name, the same one each time."""
    pod = cluster_rig.make_pod("p" * 200)
    record = cluster_rig.record(pod, class_name="c" * 200)

    async def test() -> None:
        for _ in range(2):
            async with gateway(cluster_rig) as it:
                await it.record(record)
            (found,) = cluster_rig.listed("secretproviderclasspodstatuses")
            assert len(found["metadata"]["name"]) <= 253 and found["status"]["secretProviderClassName"] == "c" * 200

    run_async(test)


@pytest.mark.parametrize("node", ["", "n" * 64, "-node", "a node"])
def test_invalid_node_name(node: str) -> None:
    """A node name that is not a valid label value, by which statuses are listed → refused at the start, with the
    reason."""
    with pytest.raises(ConfigurationError, match="nodeid"):
        ApiCluster(Api(""), node, DRIVER)


def test_event_series(cluster_rig: ClusterRig) -> None:
    """A failure is reported three times, then by a restarted driver → one event with a count; another subject → another
    event."""
    pod = cluster_rig.make_pod()

    def event(message: str, subject: str = "secrets") -> PodEvent:
        return PodEvent(pod, True, "SecretRefreshFailed", message, subject)

    def counts() -> dict[str, int]:
        return {item["message"]: item["count"] for item in cluster_rig.events()}

    async def test() -> None:
        async with gateway(cluster_rig, running=True) as it:
            for message in ("first", "second", "%s third"):
                await it.event(event(message))
            await until_blocking(lambda: counts() == {"%s third": 3}, "one event, counted")
            (found,) = cluster_rig.events()
            assert found["involvedObject"]["uid"] == pod.uid and found["type"] == "Warning"
            assert found["source"] == {"component": "secrets-store-csi-driver", "host": NODE}
        async with gateway(cluster_rig, running=True) as it:
            await it.event(event("again"))
            await until_blocking(lambda: "again" in counts(), "the event's new message")
            await it.event(event("again"))
            await until_blocking(lambda: counts() == {"again": 5}, "the count to go on")
            await it.event(event("other", "more"))
            await until_blocking(lambda: len(counts()) == 2, "a second series")
            cluster_rig.api.delete(cluster_rig.path("events", found["metadata"]["name"]))
            await it.event(event("back"))
            await until_blocking(lambda: counts().get("back"), "the event that had expired")

    run_async(test)


@pytest.mark.parametrize(
    ("path", "crd"),
    [
        ("/apis/nothing.example.com/v1/namespaces/{}/things", "things.nothing.example.com"),
        ("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{}/others/app", "others.secrets-store.csi.x-k8s.io"),
        ("/apis/secrets-store.csi.x-k8s.io/v9/namespaces/{}/secretproviderclasses", "secretproviderclasses.secrets-"),
        ("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{}/secretproviderclasses/app", ""),
    ],
)
def test_kinds_that_the_server_does_not_know(
    cluster: ControlPlane, namespace: str, tmp_path: Path, path: str, crd: str
) -> None:
    """Objects of a group, a kind or a version without a CRD are asked for → the failure names the CRD; an object of a
    kind that exists is missing → it does not."""
    unknown = [
        {"apiGroups": [group], "resources": [plural], "verbs": ["get", "list"]}
        for group, plural in (("nothing.example.com", "things"), (GROUP, "others"))
    ]
    rig = ClusterRig(cluster, namespace, tmp_path, [*BASE_RULES, *unknown])

    async def test() -> None:
        api = Api(rig.kubeconfig())
        try:
            with pytest.raises(NotFound) as raised:
                await api.call("GET", path.format(namespace))
        finally:
            await api.close()
        assert isinstance(raised.value, NotServed) == bool(crd), raised.value
        assert f"the CRD {crd}" in str(raised.value) or not crd

    run_async(test)
