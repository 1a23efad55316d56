"""The chart as upstream's end-to-end tests install it: they find pods, logs, metrics and roles by these names."""

import pytest

from tests.helm import chart, upstream


def test_everything_is_found() -> None:
    """Their values → roles and bindings by name, pods by ``app=secrets-store-csi-driver``, logs in the container
    ``secrets-store``, metrics on port 8095, rotation every 30 s, and a token for each audience."""
    found = chart.render(*upstream.VALUES)
    names = {(item["kind"], item["metadata"]["name"]) for item in found}
    assert {("ClusterRole", name) for name in upstream.CLUSTER_ROLES} <= names
    assert {("ClusterRoleBinding", name) for name in upstream.BINDINGS} <= names
    (driver,) = (item["spec"] for item in found if item["kind"] == "CSIDriver")
    assert driver["requiresRepublish"] and driver["podInfoOnMount"]
    assert [item["audience"] for item in driver["tokenRequests"]] == [*upstream.AUDIENCES]
    (linux,) = (
        item
        for item in found
        if item["kind"] == "DaemonSet" and "linux" in str(item["spec"]["template"]["spec"]["nodeSelector"])
    )
    assert linux["metadata"]["namespace"] == "kube-system"
    assert linux["spec"]["template"]["metadata"]["labels"]["app"] == "secrets-store-csi-driver"
    (only,) = linux["spec"]["template"]["spec"]["containers"]
    assert only["name"] == "secrets-store"
    assert {"name": "metrics", "containerPort": 8095, "protocol": "TCP"} in only["ports"]
    assert {"--enable-secret-rotation=true", "--rotation-poll-interval=30s", "--metrics-addr=:8095"} <= {*only["args"]}
    assert "/var/run/secrets-store-csi-providers" in [mount["mountPath"] for mount in only["volumeMounts"]]


@pytest.mark.parametrize("version", ["1.33.7", "1.34.3", "1.35.1"])
def test_versions(version: str) -> None:
    """The versions of Kubernetes that they run on → the chart renders."""
    assert chart.template(*upstream.VALUES, kube_version=version).returncode == 0
