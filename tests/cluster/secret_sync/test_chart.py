"""The controller's own chart with the real API server: notes, the CRD of others, install and uninstall."""

from collections.abc import Iterator

import pytest

from tests.cluster.api import Object
from tests.cluster.servers import ControlPlane
from tests.helm import chart

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretsyncs.secret-sync.x-k8s.io"
OFFICIAL = f"--values={chart.VALUES}/official-sync.yaml"
WITHOUT_POLICIES = "--set=validatingAdmissionPolicies.applyPolicies=false"  # all tests share those that are there


@pytest.fixture
def helm(cluster: ControlPlane, namespace: str) -> Iterator[list[str]]:
    """Arguments for the namespace."""
    if not chart.program().is_file():
        pytest.fail("Helm is not built: python -m tests.cluster.build helm", pytrace=False)
    yield [f"--namespace={namespace}", f"--kubeconfig={cluster.admin_kubeconfig}"]
    cluster.api.patch(CRD, {"metadata": {"annotations": _owner(None, None), "labels": {MANAGED_BY: None}}})


MANAGED_BY = "app.kubernetes.io/managed-by"


def _owner(release: str | None, namespace: str | None) -> Object:
    return {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}


def test_the_crd_of_others_is_left_alone(helm: list[str]) -> None:
    """The CRD was installed by somebody else → it is not in the release, which otherwise could not be installed; notes
    say so, and what of the official chart's values has no effect."""
    done = chart.run("install", "sync", str(chart.SYNC_CHART), OFFICIAL, WITHOUT_POLICIES, "--dry-run=server", *helm)
    assert done.returncode == 0, done.stderr
    assert "CustomResourceDefinition" not in done.stdout
    for text in (
        "is another release's and stays as it is",
        "controllerName is set and has no effect",
        "image.repository=registry.k8s.io/secrets-store-sync/controller is the official controller's image",
    ):
        assert text in done.stdout


def test_the_crd_of_the_release_stays_in_it(cluster: ControlPlane, namespace: str, helm: list[str]) -> None:
    """The CRD belongs to a release of this name → it is rendered, so that Helm upgrades it."""
    metadata: Object = {"annotations": _owner("sync", namespace), "labels": {MANAGED_BY: "Helm"}}
    cluster.api.patch(CRD, {"metadata": metadata})
    done = chart.run("install", "sync", str(chart.SYNC_CHART), WITHOUT_POLICIES, "--dry-run=server", *helm)
    assert done.returncode == 0, done.stderr
    assert "kind: CustomResourceDefinition" in done.stdout and "is another release's" not in done.stdout
    done = chart.run("install", "other", str(chart.SYNC_CHART), WITHOUT_POLICIES, "--dry-run=server", *helm)
    assert done.returncode == 0 and "kind: CustomResourceDefinition" not in done.stdout, done.stderr


def test_install_upgrade_and_uninstall(cluster: ControlPlane, namespace: str, helm: list[str]) -> None:
    """Installed, upgraded to the official chart's values, uninstalled → the API server accepts every object, and the
    CRD and its objects stay."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/secrets-store-sync-controller-manager"
    done = chart.run("install", "sync", str(chart.SYNC_CHART), WITHOUT_POLICIES, *helm)
    assert done.returncode == 0, done.stderr
    try:
        uid = cluster.api.get(path)["metadata"]["uid"]
        done = chart.run("upgrade", "sync", str(chart.SYNC_CHART), OFFICIAL, WITHOUT_POLICIES, *helm)
        assert done.returncode == 0, done.stderr
        found = cluster.api.get(path)
        assert found["metadata"]["uid"] == uid
        assert [item["name"] for item in found["spec"]["template"]["spec"]["containers"]] == [
            "manager",
            "provider",
            "other",
        ]
    finally:
        chart.run("uninstall", "sync", *helm)
    assert cluster.api.find(path) is None and cluster.api.find(CRD) is not None
