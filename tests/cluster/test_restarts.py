"""Restarts on rotation: whole drivers, real workloads and their controllers, and the chart's policies in force for the
driver's account."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driver.objects.workloads import CONTENT, RESTARTED_AT
from driver.ports import RESTART_ANNOTATION, RESTART_INTERVAL_ANNOTATION, Pod
from tests.cluster.api import Object
from tests.cluster.rig import BASE_RULES, RESTART_RULES, ClusterRig
from tests.cluster.servers import ControlPlane
from tests.cluster.syncing import workload
from tests.support.rig import NODE, Rig, Volume
from tests.support.waiting import run_async, until, until_blocking, wait_until

ON = {RESTART_ANNOTATION: "true"}
OPTIONS: dict[str, Any] = {"enable_secret_rotation": True, "restart_on_rotation": True}
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "restart-on-rotation.md"
LONG_AGO = "2001-02-03T04:05:06Z"


@pytest.fixture
def cluster_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> ClusterRig:
    """With the rights to restart workloads, and none to sync."""
    return ClusterRig(cluster, namespace, tmp_path, [*BASE_RULES, *RESTART_RULES])


@pytest.fixture
def node(cluster: ControlPlane) -> Iterator[None]:
    """The node of the rigs, for a DaemonSet."""
    made: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    cluster.api.apply(made)
    yield
    cluster.api.delete(cluster.api.path(made))


def deployment(cluster_rig: ClusterRig, replicas: int = 1, name: str = "web") -> list[Pod]:
    """The pods of a new Deployment, which are ready: its controller deletes those that are not as soon as there are new
    ones."""
    pods = workload(cluster_rig, "Deployment", replicas, name)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    for pod in pods:
        cluster_rig.cluster.api.patch(cluster_rig.path("pods", pod.name) + "/status", ready)
    wait_until(
        lambda: (
            cluster_rig.api.get(path(cluster_rig, "Deployment", name))["status"].get("availableReplicas") == replicas
        ),
        "the Deployment to be available",
    )
    return pods


def path(cluster_rig: ClusterRig, kind: str, name: str = "web") -> str:
    """The path of a workload."""
    return f"/apis/apps/v1/namespaces/{cluster_rig.namespace}/{kind.lower()}s/{name}"


def rollouts(cluster_rig: ClusterRig, kind: str = "Deployment") -> int:
    """How often the specification of ``web`` was changed."""
    return int(cluster_rig.api.get(path(cluster_rig, kind))["metadata"]["generation"]) - 1


def annotations(cluster_rig: ClusterRig, kind: str = "Deployment") -> tuple[str, str]:
    """What a restart has written: the content and the time."""
    found = cluster_rig.api.get(path(cluster_rig, kind))
    template = found["spec"]["template"]["metadata"].get("annotations") or {}
    return template.get(CONTENT, ""), (found["metadata"].get("annotations") or {}).get(RESTARTED_AT, "")


def said(cluster_rig: ClusterRig, reason: str) -> list[str]:
    """The messages of the events with a reason."""
    return [item["message"] for item in cluster_rig.events(reason)]


async def rotate(rig: Rig, volume: Volume, value: str) -> None:
    """A republish finds new content, and all restarts that are wanted have been asked for."""
    rig.provider.put("password", value)
    make_due(rig, volume)
    await volume.publish()
    assert volume.read() == value.encode()
    await all_asked(rig)


async def republish(rig: Rig, volume: Volume) -> None:
    """A republish finds nothing new, when what was to be waited for has passed."""
    state = rig.driver.volumes.get(str(volume.target))
    assert state is not None
    state.restart.not_before = 0.0
    await volume.publish()
    await all_asked(rig)


async def all_asked(rig: Rig) -> None:
    """No request is waiting or being made."""
    await until(lambda: not rig.driver.publish_path.restarts.busy, "the requests to be made")


def make_due(rig: Rig, volume: Volume) -> None:
    """As after the interval."""
    state = rig.driver.volumes.get(str(volume.target))
    assert state is not None
    state.refreshed_at = None


def wanted(rig: Rig, volume: Volume) -> bool:
    """Whether the volume wants a restart."""
    state = rig.driver.volumes.get(str(volume.target))
    return state is not None and bool(state.restart.former)


def test_two_nodes(cluster_rig: ClusterRig) -> None:
    """Pods of one Deployment on two nodes, whose volumes rotate one after the other, and then again → one roll-out each
    time, which creates new pods, with one event; the value in the template says nothing of the content; a third node's
    driver, whose pod rotates when all is done, writes nothing."""
    cluster_rig.make_class(annotations={**ON, RESTART_INTERVAL_ANNOTATION: "1s"})
    pods = deployment(cluster_rig, 3)

    async def test() -> None:
        async with (
            cluster_rig.driver(name="a", **OPTIONS) as one,
            cluster_rig.driver(name="b", nodeid="node-2", **OPTIONS) as two,
            cluster_rig.driver(name="c", nodeid="node-3", **OPTIONS) as three,
        ):
            rigs = (one, two, three)
            volumes = [cluster_rig.volume(rig, pod) for rig, pod in zip(rigs, pods, strict=True)]
            for volume in volumes:
                await volume.publish()
            assert rollouts(cluster_rig) == 0
            for rig, volume in zip(rigs, volumes, strict=True):
                await rotate(rig, volume, "new")
                assert rollouts(cluster_rig) == 1 and not wanted(rig, volume)
            content, time = annotations(cluster_rig)
            assert content.startswith("secrets=") and len(content) == len("secrets=") + 32 and time
            await until_blocking(lambda: len(replica_sets(cluster_rig)) == 2, "the new ReplicaSet")
            await until_blocking(
                lambda: (
                    said(cluster_rig, "WorkloadRestarted")
                    == ["volume secrets has new content: Deployment web is restarted"]
                ),
                "the event",
            )
            for rig, volume in zip(rigs, volumes, strict=True):
                await republish(rig, volume)
            assert rollouts(cluster_rig) == 1 and said(cluster_rig, "WorkloadNotRestarted") == []

    run_async(test)


def replica_sets(cluster_rig: ClusterRig) -> list[Object]:
    """Those of the namespace."""
    found: list[Object] = cluster_rig.api.get(f"/apis/apps/v1/namespaces/{cluster_rig.namespace}/replicasets")["items"]
    return found


def test_two_nodes_at_once(cluster_rig: ClusterRig) -> None:
    """Both rotate at the same moment → one roll-out: the write of the other is refused as outdated, or not made."""
    cluster_rig.make_class(annotations=ON)
    pods = deployment(cluster_rig, 2)

    async def test() -> None:
        async with (
            cluster_rig.driver(name="a", **OPTIONS) as one,
            cluster_rig.driver(name="b", nodeid="node-2", **OPTIONS) as two,
        ):
            volumes = [(rig, cluster_rig.volume(rig, pod)) for rig, pod in zip((one, two), pods, strict=True)]
            for _, volume in volumes:
                await volume.publish()
            for rig, volume in volumes:
                rig.provider.put("password", "new")
                make_due(rig, volume)
            for _, volume in volumes:
                await volume.publish()
            for rig, volume in volumes:
                await all_asked(rig)
                assert not wanted(rig, volume)
            assert rollouts(cluster_rig) == 1

    run_async(test)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_workloads(cluster_rig: ClusterRig, node: None, kind: str) -> None:
    """They are restarted as a Deployment is."""
    cluster_rig.make_class(annotations=ON)
    (pod,) = workload(cluster_rig, kind)

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rotate(rig, volume, "new")
            assert rollouts(cluster_rig, kind) == 1 and annotations(cluster_rig, kind)[0].startswith("secrets=")

    run_async(test)


def test_not_again_within_the_interval(cluster_rig: ClusterRig) -> None:
    """It was restarted a moment ago, by the time that the workload names → an event says when, and the driver restarts;
    when the interval has passed it is restarted for the newest content. A time in the future prevents nothing."""
    cluster_rig.make_class(annotations=ON)
    (pod,) = deployment(cluster_rig)

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rotate(rig, volume, "one")
            first, _ = annotations(cluster_rig)
            await rotate(rig, volume, "two")
            await republish(rig, volume)
            assert annotations(cluster_rig)[0] == first and rollouts(cluster_rig) == 1 and wanted(rig, volume)
            await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            assert "was restarted a short while ago: again not before " in said(cluster_rig, "WorkloadNotRestarted")[0]
            await rig.restart()
            assert wanted(rig, volume)
            set_time(cluster_rig, LONG_AGO)
            await republish(rig, volume)
            second, _ = annotations(cluster_rig)
            assert second != first and not wanted(rig, volume)
            set_time(cluster_rig, "2099-01-01T00:00:00Z")
            await rotate(rig, volume, "three")
            assert annotations(cluster_rig)[0] not in (first, second), cluster_rig.events()

    run_async(test)


def set_time(cluster_rig: ClusterRig, time: str) -> None:
    """As somebody who sets the time of the last restart."""
    cluster_rig.cluster.api.patch(path(cluster_rig, "Deployment"), {"metadata": {"annotations": {RESTARTED_AT: time}}})


def test_content_that_differs_from_pod_to_pod(cluster_rig: ClusterRig) -> None:
    """The second pod has other versions than the first has or had → no roll-out, and an event says why; the same class
    in a pod of another workload does not matter."""
    cluster_rig.make_class(annotations=ON)
    pods = deployment(cluster_rig, 2)
    (other,) = deployment(cluster_rig, name="other")

    async def test() -> None:
        async with (
            cluster_rig.driver(name="a", **OPTIONS) as one,
            cluster_rig.driver(name="b", nodeid="node-2", **OPTIONS) as two,
        ):
            first, second, third = (
                cluster_rig.volume(rig, pod) for rig, pod in ((one, pods[0]), (two, pods[1]), (two, other))
            )
            two.provider.put("password", "of the second")
            for volume in (first, second, third):
                await volume.publish()
            await rotate(one, first, "new")
            assert rollouts(cluster_rig) == 0 and not wanted(one, first)
            await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            (message,) = said(cluster_rig, "WorkloadNotRestarted")
            assert f"the content differs from pod to pod, as pod {pods[1].name} has other versions" in message
            two.provider.put("password", "newer")
            await rotate(two, second, "newer")
            await rotate(one, first, "newer")
            assert rollouts(cluster_rig) == 1, "now all have the same"

    run_async(test)


def test_a_pod_whose_refreshes_fail(cluster_rig: ClusterRig) -> None:
    """It is left behind with content that the others neither have nor had → it does not keep them from being
    restarted."""
    cluster_rig.make_class(annotations=ON)
    pods = deployment(cluster_rig, 2)

    async def test() -> None:
        async with (
            cluster_rig.driver(name="a", **OPTIONS) as one,
            cluster_rig.driver(name="b", nodeid="node-2", **OPTIONS) as two,
        ):
            first, second = (cluster_rig.volume(rig, pod) for rig, pod in zip((one, two), pods, strict=True))
            two.provider.put("password", "years ago")
            await first.publish()
            await second.publish()
            two.provider.remove("password")
            make_due(two, second)
            await second.publish()
            await rotate(one, first, "new")
            assert rollouts(cluster_rig) == 1

    run_async(test)


def test_the_documented_example(cluster_rig: ClusterRig) -> None:
    """The objects of docs/restart-on-rotation.md → its Deployment is restarted when a pod's volume has rotated."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    cluster_rig.cluster.kubectl("apply", f"--namespace={cluster_rig.namespace}", "-f", "-", stdin=example)
    wait_until(lambda: len(cluster_rig.listed("pods")) == 2, "the pods")
    found = cluster_rig.listed("pods")[0]
    ((name, class_name),) = [
        (item["name"], item["csi"]["volumeAttributes"]["secretProviderClass"])
        for item in found["spec"]["volumes"]
        if "csi" in item
    ]

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            pod = Pod(cluster_rig.namespace, found["metadata"]["name"], found["metadata"]["uid"])
            volume = cluster_rig.volume(rig, pod, name=name, class_name=class_name)
            await volume.publish()
            await rotate(rig, volume, "new")
            assert annotations(cluster_rig)[0].startswith("credentials=")

    run_async(test)


def a_pod(cluster_rig: ClusterRig, what: str) -> Pod:
    """A pod without a workload that can be restarted."""
    if what in ("Job", "ReplicaSet"):
        return workload(cluster_rig, what)[0]
    return cluster_rig.make_pod(owners=[{**cluster_rig.make_owner(), "controller": True}] if what == "other" else None)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("bare", "the pod has no controller that would replace it: delete and create it yourself"),
        ("Job", "Job web is not restarted: only Deployments, StatefulSets and DaemonSets are"),
        ("other", "ConfigMap owner is not restarted: only Deployments, StatefulSets and DaemonSets are"),
        ("ReplicaSet", "ReplicaSet web is not restarted, since it has no Deployment"),
    ],
)
def test_what_cannot_be_restarted(cluster_rig: ClusterRig, what: str, sentence: str) -> None:
    """An event says so, once, and nothing is written."""
    cluster_rig.make_class(annotations=ON)
    pod = a_pod(cluster_rig, what)

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rotate(rig, volume, "new")
            await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            assert said(cluster_rig, "WorkloadNotRestarted") == [f"volume secrets has new content: {sentence}"]
            assert not wanted(rig, volume)

    run_async(test)


def test_a_paused_deployment(cluster_rig: ClusterRig) -> None:
    """An event says so, once; when it is resumed it is restarted."""
    cluster_rig.make_class(annotations=ON)
    (pod,) = deployment(cluster_rig)
    cluster_rig.cluster.api.patch(path(cluster_rig, "Deployment"), {"spec": {"paused": True}})

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rotate(rig, volume, "new")
            await republish(rig, volume)
            assert rollouts(cluster_rig) == 1 and annotations(cluster_rig)[0] == "" and wanted(rig, volume)
            await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            (event,) = cluster_rig.events("WorkloadNotRestarted")
            assert "its rollouts are paused: kubectl rollout resume" in event["message"] and event["count"] == 1
            cluster_rig.cluster.api.patch(path(cluster_rig, "Deployment"), {"spec": {"paused": None}})
            await republish(rig, volume)
            assert annotations(cluster_rig)[0] and not wanted(rig, volume)

    run_async(test)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_on_delete(cluster_rig: ClusterRig, node: None, kind: str) -> None:
    """A new template would replace no pod → an event, and nothing is written."""
    cluster_rig.make_class(annotations=ON)
    (pod,) = workload(cluster_rig, kind, updateStrategy={"type": "OnDelete"})

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rotate(rig, volume, "new")
            await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            assert "its updateStrategy is OnDelete: delete the pod" in said(cluster_rig, "WorkloadNotRestarted")[0]
            assert rollouts(cluster_rig, kind) == 0 and not wanted(rig, volume)

    run_async(test)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(None, ""), ("false", ""), ("yes", 'must be "true" or "false"'), ("True", 'must be "true" or "false"')],
)
def test_a_class_that_does_not_ask_for_it(cluster_rig: ClusterRig, value: str | None, sentence: str) -> None:
    """No call for it, and an event only if the annotation is wrong."""
    cluster_rig.make_class(annotations={} if value is None else {RESTART_ANNOTATION: value})
    (pod,) = deployment(cluster_rig)

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            mark = cluster_rig.cluster.audit.mark()
            await rotate(rig, volume, "new")
            if sentence:
                await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            assert [text for text in said(cluster_rig, "WorkloadNotRestarted") if sentence not in text] == []
            assert not {"pods", "replicasets", "deployments"} & {what for _, what in cluster_rig.count(mark)}

    run_async(test)


def test_a_wrong_interval(cluster_rig: ClusterRig) -> None:
    """An event names the annotation, and it is restarted all the same."""
    cluster_rig.make_class(annotations={**ON, RESTART_INTERVAL_ANNOTATION: "ten minutes"})
    (pod,) = deployment(cluster_rig)

    async def test() -> None:
        async with cluster_rig.driver(**OPTIONS) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rotate(rig, volume, "new")
            assert rollouts(cluster_rig) == 1
            await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            assert "restart-min-interval: " in said(cluster_rig, "WorkloadNotRestarted")[0]

    run_async(test)


@pytest.mark.parametrize("rights", [True, False])
def test_it_is_not_enabled(cluster: ControlPlane, namespace: str, tmp_path: Path, rights: bool) -> None:
    """The class asks for restarts, and the driver has not the flag, or not the rights → an event names the chart's
    value."""
    cluster_rig = ClusterRig(cluster, namespace, tmp_path, [*BASE_RULES, *(RESTART_RULES if rights else ())])
    cluster_rig.make_class(annotations=ON)
    (pod,) = deployment(cluster_rig)

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True, restart_on_rotation=not rights) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rotate(rig, volume, "new")
            await until_blocking(lambda: said(cluster_rig, "WorkloadNotRestarted"), "the event")
            assert "restartOnRotation.enabled=true" in said(cluster_rig, "WorkloadNotRestarted")[0]
            assert rollouts(cluster_rig) == 0 and wanted(rig, volume) is not rights

    run_async(test)
