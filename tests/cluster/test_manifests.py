"""deploy/ with the real API server: everything is accepted, alone and over the Go trio's static manifests."""

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.api import Object
from tests.cluster.servers import ControlPlane
from tests.helm import manifests

DAEMON_SET = f"/apis/apps/v1/namespaces/{manifests.NAMESPACE}/daemonsets/{manifests.NAME}"


@pytest.fixture
def applied(cluster: ControlPlane) -> Iterator[list[Object]]:
    """The objects of deploy/; at the end those that were created are deleted, except the CRDs, which the cluster of all
    tests has from its start."""
    found = [item for path in manifests.DEPLOY.glob("*.yaml") for item in yaml.safe_load_all(path.read_text()) if item]
    yield found
    for item in found:
        if item["kind"] != "CustomResourceDefinition":
            cluster.api.delete(cluster.api.path(item))


def test_applied(cluster: ControlPlane, applied: list[Object]) -> None:
    """``kubectl apply -f deploy/`` in a cluster without the driver, and again → every object is there, and the second
    time nothing becomes another generation of itself."""

    def generations() -> list[int]:
        return [cluster.api.get(cluster.api.path(item))["metadata"].get("generation", 0) for item in applied]

    cluster.kubectl("apply", "-f", str(manifests.DEPLOY))
    first = generations()
    cluster.kubectl("apply", "-f", str(manifests.DEPLOY))
    assert generations() == first and len(first) > 15


def test_over_the_trios_manifests(cluster: ControlPlane, applied: list[Object]) -> None:
    """The trio's DaemonSet was applied from its static manifests → the same object has one container afterwards."""
    labels = {"app": manifests.NAME}
    trio: Object = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": manifests.NAME, "namespace": manifests.NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [
                        {"name": name, "image": f"registry.example/{name}:v1"}
                        for name in ("node-driver-registrar", "secrets-store", "liveness-probe")
                    ]
                },
            },
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(trio))
    before = cluster.api.get(DAEMON_SET)["metadata"]["uid"]
    cluster.kubectl("apply", "-f", str(manifests.DEPLOY))
    after = cluster.api.get(DAEMON_SET)
    assert after["metadata"]["uid"] == before
    assert [item["name"] for item in after["spec"]["template"]["spec"]["containers"]] == ["secrets-store"]
