"""Secrets that stay, ``deletionPolicy: WithClass``: a whole driver, the real garbage collector, and the chart's
policies in force for the driver's account."""

from functools import partial
from pathlib import Path

import pytest

from tests.cluster.api import ApiError
from tests.cluster.rig import ClusterRig
from tests.cluster.syncing import workload
from tests.support.rig import Rig
from tests.support.syncing import ENTRY, check_now, engine_of, owners, values
from tests.support.waiting import run_async, until_blocking

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operations.md"
STAYING = {**ENTRY, "deletionPolicy": "WithClass"}
STATUS, CLASS = "SecretProviderClassPodStatus", "SecretProviderClass"


def owner_kinds(cluster_rig: ClusterRig, name: str = "synced") -> list[str]:
    """The kinds of a Secret's owners; none without a Secret."""
    secret = cluster_rig.secret(name)
    return [] if secret is None else [kind for kind, _ in owners(secret)]


def has_owners(cluster_rig: ClusterRig, kinds: list[str]) -> bool:
    """The Secret's owners are of these kinds."""
    return owner_kinds(cluster_rig) == kinds


async def other_is_collected(cluster_rig: ClusterRig) -> None:
    """The garbage collector has deleted the Secret that has the same owners but for the class."""
    await until_blocking(lambda: cluster_rig.secret("passing") is None, "the other Secret to be collected")


def test_jobs_of_a_cronjob(cluster_rig: ClusterRig) -> None:
    """A Job, which is deleted when it is finished, and the next one → the Secret stays in between, while one without
    the policy is collected; the Secret is that of the next Job, too; the class is deleted, and then the Job → it is
    collected."""
    cluster_rig.make_class(secretObjects=[STAYING, {**ENTRY, "secretName": "passing"}])

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.watch_open()
            for number in (1, 2):
                (pod,) = workload(cluster_rig, "Job", name=f"job-{number}")
                volume = cluster_rig.volume(rig, pod)
                await volume.publish()
                assert owner_kinds(cluster_rig) == ["Job", CLASS]
                assert owner_kinds(cluster_rig, "passing") == ["Job"]
                await volume.unpublish()
                if number == 1:
                    first = cluster_rig.secret("synced")
                    delete_job(cluster_rig, f"job-{number}")
                    await other_is_collected(cluster_rig)
                    await until_blocking(lambda: owner_kinds(cluster_rig) == [CLASS], "the Job to be no owner any more")
            second = cluster_rig.secret("synced")
            assert first is not None and second is not None
            assert first["metadata"]["uid"] == second["metadata"]["uid"] and values(second) == {"pw": b"s3cret"}
            cluster_rig.api.delete(cluster_rig.path("secretproviderclasses", "app"))
            await until_blocking(lambda: owner_kinds(cluster_rig) == ["Job"], "the class to be no owner any more")
            delete_job(cluster_rig, "job-2")
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected")

    run_async(test)


def delete_job(cluster_rig: ClusterRig, name: str) -> None:
    """With its pod, as after its ttlSecondsAfterFinished."""
    cluster_rig.api.delete(f"/apis/batch/v1/namespaces/{cluster_rig.namespace}/jobs/{name}")


def test_the_class_alone(cluster_rig: ClusterRig) -> None:
    """The last pod is gone, then the class is deleted → the Secret is collected."""
    cluster_rig.make_class(secretObjects=[STAYING, {**ENTRY, "secretName": "passing"}])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            assert owner_kinds(cluster_rig) == [CLASS, STATUS]
            cluster_rig.api.delete(cluster_rig.path("pods", pod.name))
            await other_is_collected(cluster_rig)
            assert cluster_rig.secret("synced") is not None
            cluster_rig.api.delete(cluster_rig.path("secretproviderclasses", "app"))
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected")

    run_async(test)


def test_the_documented_example(cluster_rig: ClusterRig) -> None:
    """The class in docs/operations.md → its Secret stays when the last pod is gone."""
    section = PAGE.read_text().partition("### Secrets that stay")[2]
    example = section.partition("```yaml\n")[2].partition("```")[0]
    cluster_rig.cluster.kubectl("apply", f"--namespace={cluster_rig.namespace}", "-f", "-", stdin=example)
    cluster_rig.make_class(secretObjects=[{**ENTRY, "secretName": "passing"}])
    pod = cluster_rig.make_pod(volumes={"report": "nightly-report", "secrets": "app"})

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            await cluster_rig.volume(rig, pod, name="report", class_name="nightly-report").publish()
            assert owner_kinds(cluster_rig, "nightly-report") == [CLASS, STATUS]
            cluster_rig.api.delete(cluster_rig.path("pods", pod.name))
            await other_is_collected(cluster_rig)
            await until_blocking(lambda: owner_kinds(cluster_rig, "nightly-report") == [CLASS], "the pod status to go")

    run_async(test)


@pytest.mark.parametrize("change", ["policy", "entry", "name"])
def test_it_goes_with_its_entry(cluster_rig: ClusterRig, change: str) -> None:
    """While a pod uses the class, the policy is switched back, or the entry is removed or renamed → the class is no
    owner any more, with the chart's policies in force; the pod is deleted → the Secret is collected."""
    cluster_rig.make_class(secretObjects=[STAYING])
    pod = cluster_rig.make_pod()
    entries = {
        "policy": [{**ENTRY, "deletionPolicy": "WithPods"}],
        "entry": [],
        "name": [STAYING | {"secretName": "b"}],
    }

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            await cluster_rig.watch_open()
            assert owner_kinds(cluster_rig) == [CLASS, STATUS]
            cluster_rig.make_class(secretObjects=entries[change])
            await until_blocking(lambda: owner_kinds(cluster_rig) == [STATUS], "the class to be no owner any more")
            if change == "name":
                await until_blocking(lambda: owner_kinds(cluster_rig, "b") == [CLASS, STATUS], "the new Secret")
            assert not cluster_rig.events("FailedToCreateSecret") and not cluster_rig.events("SecretOwnerRefused")
            cluster_rig.api.delete(cluster_rig.path("pods", pod.name))
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected")

    run_async(test)


def test_back_and_forth(cluster_rig: ClusterRig) -> None:
    """WithPods, WithClass, WithPods, WithClass on two nodes → both agree after each, and then nothing is written."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pods = [cluster_rig.make_pod(name, owners=[cluster_rig.make_owner(name)]) for name in ("pod-1", "pod-2")]

    async def test() -> None:
        async with cluster_rig.driver(name="a") as one, cluster_rig.driver(name="b", nodeid="node-2") as two:
            await cluster_rig.watch_open()
            for rig, pod in zip((one, two), pods, strict=True):
                await cluster_rig.volume(rig, pod).publish()
            for entry, classes in ((STAYING, [CLASS]), (ENTRY, []), (STAYING, [CLASS])):
                cluster_rig.make_class(secretObjects=[entry])
                wanted = ["ConfigMap", "ConfigMap", *classes]
                await until_blocking(partial(has_owners, cluster_rig, wanted), "the owners")
            for rig in (one, two):
                await until_blocking(partial(idle, rig), "the jobs to end")
            before = cluster_rig.secret("synced")
            for rig in (one, two):
                check_now(rig)
                await until_blocking(partial(idle, rig), "the checks")
            assert cluster_rig.secret("synced") == before

    run_async(test)


def idle(rig: Rig) -> bool:
    """No job is running or due."""
    return all(job.task is None or job.task.done() for job in engine_of(rig)._table.jobs.values())


@pytest.mark.parametrize("policy", ["Keep", "withClass", "", 5])
def test_other_values(cluster_rig: ClusterRig, policy: object) -> None:
    """The CRD refuses them, and names the field."""
    with pytest.raises(ApiError, match="deletionPolicy"):
        cluster_rig.make_class(secretObjects=[{**ENTRY, "deletionPolicy": policy}])
