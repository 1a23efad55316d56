"""What the chart renders: golden files, the trio's names, refusals by name, flags that exist."""

import re
from typing import Any

import pytest
import yaml

from container.main import flags
from runtime.flags import UsageError
from tests.helm import chart

# spec B.2: what the trio's chart makes, by kind and name
OF_THE_TRIO = {
    ("CSIDriver", "secrets-store.csi.k8s.io"), ("ServiceAccount", "secrets-store-csi-driver"),
    ("ClusterRole", "secretproviderclasses-role"), ("ClusterRoleBinding", "secretproviderclasses-rolebinding"),
    ("ClusterRole", "secretproviderclasses-admin-role"), ("ClusterRole", "secretproviderclasses-viewer-role"),
    ("ClusterRole", "secretproviderclasspodstatuses-viewer-role"), ("ClusterRole", "secretprovidersyncing-role"),
    ("ClusterRoleBinding", "secretprovidersyncing-rolebinding"),
    ("DaemonSet", "csi-secrets-store-secrets-store-csi-driver"),
    ("DaemonSet", "csi-secrets-store-secrets-store-csi-driver-windows"),
    ("Job", "secrets-store-csi-driver-upgrade-crds"), ("Job", "secrets-store-csi-driver-keep-crds"),
    *((kind, f"csi-secrets-store-secrets-store-csi-driver-{hook}")
      for kind in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding") for hook in ("upgrade-crds", "keep-crds")),
}  # fmt: skip
OURS = {("PodMonitor", 0), ("PrometheusRule", 0), ("NetworkPolicy", 0)}


def daemon_set(*arguments: str) -> dict[str, Any]:
    """The Linux DaemonSet."""
    found = [
        item
        for item in chart.render(*arguments)
        if item["kind"] == "DaemonSet" and "windows" not in item["metadata"]["name"]
    ]
    assert len(found) == 1
    return found[0]


def container(*arguments: str) -> dict[str, Any]:
    """Its one container."""
    (only,) = daemon_set(*arguments)["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("name", chart.SETS)
def test_golden(name: str) -> None:
    """A value set renders as its golden file; python -m tests.helm.chart --update after a change that is meant."""
    assert chart.golden(name) == (chart.GOLDEN / f"{name}.yaml").read_text()


def test_objects_of_the_trio() -> None:
    """Nothing else in a cluster notices: every object of the trio's chart under its name, and beside them only what
    is off by default."""
    everything = {
        (item["kind"], item["metadata"]["name"]) for item in chart.render(f"--values={chart.VALUES}/everything.yaml")
    }
    assert OF_THE_TRIO <= everything
    assert {kind for kind, _ in everything - OF_THE_TRIO} == {kind for kind, _ in OURS}
    default = {(item["kind"], item["metadata"]["name"]) for item in chart.render()}
    assert default <= OF_THE_TRIO


@pytest.mark.parametrize("name", chart.SETS)
def test_arguments_are_flags(name: str) -> None:
    """Every argument that the chart gives is one that the container takes, with a value that it takes."""
    given = [
        re.sub(r"\$\((\w+)\)", "unix:///csi/csi.sock", item)
        for item in container(f"--values={chart.VALUES}/{name}.yaml")["args"]
    ]
    try:
        flags().parse(given)
    except UsageError as error:
        pytest.fail(str(error))


def test_one_container() -> None:
    """One container named secrets-store, its resources the sum of the three's, one read-only root, one writable /tmp
    in memory."""
    only = container()
    assert only["name"] == "secrets-store"
    assert only["resources"] == {
        "limits": {"cpu": "400m", "memory": "400Mi"},
        "requests": {"cpu": "70m", "memory": "140Mi"},
    }
    assert only["securityContext"] == {"privileged": True, "readOnlyRootFilesystem": True}
    assert {(mount["mountPath"], mount.get("mountPropagation")) for mount in only["volumeMounts"]} >= {
        ("/var/lib/kubelet/pods", "Bidirectional"), ("/tmp", None), ("/csi", None), ("/registration", None)}
    assert [port["containerPort"] for port in only["ports"]] == [9808, 8095]


def test_the_users_old_file() -> None:
    """A values file of the trio's chart: its paths, ports, resources and switches mean what they meant."""
    only = container(f"--values={chart.VALUES}/trio.yaml")
    assert only["resources"]["limits"] == {"cpu": "1200m", "memory": "1224Mi"}
    assert [port["containerPort"] for port in only["ports"]] == [9810, 8080]
    assert "--kubelet-pods-dir=/data/kubelet/pods" in only["args"]
    assert "--rotation-poll-interval=120s" in only["args"] and "--sync-secrets=true" in only["args"]


@pytest.mark.parametrize("arguments", [
    ["--set=linux.image.repository=registry.k8s.io/csi-secrets-store/driver"],
    ["--set=linux.image.repository=mirror.example/csi-secrets-store/driver,linux.image.digest=sha256:00"],
    ["--set=linux.image.tag=v1.6.0"],
])  # fmt: skip
def test_the_trios_image_is_refused(arguments: list[str]) -> None:
    """The old image would crash on our flags on every node: the render fails and names the key."""
    done = chart.template(*arguments)
    assert done.returncode != 0
    assert "linux.image.repository=" in done.stderr and "docs/migration.md" in done.stderr


WRONG = [
    "linux.enabled=maybe", "linux.image.pullPolicy=Sometimes", "linux.crds.enabled=1",
    "linux.kubeletRootDir=var/lib/kubelet",
    "linux.providersDir=providers", "linux.metricsAddr=8095", "linux.updateStrategy.type=Recreate",
    "linux.registrar.logVerbosity=much",
    "windows.enabled=perhaps", "logVerbosity=-1", "logFormatJSON=json", "livenessProbe.port=0",
    "livenessProbe.port=99999",
    "maxCallRecvMsgSize=big", "rbac.install=sure", "syncSecret.enabled=on", "enableSecretRotation=yes-please",
    "rotationPollInterval=120", "providerHealthCheck=hm", "providerHealthCheckInterval=often",
    "automountServiceAccountToken=x",
    "tmpfsSize=large", "startupTaint.enabled=x", "syncSecrets.enabled=true", "linux.imgae.tag=x",
]  # fmt: skip


@pytest.mark.parametrize("setting", WRONG)
def test_wrong_values(setting: str) -> None:
    """A wrong value, type or key is an error at render time that names the key."""
    done = chart.template(f"--set={setting}")
    assert done.returncode != 0
    *parents, key = setting.partition("=")[0].split(".")
    # the wrong key itself, or the nearest parent that does not exist
    assert re.search(rf"[/'](?:{'|'.join([key, *parents[::-1]])})['/]", done.stderr), done.stderr


def test_reused_values_of_the_trio() -> None:
    """--reuse-values brings the trio's whole defaults: its image is refused by name, and without that key everything
    renders."""
    old = {
        "linux": {
            "image": {
                "repository": "registry.k8s.io/csi-secrets-store/driver",
                "tag": "v1.6.0",
                "pullPolicy": "IfNotPresent",
            }
        },
        "logVerbosity": 0,
        "syncSecret": {"enabled": True},
    }
    (values := chart.GOLDEN.parent / "reused.tmp.yaml").write_text(yaml.safe_dump(old))
    try:
        assert "linux.image.repository=" in chart.template(f"--values={values}").stderr
        values.write_text(yaml.safe_dump({**old, "linux": {}}))
        assert chart.template(f"--values={values}").returncode == 0
    finally:
        values.unlink()


@pytest.mark.parametrize("version, in_secrets", [("1.34.2", False), ("1.35.1-gke.1", True), ("1.36.0", True)])
def test_tokens_in_secrets(version: str, in_secrets: bool) -> None:
    """From Kubernetes 1.35 on tokens come in the secrets field, also where the version carries a vendor's suffix."""
    done = chart.template("--set=tokenRequests[0].audience=vault", kube_version=version)
    assert ("serviceAccountTokenInSecrets: true" in done.stdout) is in_secrets


def test_no_secret_access_unless_asked() -> None:
    """RBAC: nothing for Secrets by default; namespaced Roles where namespaces are listed."""
    def of_secrets(*arguments: str) -> list[tuple[str, str]]:
        return [(item["kind"], item["metadata"].get("namespace", "")) for item in chart.render(*arguments)
                if any("secrets" in rule.get("resources", ()) for rule in item.get("rules") or ())]

    assert of_secrets() == []
    assert of_secrets("--set=syncSecret.enabled=true") == [("ClusterRole", "")]
    assert of_secrets("--set=syncSecret.enabled=true,syncSecret.namespaces={a,b}") == [("Role", "a"), ("Role", "b")]
