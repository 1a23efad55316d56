"""What upstream's end-to-end tests ask kubectl, after an install with their values. Their scenarios with pods are in
tests/kubelet; ``kubectl api-resources`` is in test_crds."""

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.servers import ControlPlane
from tests.helm import chart, upstream

CLASS = {
    "kind": "SecretProviderClass",
    "metadata": {"name": "e2e-provider"},
    "spec": {"provider": "e2e-provider", "parameters": {"objects": "array: []\n"}},
}


@pytest.fixture
def installed(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with the chart, without its hooks, whose image cannot run here."""
    if not chart.program().is_file():
        pytest.fail("Helm is not built: python -m tests.cluster.build helm", pytrace=False)
    common = ["--namespace=kube-system", f"--kubeconfig={cluster.admin_kubeconfig}", "--no-hooks"]
    done = chart.run("install", "csi-secrets-store", str(chart.CHART), *common, *upstream.VALUES)
    assert done.returncode == 0, done.stderr
    yield cluster
    chart.run("uninstall", "csi-secrets-store", *common)


def test_objects(installed: ControlPlane) -> None:
    """CRDs are established, roles and bindings are found by name, the CSIDriver has their audiences."""
    for crd in upstream.CRDS:
        installed.kubectl("wait", "--for=condition=established", "--timeout=60s", f"crd/{crd}")
    installed.kubectl("get", *(f"clusterrole/{name}" for name in upstream.CLUSTER_ROLES))
    installed.kubectl("get", *(f"clusterrolebinding/{name}" for name in upstream.BINDINGS))
    path = "jsonpath={.spec.tokenRequests[*].audience}"
    audiences = installed.kubectl("get", "csidriver", "secrets-store.csi.k8s.io", "-o", path)
    assert audiences.split() == [*upstream.AUDIENCES]


@pytest.mark.parametrize("version", ["v1alpha1", "v1"])
def test_classes(installed: ControlPlane, namespace: str, version: str) -> None:
    """A class of either version is created and read under that version, and under the one that kubectl prefers."""
    written = yaml.safe_dump({"apiVersion": f"{upstream.GROUP}/{version}", **CLASS})
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=written)
    for resource in (f"secretproviderclasses.{version}.{upstream.GROUP}", "secretproviderclasses"):
        name = installed.kubectl("get", f"{resource}/e2e-provider", "-n", namespace, "-o", "jsonpath={.metadata.name}")
        assert name == "e2e-provider"
