"""The driver's calls to the API server, counted in its audit log; docs/performance.md has the budget."""

import asyncio
from collections import Counter

import pytest

from tests.cluster.rig import ClusterRig
from tests.support.waiting import run_async, until

ENTRY = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}
IDLE_SECONDS = 2.0
WRITES = ("create", "update", "patch", "delete")


def writes_and_reads(counted: Counter[tuple[str, str]]) -> tuple[int, int]:
    """The number of writes, and of all other calls."""
    writes = sum(number for (verb, _), number in counted.items() if verb in WRITES)
    return writes, counted.total() - writes


def test_a_publish_costs_one_write(cluster_rig: ClusterRig) -> None:
    """A new pod of a known class → one write and no read; republishes that change nothing, unpublishes and idling → no
    calls."""
    cluster_rig.make_class()
    pods = [cluster_rig.make_pod(f"pod-{number}") for number in range(3)]

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True) as rig:
            volumes = [cluster_rig.volume(rig, pod) for pod in pods]
            await volumes[0].publish()
            await cluster_rig.watch_open()
            mark = cluster_rig.cluster.audit.mark()
            for volume in volumes[1:]:
                await volume.publish()
            assert cluster_rig.count(mark) == {("create", "secretproviderclasspodstatuses"): 2}
            mark = cluster_rig.cluster.audit.mark()
            for volume in volumes:
                await volume.publish()
                state = rig.driver.volumes.get(str(volume.target))
                assert state is not None
                state.refreshed_at = None
                await volume.publish()  # fetched again, and found unchanged
            assert rig.provider.calls == 6
            for volume in volumes:
                await volume.unpublish()
            await asyncio.sleep(IDLE_SECONDS)  # shows that nothing happens
            assert cluster_rig.count(mark) == {}

    run_async(test, 120)


@pytest.mark.parametrize("shared", [False, True], ids=["own-secret", "shared-secret"])
def test_a_synced_secret_costs_one_write_more(cluster_rig: ClusterRig, shared: bool) -> None:
    """A publish with one synced Secret → two writes, a patch that only reads, and at most one GET, whether the Secret
    is new or has another owner."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    cluster_rig.make_class("other", secretObjects=[ENTRY if shared else {**ENTRY, "secretName": "another"}])
    first, warm, second = (
        cluster_rig.make_pod(name, owners=[cluster_rig.make_owner(name)]) for name in ("pod-1", "pod-2", "pod-3")
    )

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, first).publish()
            await rig.driver.backend.cluster.get_class(cluster_rig.record(second, "other").class_ref)
            await cluster_rig.watch_open()
            mark = cluster_rig.cluster.audit.mark()
            await cluster_rig.volume(rig, second, class_name="other").publish()
            assert await asyncio.to_thread(cluster_rig.secret, "synced" if shared else "another")
            writes, reads = writes_and_reads(cluster_rig.count(mark))
            assert writes == 3 and reads <= 1, cluster_rig.count(mark)
            mark = cluster_rig.cluster.audit.mark()
            await cluster_rig.volume(rig, warm).publish()
            writes, reads = writes_and_reads(cluster_rig.count(mark))
            assert writes == 3 and reads <= 1, cluster_rig.count(mark)

    run_async(test, 120)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ours", [True, False], ids=["record", "go-driver"])
def test_a_restart_with_110_volumes(cluster_rig: ClusterRig, ours: bool) -> None:
    """The driver restarts with 110 volumes of one class → one GET of the class, no write, and no provider call at the
    republishes. Volumes of the Go driver: one LIST by node label, in pages, and one GET of each pod in addition."""
    cluster_rig.make_class()
    pods = [cluster_rig.make_pod(f"pod-{number}") for number in range(110)]

    async def test() -> None:
        # A node of its own: the other test's pod statuses are not collected yet.
        node = cluster_rig.namespace
        async with cluster_rig.driver(nodeid=node, enable_secret_rotation=True, rotation_poll_interval=3600.0) as rig:
            volumes = [cluster_rig.volume(rig, pod) for pod in pods]
            await asyncio.gather(*(volume.publish(timeout=60) for volume in volumes))
            calls = rig.provider.calls
            await rig.stop()
            if not ours:
                for volume in volumes:
                    volume.remove_record()
            mark = cluster_rig.cluster.audit.mark()
            await rig.start()
            await until(lambda: all(volume.recorded for volume in rig.driver.volumes), "the restart to be complete", 60)
            await asyncio.gather(*(volume.publish(timeout=60) for volume in volumes))
            await cluster_rig.watch_open(mark)
            counted = cluster_rig.count(mark)
            assert rig.provider.calls == calls
            asked = {} if ours else {("get", "pods"): 110}
            assert {key: counted[key] for key in asked} == asked
            # Pages of ten, and an empty one at the end if the cluster has statuses of other nodes after ours.
            pages = counted.pop(("list", "secretproviderclasspodstatuses"), 0)
            assert pages in ((0,) if ours else (11, 12))
            # Once for the first volume and, if that was before the watch began, once more.
            assert counted["get", "secretproviderclasses"] <= 2
            assert counted.keys() == asked.keys() | {
                ("get", "secretproviderclasses"),
                ("list", "secretproviderclasses"),
                ("watch", "secretproviderclasses"),
            }

    run_async(test, 120)


def test_others_classes_and_secrets_cost_nothing(cluster_rig: ClusterRig) -> None:
    """Two hundred classes and managed Secrets that no volume uses are created → no call."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            await cluster_rig.watch_open()
            mark = cluster_rig.cluster.audit.mark()
            for number in range(200):
                await asyncio.to_thread(cluster_rig.make_class, f"other-{number}")
                await asyncio.to_thread(
                    cluster_rig.api.create,
                    {
                        "apiVersion": "v1",
                        "kind": "Secret",
                        "metadata": {
                            "namespace": cluster_rig.namespace,
                            "name": f"other-{number}",
                            "labels": {"secrets-store.csi.k8s.io/managed": "true"},
                        },
                    },
                )
            assert cluster_rig.count(mark) == {}

    run_async(test, 120)
