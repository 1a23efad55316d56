"""Secrets synced from mounted files: a whole driver, real Secrets and owners, the real garbage collector."""

import asyncio
from base64 import b64encode

import pytest

from tests.cluster.api import Object
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import ClusterRig
from tests.cluster.syncing import workload
from tests.support.fake_api.faults import Silence
from tests.support.syncing import ENTRY, check_now, engine_of, owners, values
from tests.support.waiting import run_async, until_blocking


def test_a_bare_pod(cluster_rig: ClusterRig) -> None:
    """A pod without a controller → when the publish has ended the Secret exists, with labels and annotations, owned by
    the pod status, at the cost of two writes and three reads; the pod is deleted → the Secret is collected."""
    cluster_rig.make_class(secretObjects=[{**ENTRY, "labels": {"team": "a"}, "annotations": {"note": "b"}}])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.watch_open()
            mark = cluster_rig.cluster.audit.mark()
            await cluster_rig.volume(rig, pod).publish()
            secret = cluster_rig.secret("synced")
            assert secret is not None, cluster_rig.events()
            assert values(secret) == {"pw": b"s3cret"} and secret["type"] == "Opaque"
            assert secret["metadata"]["labels"] == {"team": "a", "secrets-store.csi.k8s.io/managed": "true"}
            assert secret["metadata"]["annotations"]["note"] == "b"
            name = f"{pod.name}-{cluster_rig.namespace}-app"
            assert owners(secret) == [("SecretProviderClassPodStatus", name)]
            assert {
                key: number for key, number in cluster_rig.count(mark).items() if key[0] not in ("list", "watch")
            } == {
                ("get", "secretproviderclasses"): 1,
                ("create", "secretproviderclasspodstatuses"): 1,
                ("get", "pods"): 1,
                ("patch", "secrets"): 1,  # a read
                ("create", "secrets"): 1,
            }
            assert rig.metric("sync_k8s_secret_total", provider="stub") == 1
            cluster_rig.api.delete(cluster_rig.path("pods", pod.name))
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected")

    run_async(test)


@pytest.mark.parametrize(
    "kind, replicas, owner", [("Deployment", 2, "ReplicaSet"), ("StatefulSet", 1, "StatefulSet"), ("Job", 1, "Job")]
)
def test_owners(cluster_rig: ClusterRig, kind: str, replicas: int, owner: str) -> None:
    """Pods of a controller → the Secret is owned by what created the pods, once for all replicas, and is collected with
    it."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pods = workload(cluster_rig, kind, replicas)

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            for pod in pods:
                await cluster_rig.volume(rig, pod).publish()
            ((found, _),) = owners(cluster_rig.secret("synced"))
            assert found == owner
            group = "/apis/batch/v1" if kind == "Job" else "/apis/apps/v1"
            cluster_rig.api.delete(f"{group}/namespaces/{cluster_rig.namespace}/{kind.lower()}s/web")
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected")

    run_async(test)


STATUS = "SecretProviderClassPodStatus"


@pytest.mark.parametrize(
    ("kind", "created_again", "owner"),
    [
        ("StatefulSet", True, "StatefulSet"),
        ("ReplicaSet", True, "ReplicaSet"),
        ("StatefulSet", False, STATUS),
        ("Job", False, STATUS),
    ],
)
def test_orphaned_pods(cluster_rig: ClusterRig, kind: str, created_again: bool, owner: str) -> None:
    """`kubectl delete --cascade=orphan`, and the controller is created again or not → the next check gives the Secret
    to the pod's new owner, or to its pod status, and later checks leave it so; it is collected with that owner."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    (pod,) = workload(cluster_rig, kind)
    group = "batch/v1" if kind == "Job" else "apps/v1"
    path = f"/apis/{group}/namespaces/{cluster_rig.namespace}/{kind.lower()}s/web"

    def pod_owners() -> list[str]:
        found = cluster_rig.api.get(cluster_rig.path("pods", pod.name))
        return [item["uid"] for item in found["metadata"].get("ownerReferences") or ()]

    def secret_owners() -> list[Object]:
        found = cluster_rig.secret("synced") or {"metadata": {}}
        return list(found["metadata"].get("ownerReferences") or ())

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            former = pod_owners()
            await asyncio.to_thread(cluster_rig.api.delete, path, "Orphan")
            await until_blocking(lambda: pod_owners() == [] and not secret_owners(), "the pod to be an orphan")
            await until_blocking(lambda: cluster_rig.api.find(path) is None, "the end of its controller")
            if created_again:
                assert await asyncio.to_thread(workload, cluster_rig, kind) == [pod]
                await until_blocking(lambda: pod_owners() not in ([], former), "the pod to be adopted")
            check_now(rig)
            await until_blocking(secret_owners, "the owner")
            (found,) = secret_owners()
            assert found["kind"] == owner and found["uid"] not in former
            secret = cluster_rig.secret("synced")
            mark = cluster_rig.cluster.audit.mark()
            check_now(rig)
            await until_blocking(lambda: cluster_rig.count(mark)["patch", "secrets"], "a check")
            assert cluster_rig.secret("synced") == secret
            cluster_rig.api.delete(path if created_again else cluster_rig.path("pods", pod.name))
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected")

    run_async(test)


def test_pod_status_with_a_new_uid(cluster_rig: ClusterRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod status of a bare pod, which owns its Secret, is deleted by hand, so that the Secret is collected → the
    next check writes both again, and the Secret stays."""
    monkeypatch.setattr("driver.cluster.statuses.written_status.IDENTITY_SECONDS", 0.0)
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            before = cluster_rig.api.get(cluster_rig.status_path(pod.name))
            cluster_rig.api.delete(cluster_rig.status_path(pod.name))
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected")
            check_now(rig)
            secret = await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret")
            after = cluster_rig.api.get(cluster_rig.status_path(pod.name))
            assert secret is not None and after["metadata"]["uid"] != before["metadata"]["uid"]
            assert [item["uid"] for item in secret["metadata"]["ownerReferences"]] == [after["metadata"]["uid"]]
            assert after["status"]["objects"] == before["status"]["objects"]

    run_async(test)


def test_two_workloads_own_one_secret(cluster_rig: ClusterRig) -> None:
    """Two Deployments share a Secret → both ReplicaSets own it, and it outlives the first one that is deleted."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    first, second = (
        workload(cluster_rig, "Deployment", name="one")[0],
        workload(cluster_rig, "Deployment", name="two")[0],
    )

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, first).publish()
            mark = cluster_rig.cluster.audit.mark()
            await cluster_rig.volume(rig, second).publish()
            assert len(owners(cluster_rig.secret("synced"))) == 2
            counted = cluster_rig.count(mark)
            assert sum(number for (verb, _), number in counted.items() if verb in ("create", "patch")) == 3, counted
            assert sum(number for (verb, _), number in counted.items() if verb == "get") == 1, counted
            cluster_rig.api.delete(f"/apis/apps/v1/namespaces/{cluster_rig.namespace}/deployments/one")
            await until_blocking(lambda: len(owners(cluster_rig.secret("synced"))) == 1, "the owner to be removed")
            assert values(cluster_rig.secret("synced")) == {"pw": b"s3cret"}

    run_async(test)


def test_two_drivers_one_secret(cluster_rig: ClusterRig) -> None:
    """Two nodes publish six pods of six workloads at the same moment → the Secret has all owners, and later checks
    write nothing."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pods = [workload(cluster_rig, "Deployment", name=f"web-{number}")[0] for number in range(6)]

    async def test() -> None:
        async with cluster_rig.driver(name="a") as one, cluster_rig.driver(name="b", nodeid="node-2") as two:
            await asyncio.gather(
                *(cluster_rig.volume(rig, pod).publish() for rig, pod in zip([one, two] * 3, pods, strict=True))
            )
            await until_blocking(lambda: len(owners(cluster_rig.secret("synced"))) == 6, "all owners")
            assert values(cluster_rig.secret("synced")) == {"pw": b"s3cret"}
            mark = cluster_rig.cluster.audit.mark()
            check_now(one)
            check_now(two)
            before = cluster_rig.secret("synced")
            await until_blocking(lambda: cluster_rig.count(mark)["patch", "secrets"] >= 2, "both checks")
            assert cluster_rig.secret("synced") == before
            assert not cluster_rig.events("FailedToCreateSecret")

    run_async(test)


def test_drift(cluster_rig: ClusterRig) -> None:
    """A Secret is changed or deleted by hand → the next check repairs or recreates it and keeps foreign keys, labels
    and owners; a check without drift is one read."""
    cluster_rig.make_class(secretObjects=[{**ENTRY, "labels": {"team": "a"}}])
    pod = cluster_rig.make_pod(owners=[cluster_rig.make_owner()])

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            path = cluster_rig.path("secrets", "synced")
            mark = cluster_rig.cluster.audit.mark()
            check_now(rig)
            await until_blocking(lambda: cluster_rig.count(mark), "the check")
            assert cluster_rig.count(mark) == {("patch", "secrets"): 1}
            foreign = b64encode(b"foreign").decode()
            cluster_rig.api.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "data": {"theirs": foreign},
                    "metadata": {
                        "namespace": cluster_rig.namespace,
                        "name": "synced",
                        "labels": {"x": "y"},
                        "ownerReferences": [{**cluster_rig.make_owner("other")}],
                    },
                },
                fieldManager="other",
            )
            cluster_rig.api.patch(path, {"data": {"pw": foreign}, "metadata": {"labels": {"team": None}}})
            check_now(rig)
            await until_blocking(
                lambda: (values(cluster_rig.secret("synced")) or {}).get("pw") == b"s3cret", "the value"
            )
            secret = cluster_rig.secret("synced")
            assert values(secret) == {"pw": b"s3cret", "theirs": b"foreign"} and secret is not None
            assert secret["metadata"]["labels"].items() >= {"team": "a", "x": "y"}.items()
            assert [name for _, name in owners(secret)] == ["other", "owner"]
            cluster_rig.api.delete(path)
            check_now(rig)
            await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret to come back")
            assert owners(cluster_rig.secret("synced")) == [("ConfigMap", "owner")]

    run_async(test)


def test_rotation_reaches_the_secret_in_the_same_republish(cluster_rig: ClusterRig) -> None:
    """A republish that is due fetches a new value → when it has ended the Secret has it; one that is not due costs no
    call."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            mark = cluster_rig.cluster.audit.mark()
            await volume.publish()
            known = rig.driver.volumes.get(str(volume.target))
            assert known is not None and cluster_rig.count(mark) == {}
            rig.provider.put("password", "new")
            known.refreshed_at = None
            await volume.publish()
            assert values(cluster_rig.secret("synced")) == {"pw": b"new"}

    run_async(test)


def test_replaced_class(cluster_rig: ClusterRig) -> None:
    """Rotation is off and the class is deleted and recreated with another key, as some tools do → the Secret
    follows."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            await cluster_rig.watch_open()
            cluster_rig.api.delete(cluster_rig.path("secretproviderclasses", "app"))
            await until_blocking(lambda: not engine_of(rig)._table.jobs, "the job to end")
            cluster_rig.make_class(secretObjects=[{**ENTRY, "data": [{"objectName": "password", "key": "other"}]}])
            await until_blocking(lambda: values(cluster_rig.secret("synced")) == {"other": b"s3cret"}, "the Secret")

    run_async(test)


def test_changed_class(cluster_rig: ClusterRig) -> None:
    """Rotation is off and the class gets more keys and Secrets, then loses them → the Secrets follow; none is
    deleted."""
    cluster_rig.make_class(secretObjects=[{**ENTRY, "labels": {"team": "a"}}])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            await cluster_rig.watch_open()
            data = [{"objectName": "password", "key": key} for key in ("one", "two")]
            cluster_rig.make_class(secretObjects=[{**ENTRY, "data": data}, {**ENTRY, "secretName": "second"}])
            await until_blocking(lambda: cluster_rig.secret("second"), "the new entry's Secret")
            await until_blocking(
                lambda: values(cluster_rig.secret("synced")) == {"one": b"s3cret", "two": b"s3cret"}, "the new keys"
            )
            secret = cluster_rig.secret("synced")
            assert secret is not None and "team" not in secret["metadata"]["labels"]
            cluster_rig.make_class(secretObjects=[])
            await until_blocking(lambda: not engine_of(rig)._table.jobs, "the jobs to end")
            assert cluster_rig.secret("second")

    run_async(test)


def test_a_restart_with_rotation_off(cluster_rig: ClusterRig) -> None:
    """Rotation is off and the Secret is deleted while the driver is down → the new driver recreates it without a
    republish."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            await rig.stop()
            cluster_rig.api.delete(cluster_rig.path("secrets", "synced"))
            mark = cluster_rig.cluster.audit.mark()
            await rig.start()
            await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret to come back")
            assert values(cluster_rig.secret("synced")) == {"pw": b"s3cret"}
            name = f"{pod.name}-{cluster_rig.namespace}-app"
            assert owners(cluster_rig.secret("synced")) == [("SecretProviderClassPodStatus", name)]
            counted = cluster_rig.count(mark)
            assert counted["list", "secretproviderclasspodstatuses"] == 0
            assert ("list", "secrets") not in counted and ("watch", "secrets") not in counted

    run_async(test)


def test_adoption(cluster_rig: ClusterRig) -> None:
    """A Secret that a user created without an owner → it gets our key, keeps its own, gets no owner, and an event says
    so."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    cluster_rig.make_adoptable_secret(stringData={"pw": "old", "mine": "kept"})
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            secret = cluster_rig.secret("synced")
            assert values(secret) == {"pw": b"s3cret", "mine": b"kept"} and owners(secret) == []
            await until_blocking(lambda: cluster_rig.events("SecretAdopted"), "the event")
            check_now(rig)
            await cluster_rig.volume(rig, cluster_rig.make_pod("pod-2")).publish()
            assert owners(cluster_rig.secret("synced")) == []

    run_async(test)


def test_secret_of_the_go_driver(cluster_rig: ClusterRig) -> None:
    """A Secret that the Go driver created, with an owner → it has both owners and our value."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    reference = cluster_rig.make_owner("former")
    cluster_rig.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "stringData": {"pw": "old"},
            "metadata": {
                "namespace": cluster_rig.namespace,
                "name": "synced",
                "ownerReferences": [reference],
                "labels": {"secrets-store.csi.k8s.io/managed": "true"},
            },
        }
    )
    pod = cluster_rig.make_pod(owners=[cluster_rig.make_owner()])

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            assert values(cluster_rig.secret("synced")) == {"pw": b"s3cret"}
            assert owners(cluster_rig.secret("synced")) == [("ConfigMap", "former"), ("ConfigMap", "owner")]

    run_async(test)


def test_sync_is_off(cluster_rig: ClusterRig) -> None:
    """--sync-secrets=false → no call for the pod or the Secret."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(sync_secrets=False) as rig:
            mark = cluster_rig.cluster.audit.mark()
            await cluster_rig.volume(rig, pod).publish()
            assert {resource for _, resource in cluster_rig.count(mark)} == {
                "secretproviderclasses",
                "secretproviderclasspodstatuses",
            }

    run_async(test)


def test_a_slow_secret_does_not_hold_the_publish(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """Writing Secrets hangs → the publish ends within two seconds or so; it works again → the Secret is created."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            rule = proxy.on("POST", r"/secrets$", Silence())
            started = asyncio.get_running_loop().time()
            await cluster_rig.volume(rig, pod).publish()
            assert asyncio.get_running_loop().time() - started < 3
            assert cluster_rig.secret("synced") is None
            rule.lift()
            await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret")

    run_async(test)


def test_two_classes_share_a_secret(cluster_rig: ClusterRig) -> None:
    """Two classes sync to one Secret → each has its own key in it, and removes only that."""

    def entry(key: str) -> Object:
        return {**ENTRY, "data": [{"objectName": "password", "key": key}]}

    cluster_rig.make_class("one", secretObjects=[entry("one")])
    cluster_rig.make_class("two", secretObjects=[entry("two")])
    pods = [cluster_rig.make_pod(name) for name in ("pod-1", "pod-2")]

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pods[0], class_name="one").publish()
            await cluster_rig.volume(rig, pods[1], class_name="two").publish()
            assert values(cluster_rig.secret("synced")) == {"one": b"s3cret", "two": b"s3cret"}
            await cluster_rig.watch_open()
            cluster_rig.make_class("one", secretObjects=[entry("uno")])
            await until_blocking(
                lambda: values(cluster_rig.secret("synced")) == {"uno": b"s3cret", "two": b"s3cret"}, "the new key"
            )

    run_async(test)


def test_older_content_is_not_written_back(cluster_rig: ClusterRig) -> None:
    """Two nodes share a Secret and one has a newer value → the other node's check leaves it, until that node has
    refreshed, too."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pods = [cluster_rig.make_pod(name, owners=[cluster_rig.make_owner(name)]) for name in ("pod-1", "pod-2")]

    async def test() -> None:
        async with (
            cluster_rig.driver(name="a", enable_secret_rotation=True) as one,
            cluster_rig.driver(name="b", nodeid="node-2", enable_secret_rotation=True) as two,
        ):
            first, second = cluster_rig.volume(one, pods[0]), cluster_rig.volume(two, pods[1])
            await first.publish()
            await second.publish()
            for rig, volume in ((one, first), (two, second)):
                state = rig.driver.volumes.get(str(volume.target))
                assert state is not None
                state.refreshed_at = None
            member = engine_of(two)._table.members[str(second.target)]
            assert member.refreshed_at is not None
            member.refreshed_at -= 60
            one.provider.put("password", "new")
            await first.publish()
            assert values(cluster_rig.secret("synced")) == {"pw": b"new"}
            mark = cluster_rig.cluster.audit.mark()
            check_now(two)
            await until_blocking(lambda: cluster_rig.count(mark)["patch", "secrets"], "the other node's check")
            assert values(cluster_rig.secret("synced")) == {"pw": b"new"}
            two.provider.put("password", "newest")
            await second.publish()
            assert values(cluster_rig.secret("synced")) == {"pw": b"newest"}

    run_async(test)
