"""A cluster that still has the Go driver's CRDs, whose pod status lacks our fields: everything works, with one
warning."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.commands import Settings
from tests.cluster.crds import write_trio_crds
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.waiting import run_async, until_blocking

TRIO_FIELDS = {"podName", "secretProviderClassName", "mounted", "targetPath", "objects"}
FAILING = {"objects": "array:\n- |\n  objectName: password\n", "stubError": "INTERNAL"}


@pytest.fixture(scope="module")
def old_cluster(cluster_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with the Go driver's CRDs."""
    directory = tmp_path_factory.mktemp("trio")
    with ControlPlane(directory, Settings(manifests=write_trio_crds(directory / "crds"))) as running:
        yield running


def test_the_trios_crds(old_cluster: ControlPlane, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Publish, failing refreshes, recovery, restart → the pod status has the Go driver's fields only, nothing is
    written needlessly, and each driver logs one warning."""
    cluster_rig = ClusterRig(old_cluster, old_cluster.namespace("trio"), tmp_path)
    cluster_rig.make_class()
    pods = [cluster_rig.make_pod(name) for name in ("pod-1", "pod-2")]

    async def test() -> None:
        async with cluster_rig.driver(enable_secret_rotation=True) as rig:
            volumes = [cluster_rig.volume(rig, pod) for pod in pods]
            for volume in volumes:
                await volume.publish()
            status = cluster_rig.api.get(cluster_rig.status_path())["status"]
            assert status.keys() == TRIO_FIELDS and status["objects"][0]["id"]
            cluster_rig.make_class(parameters=FAILING)
            await rig.restart()
            mark = cluster_rig.cluster.audit.mark()
            for count in (1, 2):
                state = rig.driver.volumes.get(str(volumes[0].target))
                assert state is not None
                state.retry_at, state.refreshed_at = 0.0, None
                await volumes[0].publish()
                assert state.failure is not None and state.failure.count == count
            assert cluster_rig.api.get(cluster_rig.status_path())["status"] == status
            await until_blocking(lambda: cluster_rig.events("SecretRefreshFailed"), "the event")
            # One for each failure, and before the first write after a restart an empty one, which shows whose it is.
            assert cluster_rig.count(mark)["patch", "secretproviderclasspodstatuses"] == 3
            cluster_rig.make_class()
            await rig.restart()
            await volumes[0].publish()  # the volume's record has its failure: it is due, and recovers
            await until_blocking(lambda: cluster_rig.events("SecretRefreshRecovered"), "the event")
            await rig.restart()
            mark = cluster_rig.cluster.audit.mark()
            for volume in volumes:
                await volume.publish()
            assert not [key for key in cluster_rig.count(mark) if key[0] in ("create", "patch", "update")]

    with caplog.at_level(logging.WARNING):
        run_async(test)
    warnings = [record for record in caplog.records if "CRD is older than this driver" in record.getMessage()]
    assert len(warnings) == 3  # one for each of the three drivers that wrote a status
