"""How far a restart on rotation looks for a pod with other content, before the fake API server; what it restarts is
tested with real controllers (tests/cluster/test_restarts.py)."""

import pytest

from driver import limits
from driver.cluster.api import Api
from driver.cluster.workloads import WorkloadRestarter
from driver.objects.pod_status import build_status, status_name
from driver.ports import Pod, Restart, RestartResult
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer
from tests.support.fake_api_rig import FakeApiRig

STATUSES = "secretproviderclasspodstatuses"
VERSIONS = {"password": "v2"}


@pytest.fixture
def pod(rig: FakeApiRig) -> Pod:
    """A pod of the StatefulSet ``web``."""
    return make_pod(rig, "web-0", make_stateful_set(rig, "web"))


def make_stateful_set(rig: FakeApiRig, name: str) -> str:
    """Its UID."""
    made = rig.api.create(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"namespace": rig.namespace, "name": name},
            "spec": {"template": {"metadata": {}, "spec": {}}},
        }
    )
    return str(made["metadata"]["uid"])


def make_pod(rig: FakeApiRig, name: str, controller: str) -> Pod:
    """A pod of the StatefulSet with this UID."""
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": controller, "controller": True}
    return rig.make_pod(name, [owner])


def claim(rig: FakeApiRig, pod: Pod, version: str) -> None:
    """The pod's status says that its volume has this version."""
    record = rig.record(pod, objects={"password": version})
    rig.api.create(build_status(record, status_name(record)))


def restart(rig: FakeApiRig, pod: Pod) -> RestartResult:
    """Ask for a restart of the pod's workload, as its volume has new versions."""
    results = list[RestartResult]()
    request = Restart(pod, rig.record(pod).class_ref, "class-uid", "secrets", VERSIONS, (), 300.0)

    async def test(api: Api) -> None:
        results.append(await WorkloadRestarter(api).restart(request))

    run(rig.kubeconfig(), test)
    return results[0]


@pytest.mark.parametrize(
    ("pods", "statuses", "asked", "lists", "restarted"),
    [
        (20, 1000, 7, 2, False),  # the sibling is the seventh
        (7, 1000, 7, 2, False),
        (6, 1000, 6, 2, True),
        (20, 8, 7, 2, False),
        (20, 4, 3, 1, True),
    ],
)
def test_how_far_it_looks(
    rig: FakeApiRig,
    pod: Pod,
    monkeypatch: pytest.MonkeyPatch,
    pods: int,
    statuses: int,
    asked: int,
    lists: int,
    restarted: bool,
) -> None:
    """Seven pods have other content, six of another workload and then one of the same; one more has the same content →
    in pages of four statuses, as many statuses are read, and as many pods, as the limits say. The workload is
    restarted only if the sibling is not among them."""
    monkeypatch.setattr(limits, "STATUS_PAGE", 4)
    monkeypatch.setattr(limits, "MAX_SIBLING_PODS", pods)
    monkeypatch.setattr(limits, "MAX_SIBLING_STATUSES", statuses)
    other = make_stateful_set(rig, "other")
    claim(rig, make_pod(rig, "a-same", other), VERSIONS["password"])
    for number in range(6):
        claim(rig, make_pod(rig, f"b-{number}", other), "v1")
    owner = rig.api.get(f"/apis/apps/v1/namespaces/{rig.namespace}/statefulsets/web")["metadata"]["uid"]
    claim(rig, make_pod(rig, "c-sibling", owner), "v1")
    result = restart(rig, pod)
    assert result.restarted is restarted
    assert ("as pod c-sibling has other versions" in result.message) is not restarted
    assert rig.count()["list", STATUSES] == lists
    assert rig.count()["get", "pods"] == 1 + asked


def test_a_list_that_expires(rig: FakeApiRig, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second page of the statuses is a 410 → all is read again, and the workload is restarted."""
    monkeypatch.setattr(limits, "STATUS_PAGE", 1)
    for number in range(3):
        claim(rig, make_pod(rig, f"same-{number}", "uid"), VERSIONS["password"])
    expired = rig.server.on("GET", f"/{STATUSES}$", Answer(410), times=1, where=lambda call: "continue" in call.query)
    assert restart(rig, pod).restarted
    assert expired.hits == 1 and rig.count()["list", STATUSES] == 2 + 3
