"""A cluster in which only those who may delete an object may set its owners, as in OpenShift."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.commands import Settings
from tests.cluster.crds import write_trio_crds
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.syncing import ENTRY, owners
from tests.support.waiting import run_async, until_blocking

PLUGIN = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"


@pytest.fixture
def strict_cluster(cluster_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with the admission plugin."""
    directory = tmp_path_factory.mktemp("strict")
    settings = Settings(manifests=write_trio_crds(directory / "crds"), api_flags=(PLUGIN,))
    with ControlPlane(directory, settings) as running:
        yield running


def test_owners_under_strict_admission(strict_cluster: ControlPlane, tmp_path: Path) -> None:
    """A pod status and a new Secret are created; adding a second owner is refused, and the event names the missing
    right."""
    cluster_rig = ClusterRig(strict_cluster, strict_cluster.namespace("strict"), tmp_path)
    cluster_rig.make_class(secretObjects=[ENTRY])
    pods = [cluster_rig.make_pod(name) for name in ("pod-1", "pod-2")]

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            for pod in pods:
                await cluster_rig.volume(rig, pod).publish()
            (event,) = await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret"), "the event")
            assert "add delete on secrets" in event["message"]
            assert len(owners(cluster_rig.secret("synced"))) == 1

    run_async(test)
