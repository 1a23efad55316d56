"""The driver's ordinary work with the chart's roles and policies, as its pod on a node has them."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.objects.pod_status import NODE_LABEL, status_name
from tests.cluster import build
from tests.cluster.api import Object
from tests.cluster.policies import ALL_OF_IT, Installed, installed
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.mounts import forget_record
from tests.support.rig import DRIVER, NODE
from tests.support.syncing import ENTRY, check_now, owners, values
from tests.support.waiting import run_async, until, until_blocking

TAINT: Object = {"key": "secrets-store.csi.k8s.io/agent-not-ready", "effect": "NoExecute"}
OTHER: Object = {"key": "other", "effect": "NoSchedule"}


@pytest.fixture
def chart(cluster: ControlPlane, namespace: str) -> Iterator[Installed]:
    """The chart's account with all that it may be granted."""
    if build.GROUPS["helm"].missing:
        pytest.skip("no helm: make test-cluster builds it")
    with installed(cluster, namespace, *ALL_OF_IT) as found:
        yield found


@pytest.fixture
def node(cluster: ControlPlane) -> Iterator[str]:
    """The node of the rigs, registered and with the startup taint."""
    made: list[Object] = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"taints": [TAINT, OTHER]}},
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": NODE},
            "spec": {"drivers": [{"name": DRIVER, "nodeID": NODE}]},
        },
    ]
    for item in made:
        cluster.api.apply(item)
    yield NODE
    for item in made:
        cluster.api.delete(cluster.api.path(item))


def granted(found: Installed) -> set[tuple[str, str]]:
    """What the account's roles grant, as (verb, resource)."""
    roles = ("secretproviderclasses-role", "secretprovidersyncing-role")
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/"
    return {
        (verb, resource)
        for role in roles
        for rule in found.cluster.api.get(path + role)["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_all_of_its_work(
    cluster: ControlPlane, chart: Installed, node: str, cluster_rig: ClusterRig, tmp_path: Path
) -> None:
    """The taint is removed, Secrets are created, adopted, shared, changed and repaired, events are sent and counted,
    the driver restarts with a volume of the Go driver → no call is refused, and each granted right is used."""
    adopted = {**ENTRY, "secretName": "theirs"}
    cluster_rig.make_class(secretObjects=[ENTRY, adopted, {**ENTRY, "secretName": "bad", "type": ""}])
    metadata = {"name": "theirs", "namespace": cluster_rig.namespace}
    annotations = {"secrets-store.csi.k8s.io/adopt": "true"}
    cluster_rig.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, "annotations": annotations}})
    pods = [cluster_rig.make_pod(f"pod-{number}", owners=[cluster_rig.make_owner(f"o-{number}")]) for number in (1, 2)]
    mark = cluster.audit.mark()

    async def test() -> None:
        async with cluster_rig.driver(
            kubeconfig=chart.kubeconfig(tmp_path / "kubeconfig"),
            enable_secret_rotation=True,
            rotation_poll_interval=0.1,
            remove_startup_taint=True,
        ) as rig:
            taints = cluster.api.path({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
            await until_blocking(
                lambda: TAINT["key"] not in str(cluster.api.get(taints)["spec"]), "the taint to be removed"
            )
            volumes = [cluster_rig.volume(rig, pod) for pod in pods]
            for volume in volumes:
                await volume.publish()
            await until_blocking(lambda: len(owners(cluster_rig.secret("synced"))) == 2, "both owners")
            await until_blocking(lambda: cluster_rig.events("SecretAdopted"), "the adoption")
            rig.provider.put("password", "rotated")

            async def rotated() -> bool:
                await volumes[0].publish()
                return values(cluster_rig.secret("synced")) == {"pw": b"rotated"}

            await until(rotated, "the rotation")
            assert values(cluster_rig.secret("theirs")) == {"pw": b"rotated"}
            cluster_rig.api.patch(
                cluster_rig.path("secrets", "synced"),
                {"metadata": {"labels": {"secrets-store.csi.k8s.io/managed": None}}, "data": {"pw": "eA=="}},
            )
            check_now(rig)
            await until_blocking(lambda: values(cluster_rig.secret("synced")) == {"pw": b"rotated"}, "the repair")
            await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret")[0]["count"] > 1, "a counted event")
            await rig.stop()
            forget_record(volumes[0].target)
            await rig.start()
            await until_blocking(
                lambda: cluster.audit.count(mark, chart.user)["list", "secretproviderclasspodstatuses"], "the restart"
            )
            cluster_rig.make_class(secretObjects=[ENTRY, {**adopted, "labels": {"a": "b"}}])
            await until_blocking(
                lambda: (cluster_rig.secret("theirs") or {})["metadata"]["labels"].get("a"), "the class's change"
            )

    run_async(test)
    calls = cluster.audit.calls(mark, chart.user)
    assert [call for call in calls if call.status in (403, 422)] == []
    assert {(call.verb, call.resource) for call in calls if call.resource != "/version"} == granted(chart)


def test_a_pod_that_comes_from_another_node(
    cluster: ControlPlane, chart: Installed, cluster_rig: ClusterRig, tmp_path: Path
) -> None:
    """A StatefulSet's pod moved here, and the status of the earlier pod of its name, which the policy protects, is not
    collected yet → the new one gets the name with the digest."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()
    earlier = cluster_rig.record(pod)
    name = status_name(earlier)
    cluster.api.create(
        {
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClassPodStatus",
            "metadata": {
                "namespace": pod.namespace,
                "name": name,
                "labels": {NODE_LABEL: f"old-{uuid.uuid4().hex[:4]}"},
            },
        }
    )

    async def test() -> None:
        async with cluster_rig.driver(kubeconfig=chart.kubeconfig(tmp_path / "kubeconfig")) as rig:
            await cluster_rig.volume(rig, pod).publish()

    run_async(test)
    labels = {
        item["metadata"]["name"]: item["metadata"]["labels"][NODE_LABEL]
        for item in cluster_rig.listed("secretproviderclasspodstatuses")
    }
    assert labels.pop(name).startswith("old-")
    assert labels == {status_name(earlier, unique=True): NODE}
