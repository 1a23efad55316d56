"""A cluster in which only those who may delete an object may set its owners, as in OpenShift."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driver.objects.pod_status import build_status, status_name
from driver.ports import Pod
from tests.cluster import build
from tests.cluster.api import ApiError
from tests.cluster.commands import Settings
from tests.cluster.crds import write_trio_crds
from tests.cluster.policies import ALL_OF_IT, Installed, installed
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.rig import NODE
from tests.support.syncing import ENTRY, check_now, owners, values
from tests.support.waiting import run_async, until, until_blocking

PLUGIN = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
REFUSED = "SecretOwnerRefused"


@pytest.fixture(scope="module")
def strict_cluster(cluster_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with the admission plugin."""
    directory = tmp_path_factory.mktemp("strict")
    settings = Settings(manifests=write_trio_crds(directory / "crds"), api_flags=(PLUGIN,))
    with ControlPlane(directory, settings) as running:
        yield running


@pytest.fixture
def strict_rig(strict_cluster: ControlPlane, tmp_path: Path) -> ClusterRig:
    """A namespace there, and a driver's account without the right to delete."""
    name = f"strict-{uuid.uuid4().hex[:8]}"
    return ClusterRig(strict_cluster, strict_cluster.namespace(name), tmp_path)


@pytest.fixture
def chart(strict_rig: ClusterRig) -> Iterator[Installed]:
    """The chart's account with the value for such clusters."""
    if build.GROUPS["helm"].missing:
        pytest.skip("no helm: make test-cluster builds it")
    with installed(
        strict_rig.cluster, strict_rig.namespace, *ALL_OF_IT, "rbac.ownerReferencesPermissionEnforcement=true"
    ) as found:
        yield found


def pods_of_a_roll_out(rig: ClusterRig) -> list[Pod]:
    """Two pods, of the old and the new owner, as a Deployment's ReplicaSets are."""
    rig.make_class(secretObjects=[ENTRY])
    return [rig.make_pod(f"pod-{name}", owners=[rig.make_owner(name)]) for name in ("old", "new")]


def test_a_roll_out_without_the_right(strict_rig: ClusterRig) -> None:
    """The first pod's Secret is created with its owner; the second pod's owner is refused → one event says what to do,
    the content goes on being rotated, and the publishes succeed."""
    pods = pods_of_a_roll_out(strict_rig)

    async def test() -> None:
        async with strict_rig.driver(enable_secret_rotation=True, rotation_poll_interval=0.1) as rig:
            volumes = [strict_rig.volume(rig, pod) for pod in pods]
            for volume in volumes:
                await volume.publish()
            (event,) = await until_blocking(lambda: strict_rig.events(REFUSED), "the event")
            assert "rbac.ownerReferencesPermissionEnforcement=true" in event["message"], event["message"]
            rig.provider.put("password", "rotated")

            async def rotated() -> bool:
                await volumes[1].publish()
                return values(strict_rig.secret("synced")) == {"pw": b"rotated"}

            await until(rotated, "the new content")
            assert owners(strict_rig.secret("synced")) == [("ConfigMap", "old")]
            assert len(strict_rig.events(REFUSED)) == 1 and strict_rig.events("FailedToCreateSecret") == []

    run_async(test)


def test_an_owner_that_somebody_removed(strict_rig: ClusterRig) -> None:
    """Somebody removes the owner and changes the content → the content is repaired, the owner is refused, which is an
    event; the old ReplicaSet goes, and the Secret with it → it is created again, with the owner that is left."""
    pods = pods_of_a_roll_out(strict_rig)

    async def test() -> None:
        async with strict_rig.driver() as rig:
            await strict_rig.volume(rig, pods[0]).publish()
            path = strict_rig.path("secrets", "synced")
            strict_rig.api.patch(path, {"metadata": {"ownerReferences": None}, "data": {"pw": "eA=="}})
            check_now(rig)
            await until_blocking(lambda: values(strict_rig.secret("synced")) == {"pw": b"s3cret"}, "the content")
            await until_blocking(lambda: strict_rig.events(REFUSED), "the event")
            assert owners(strict_rig.secret("synced")) == []
            strict_rig.api.delete(path)
            check_now(rig)
            await until_blocking(lambda: strict_rig.secret("synced"), "the Secret to come back")
            assert owners(strict_rig.secret("synced")) == [("ConfigMap", "old")]

    run_async(test)


def test_a_pod_that_comes_back_without_the_right(strict_rig: ClusterRig) -> None:
    """The status of an earlier pod of this name, whose owner must not be changed, is not collected yet → the new pod
    starts, and its status gets the name with the digest."""
    strict_rig.make_class()
    pod = strict_rig.make_pod()
    earlier = strict_rig.make_pod("earlier")
    record = strict_rig.record(pod)
    of_the_earlier = build_status(
        replace(record, pod=Pod(pod.namespace, pod.name, earlier.uid)), status_name(record), NODE
    )
    of_the_earlier["metadata"]["ownerReferences"][0]["name"] = earlier.name  # else it would be collected
    strict_rig.api.create(of_the_earlier)

    async def test() -> None:
        async with strict_rig.driver() as rig:
            await strict_rig.volume(rig, pod).publish()
            names = {item["metadata"]["name"] for item in strict_rig.listed("secretproviderclasspodstatuses")}
            assert names == {status_name(record), status_name(record, unique=True)}

    run_async(test)


def test_with_the_charts_value(strict_rig: ClusterRig, chart: Installed, tmp_path: Path) -> None:
    """The chart grants what the admission demands → a roll-out's Secret has both owners, and no event; deleting it
    stays refused, by the chart's policy."""
    pods = pods_of_a_roll_out(strict_rig)

    async def test() -> None:
        async with strict_rig.driver(kubeconfig=chart.kubeconfig(tmp_path / "kubeconfig")) as rig:
            for pod in pods:
                await strict_rig.volume(rig, pod).publish()
            await until_blocking(lambda: len(owners(strict_rig.secret("synced"))) == 2, "both owners")
            assert strict_rig.events(REFUSED) == [] and strict_rig.events("FailedToCreateSecret") == []

    run_async(test)
    for plural in ("secrets", "secretproviderclasspodstatuses"):
        (name, *_) = (item["metadata"]["name"] for item in strict_rig.listed(plural))
        with pytest.raises(ApiError, match=chart.policy("deletions")):
            chart.api.delete(strict_rig.path(plural, name))
