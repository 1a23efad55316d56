"""Secrets from mounted files: a whole driver, real Secrets, real owners, the real garbage collector."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.api import Object
from tests.cluster.driving import Site, until
from tests.cluster.faults import Silence
from tests.cluster.proxy import FaultProxy
from tests.cluster.servers import ControlPlane
from tests.cluster.syncing import ENTRY, check_now, engine_of, owners, run, values, workload


@pytest.fixture
def site(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Site:
    """A namespace, and a driver's account with the rights that it has with sync."""
    return Site(cluster, namespace, tmp_path)


def test_a_bare_pod(site: Site) -> None:
    """The Secret is there when the publish has ended, labelled, annotated, owned by the pod's status object; two
    writes, two reads; after the pod's deletion it is collected."""
    site.make_class(secretObjects=[{**ENTRY, "labels": {"team": "a"}, "annotations": {"note": "b"}}])
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver() as rig:
            await until(lambda: site.count(0).get(("watch", "secretproviderclasses")), "the watch to be open")
            mark = site.cluster.audit.mark()
            await site.volume(rig, pod).publish()
            secret = site.secret("synced")
            assert secret is not None, site.events()
            assert values(secret) == {"pw": b"s3cret"} and secret["type"] == "Opaque"
            assert secret["metadata"]["labels"] == {"team": "a", "secrets-store.csi.k8s.io/managed": "true"}
            assert secret["metadata"]["annotations"]["note"] == "b"
            name = f"{pod.name}-{site.namespace}-app"
            assert owners(secret) == [("SecretProviderClassPodStatus", name)]
            assert {key: number for key, number in site.count(mark).items() if key[0] not in ("list", "watch")} == {
                ("get", "secretproviderclasses"): 1,
                ("create", "secretproviderclasspodstatuses"): 1,
                ("get", "pods"): 1,
                ("get", "secrets"): 1,
                ("create", "secrets"): 1,
            }
            assert rig.metric("sync_k8s_secret_total", provider="stub") == 1
            site.api.delete(site.path("pods", pod.name))
            await until(lambda: site.secret("synced") is None, "the Secret to be collected")

    run(test)


@pytest.mark.parametrize(
    "kind, replicas, owner", [("Deployment", 2, "ReplicaSet"), ("StatefulSet", 1, "StatefulSet"), ("Job", 1, "Job")]
)
def test_owners(site: Site, kind: str, replicas: int, owner: str) -> None:
    """The owner is what made the pod, once for all its replicas; with it the Secret goes."""
    site.make_class(secretObjects=[ENTRY])
    pods = workload(site, kind, replicas)

    async def test() -> None:
        async with site.driver() as rig:
            for pod in pods:
                await site.volume(rig, pod).publish()
            ((found, _),) = owners(site.secret("synced"))
            assert found == owner
            group = "/apis/batch/v1" if kind == "Job" else "/apis/apps/v1"
            site.api.delete(f"{group}/namespaces/{site.namespace}/{kind.lower()}s/web")
            await until(lambda: site.secret("synced") is None, "the Secret to be collected")

    run(test)


def test_two_workloads_own_one_secret(site: Site) -> None:
    """The Secret has both ReplicaSets as owners, and outlives the first to go."""
    site.make_class(secretObjects=[ENTRY])
    first, second = workload(site, "Deployment", name="one")[0], workload(site, "Deployment", name="two")[0]

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, first).publish()
            mark = site.cluster.audit.mark()
            await site.volume(rig, second).publish()
            assert len(owners(site.secret("synced"))) == 2
            counted = site.count(mark)
            assert sum(number for (verb, _), number in counted.items() if verb in ("create", "patch")) == 2, counted
            assert sum(number for (verb, _), number in counted.items() if verb == "get") == 2, counted
            site.api.delete(f"/apis/apps/v1/namespaces/{site.namespace}/deployments/one")
            await until(lambda: len(owners(site.secret("synced"))) == 1, "the owner to go")
            assert values(site.secret("synced")) == {"pw": b"s3cret"}

    run(test)


def test_two_drivers_one_secret(site: Site) -> None:
    """Two nodes publish eight pods of two workloads at the same moment: every owner is in the Secret, none is lost."""
    site.make_class(secretObjects=[ENTRY])
    pods = [workload(site, "Deployment", name=f"web-{number}")[0] for number in range(6)]

    async def test() -> None:
        async with site.driver(name="a") as one, site.driver(name="b", nodeid="node-2") as two:
            await asyncio.gather(*(site.volume(rig, pod).publish() for rig, pod in zip([one, two] * 3, pods)))  # noqa: B905
            await until(lambda: len(owners(site.secret("synced"))) == 6, "all owners")
            assert values(site.secret("synced")) == {"pw": b"s3cret"}
            mark = site.cluster.audit.mark()
            check_now(one)
            check_now(two)
            await until(lambda: site.count(mark).get(("get", "secrets"), 0) >= 2, "both checks")
            assert ("patch", "secrets") not in site.count(mark)
            assert not site.events("FailedToCreateSecret")

    run(test)


def test_drift(site: Site) -> None:
    """Deleted by hand, spoilt by hand: the next check mends it, and foreign keys, labels and owners survive; a check
    without drift is one GET."""
    site.make_class(secretObjects=[{**ENTRY, "labels": {"team": "a"}}])
    pod = site.make_pod(owners=[site.make_owner()])

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, pod).publish()
            path = site.path("secrets", "synced")
            mark = site.cluster.audit.mark()
            check_now(rig)
            await until(lambda: site.count(mark), "the check")
            assert site.count(mark) == {("get", "secrets"): 1}
            foreign = b64encode(b"foreign").decode()
            site.api.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "data": {"theirs": foreign},
                    "metadata": {
                        "namespace": site.namespace,
                        "name": "synced",
                        "labels": {"x": "y"},
                        "ownerReferences": [{**site.make_owner("other")}],
                    },
                },
                fieldManager="other",
            )
            site.api.patch(path, {"data": {"pw": foreign}, "metadata": {"labels": {"team": None}}})
            check_now(rig)
            await until(lambda: (values(site.secret("synced")) or {}).get("pw") == b"s3cret", "the value")
            secret = site.secret("synced")
            assert values(secret) == {"pw": b"s3cret", "theirs": b"foreign"} and secret is not None
            assert secret["metadata"]["labels"].items() >= {"team": "a", "x": "y"}.items()
            assert [name for _, name in owners(secret)] == ["other", "owner"]
            site.api.delete(path)
            check_now(rig)
            await until(lambda: site.secret("synced"), "the Secret to come back")
            assert owners(site.secret("synced")) == [("ConfigMap", "owner")]

    run(test)


def test_rotation_reaches_the_secret_in_the_same_republish(site: Site) -> None:
    """A due republish fetches a new value: when it has ended, the Secret has it; an unchanged one costs no call."""
    site.make_class(secretObjects=[ENTRY])
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(enable_secret_rotation=True) as rig:
            volume = site.volume(rig, pod)
            await volume.publish()
            mark = site.cluster.audit.mark()
            await volume.publish()
            known = rig.driver.volumes.get(str(volume.target))
            assert known is not None and site.count(mark) == {}
            rig.provider.put("password", "new")
            known.last_refresh = 1.0
            await volume.publish()
            assert values(site.secret("synced")) == {"pw": b"new"}

    run(test)


def test_a_class_that_is_replaced(site: Site) -> None:
    """With rotation off the class is deleted and made again with another key, as some tools do: the Secret follows."""
    site.make_class(secretObjects=[ENTRY])
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, pod).publish()
            await until(lambda: site.count(0).get(("watch", "secretproviderclasses")), "the watch to be open")
            site.api.delete(site.path("secretproviderclasses", "app"))
            await until(lambda: not engine_of(rig)._table.jobs, "the job to go")
            site.make_class(secretObjects=[{**ENTRY, "data": [{"objectName": "password", "key": "other"}]}])
            await until(lambda: values(site.secret("synced")) == {"other": b"s3cret"}, "the Secret")

    run(test)


def test_a_changed_class(site: Site) -> None:
    """With rotation off the class gets another key, then loses an entry: the Secret follows by itself."""
    site.make_class(secretObjects=[{**ENTRY, "labels": {"team": "a"}}])
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, pod).publish()
            await until(lambda: site.count(0).get(("watch", "secretproviderclasses")), "the watch to be open")
            data = [{"objectName": "password", "key": key} for key in ("one", "two")]
            site.make_class(secretObjects=[{**ENTRY, "data": data}, {**ENTRY, "secretName": "second"}])
            await until(lambda: site.secret("second"), "the new entry's Secret")
            await until(lambda: values(site.secret("synced")) == {"one": b"s3cret", "two": b"s3cret"}, "the new keys")
            secret = site.secret("synced")
            assert secret is not None and "team" not in secret["metadata"]["labels"]
            site.make_class(secretObjects=[])
            await until(lambda: not engine_of(rig)._table.jobs, "the jobs to go")
            assert site.secret("second")

    run(test)


def test_a_restart_with_rotation_off(site: Site) -> None:
    """The driver is away while the Secret is deleted; nobody republishes; the new driver brings it back."""
    site.make_class(secretObjects=[ENTRY])
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, pod).publish()
            await rig.stop()
            site.api.delete(site.path("secrets", "synced"))
            mark = site.cluster.audit.mark()
            await rig.start()
            await until(lambda: site.secret("synced"), "the Secret to come back")
            assert values(site.secret("synced")) == {"pw": b"s3cret"}
            name = f"{pod.name}-{site.namespace}-app"
            assert owners(site.secret("synced")) == [("SecretProviderClassPodStatus", name)]
            counted = site.count(mark)
            assert counted["list", "secretproviderclasspodstatuses"] == 1
            assert ("list", "secrets") not in counted and ("watch", "secrets") not in counted

    run(test)


def test_adoption(site: Site) -> None:
    """A Secret that a person made without owner gets our key, keeps its own, and is not collected with our pod."""
    site.make_class(secretObjects=[ENTRY])
    site.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": site.namespace, "name": "synced"},
            "stringData": {"pw": "old", "mine": "kept"},
        }
    )
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, pod).publish()
            secret = site.secret("synced")
            assert values(secret) == {"pw": b"s3cret", "mine": b"kept"} and owners(secret) == []
            await until(lambda: site.events("SecretAdopted"), "the event")
            check_now(rig)
            await site.volume(rig, site.make_pod("pod-2")).publish()
            assert owners(site.secret("synced")) == []

    run(test)


def test_the_go_drivers_secret_is_ours(site: Site) -> None:
    """A Secret with the Go driver's label, and an owner that it had: both owners stay, the values are ours."""
    site.make_class(secretObjects=[ENTRY])
    reference = site.make_owner("former")
    site.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "stringData": {"pw": "old"},
            "metadata": {
                "namespace": site.namespace,
                "name": "synced",
                "ownerReferences": [reference],
                "labels": {"secrets-store.csi.k8s.io/managed": "true"},
            },
        }
    )
    pod = site.make_pod(owners=[site.make_owner()])

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, pod).publish()
            assert values(site.secret("synced")) == {"pw": b"s3cret"}
            assert owners(site.secret("synced")) == [("ConfigMap", "former"), ("ConfigMap", "owner")]

    run(test)


def test_sync_switched_off(site: Site) -> None:
    """--sync-secrets=false: no read of the pod, no call for the Secret."""
    site.make_class(secretObjects=[ENTRY])
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(sync_secrets=False) as rig:
            mark = site.cluster.audit.mark()
            await site.volume(rig, pod).publish()
            assert {resource for _, resource in site.count(mark)} == {
                "secretproviderclasses",
                "secretproviderclasspodstatuses",
            }

    run(test)


def test_a_slow_secret_does_not_hold_the_publish(site: Site, proxy: FaultProxy) -> None:
    """Writes of Secrets hang: the publish ends within two seconds or so, and the Secret is there once they work."""
    site.make_class(secretObjects=[ENTRY])
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(proxy) as rig:
            rule = proxy.on("POST", r"/secrets$", Silence())
            started = asyncio.get_running_loop().time()
            await site.volume(rig, pod).publish()
            assert asyncio.get_running_loop().time() - started < 3
            assert site.secret("synced") is None
            rule.lift()
            await until(lambda: site.secret("synced"), "the Secret")

    run(test)


def test_two_classes_share_a_secret(site: Site) -> None:
    """Each has its own key in it, and takes only that away; a key that both want is told of."""
    entry: Callable[[str], Object] = lambda key: {**ENTRY, "data": [{"objectName": "password", "key": key}]}  # noqa: E731
    site.make_class("one", secretObjects=[entry("one")])
    site.make_class("two", secretObjects=[entry("two")])
    pods = [site.make_pod(name) for name in ("pod-1", "pod-2")]

    async def test() -> None:
        async with site.driver() as rig:
            await site.volume(rig, pods[0], class_name="one").publish()
            await site.volume(rig, pods[1], class_name="two").publish()
            assert values(site.secret("synced")) == {"one": b"s3cret", "two": b"s3cret"}
            await until(lambda: site.count(0).get(("watch", "secretproviderclasses")), "the watch to be open")
            site.make_class("one", secretObjects=[entry("uno")])
            await until(lambda: values(site.secret("synced")) == {"uno": b"s3cret", "two": b"s3cret"}, "the new key")

    run(test)


def test_older_content_is_not_written_back(site: Site) -> None:
    """Two nodes, rotation is due on one first: the other's check leaves the newer value, until it refreshes itself."""
    site.make_class(secretObjects=[ENTRY])
    pods = [site.make_pod(name, owners=[site.make_owner(name)]) for name in ("pod-1", "pod-2")]

    async def test() -> None:
        async with (
            site.driver(name="a", enable_secret_rotation=True) as one,
            site.driver(name="b", nodeid="node-2", enable_secret_rotation=True) as two,
        ):
            first, second = site.volume(one, pods[0]), site.volume(two, pods[1])
            await first.publish()
            await second.publish()
            for rig, volume in ((one, first), (two, second)):
                state = rig.driver.volumes.get(str(volume.target))
                assert state is not None
                state.last_refresh = 1.0
            engine_of(two)._table.members[str(second.target)].last_refresh -= 60
            one.provider.put("password", "new")
            await first.publish()
            assert values(site.secret("synced")) == {"pw": b"new"}
            mark = site.cluster.audit.mark()
            check_now(two)
            await until(lambda: site.count(mark)["get", "secrets"], "the other node's check")
            assert values(site.secret("synced")) == {"pw": b"new"} and not site.count(mark)["patch", "secrets"]
            two.provider.put("password", "newest")
            await second.publish()
            assert values(site.secret("synced")) == {"pw": b"newest"}

    run(test)
