"""Pod statuses that somebody forged, with a real API server and the chart's rights."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from driver import restore
from driver.objects import pod_status
from driver.ports import ClassRef, VolumeRecord
from tests.cluster.rig import BASE_RULES, ClusterRig, grant
from tests.cluster.servers import ControlPlane
from tests.support.rig import NODE
from tests.support.waiting import run_async, until

STEAL = {"secretName": "stolen", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}
STATUSES = "secretproviderclasspodstatuses"


@pytest.fixture
def attacker(cluster: ControlPlane, cluster_rig: ClusterRig) -> Iterator[ClusterRig]:
    """Another namespace, whose name sorts first, with a class that syncs a Secret."""
    name = f"aaa-{cluster_rig.namespace}"
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    rig = ClusterRig(cluster, name, cluster_rig.directory, rules=[])
    rig.make_class("mine", secretObjects=[STEAL])
    yield rig
    cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("ours", [True, False], ids=["record", "go-driver"])
@pytest.mark.parametrize("with_uid", [True, False])
def test_forged_status(cluster_rig: ClusterRig, attacker: ClusterRig, ours: bool, with_uid: bool) -> None:
    """A status with the node's label, another namespace's target path and a class of the attacker's, owned by the
    attacker's pod or with the victim's UID, is there when the driver restarts → his Secret is not made, his status not
    touched, and the true status is updated. The driver has exactly the chart's rights."""
    cluster_rig.make_class()
    pod, his = cluster_rig.make_pod(), attacker.make_pod(volumes={"secrets": "mine"})

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            if not ours:
                volume.remove_record()
            claimed = replace(his, uid=pod.uid) if with_uid else his
            mine = ClassRef(attacker.namespace, "mine")
            claim = VolumeRecord(claimed, mine, volume.name, str(volume.target), {"password": "v9"})
            attacker.api.create(pod_status.build_status(claim, "forged", NODE))
            await rig.start()
            (known,) = rig.driver.volumes
            await until(lambda: known.recorded, "the restart to be complete")
            assert (known.pod, known.class_ref.namespace) == (pod, cluster_rig.namespace)
            rig.provider.put("password", "new")
            known.refreshed_at = None
            await volume.publish()
            status = cluster_rig.api.get(cluster_rig.status_path())
            versions = {item["id"]: item["version"] for item in status["status"]["objects"]}
            assert versions == dict(known.objects) and volume.read() == b"new"
            assert attacker.secret("stolen") is None
            # The garbage collector has its own event about the status.
            assert [event for event in attacker.events() if event["involvedObject"]["kind"] == "Pod"] == []
            forged = attacker.api.find(attacker.path(STATUSES, "forged"))
            # The garbage collector deletes a status whose owner does not exist in its namespace.
            assert forged is None or forged["status"]["objects"] == [{"id": "password", "version": "v9"}]

    run_async(test, 60)


def test_without_the_right_to_read_pods(
    cluster: ControlPlane,
    namespace: str,
    cluster_rig: ClusterRig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The role lacks ``get`` on pods, as an earlier chart's → a volume of the Go driver is not known after a restart,
    and a warning says what to grant; its next publish makes it known."""
    monkeypatch.setattr(restore, "FIRST_PAUSE", 0.01)
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            volume.remove_record()
            grant(cluster, namespace, [rule for rule in BASE_RULES if rule["resources"] != ["pods"]])
            await rig.start()
            (known,) = rig.driver.volumes
            await until(lambda: known.recorded is False, "the restart to be complete")
            assert "grant the driver get on pods" in caplog.text and known.class_ref.name == ""
            await volume.publish()
            assert known.recorded and known.pod == pod and known.class_ref.name == "app"

    run_async(test, 60)
