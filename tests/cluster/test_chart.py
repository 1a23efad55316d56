"""The chart with the real API server: its objects are accepted, its rights are those that the tests run with, its hook
works."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.api import Object
from tests.cluster.rig import BASE_RULES, SYNC_RULES, TAINT_RULES
from tests.cluster.servers import ControlPlane
from tests.helm import chart, trio

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HOOK = "csi-secrets-store-secrets-store-csi-driver"
OUR_IMAGE = ["--set=linux.image.repository=mirror.example/secrets-store-csi,linux.image.tag=0.1.0"]


@pytest.fixture(autouse=True)
def helm(cluster: ControlPlane) -> Iterator[None]:
    """Fail if Helm is not built."""
    if not chart.program().is_file():
        pytest.fail("Helm is not built: python -m tests.cluster.build helm", pytrace=False)
    yield


def rules_of(objects: list[Object], kind: str, name: str) -> list[Object]:
    """The rules of one role, in a form that can be compared."""
    (found,) = (item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return normal(found["rules"])


def normal(rules: list[Object]) -> list[Object]:
    """Rules in a form that can be compared."""
    return sorted(({**rule, "verbs": sorted(rule["verbs"])} for rule in rules), key=str)


def test_rights_are_the_minimum() -> None:
    """The chart grants exactly the rights that the tests' service account has."""
    objects = chart.render("--set=syncSecret.enabled=true,startupTaint.enabled=true")
    assert rules_of(objects, "ClusterRole", "secretproviderclasses-role") == normal([*BASE_RULES, *TAINT_RULES])
    assert rules_of(objects, "ClusterRole", "secretprovidersyncing-role") == normal([*SYNC_RULES])
    assert rules_of(chart.render(), "ClusterRole", "secretproviderclasses-role") == normal([*BASE_RULES])


@pytest.mark.parametrize("name", chart.SETS)
def test_server_accepts_every_object(cluster: ControlPlane, name: str) -> None:
    """Server-side dry run of all objects of a set of values, except those of the Prometheus operator, whose CRDs this
    server lacks → accepted."""
    rendered = [item for item in yaml.safe_load_all(chart.golden(name, chart.KUBE_VERSION)) if item]
    for namespace in {item["metadata"].get("namespace", "default") for item in rendered}:
        cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    known = [item for item in rendered if item["apiVersion"] != "monitoring.coreos.com/v1"]
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(known))


def test_notes(cluster: ControlPlane) -> None:
    """The install notes say what became of the Go chart's values, and where secrets are on Windows."""
    done = chart.run(
        "install",
        "csi",
        str(chart.CHART),
        "--dry-run=server",
        f"--values={chart.VALUES}/trio.yaml",
        "--set=windows.enabled=true",
        "--namespace=kube-system",
        f"--kubeconfig={cluster.admin_kubeconfig}",
    )
    assert done.returncode == 0, done.stderr
    for text in (
        "linux.registrarImage",
        "linux.livenessProbeImage",
        "linux.crds.image",
        "rbac.pspEnabled",
        "node's disk",
    ):
        assert text in done.stdout


def granted(cluster: ControlPlane) -> set[tuple[str, str, str]]:
    """The rights that the driver's account has in the cluster now."""
    return trio.rights(
        [
            {"kind": "ClusterRole", **cluster.api.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}")}
            for name in ("secretproviderclasses-role", "secretprovidersyncing-role")
        ]
    )


@pytest.mark.parametrize(
    "how, works",
    [
        (["--reuse-values"], False),
        (["--reuse-values", *OUR_IMAGE], True),
        (["--reset-then-reuse-values"], True),
        ([f"--values={chart.VALUES}/trio.yaml"], True),
    ],
    ids=["reused", "reused with our image", "reset then reused", "the user's file"],
)
def test_upgrade_of_a_trio_release(cluster: ControlPlane, tmp_path: Path, how: list[str], works: bool) -> None:
    """A release with the Go chart's values and DaemonSet is upgraded in place, or refused because of its image and left
    as it was; a rollback works, too."""
    common = ["--namespace=kube-system", f"--kubeconfig={cluster.admin_kubeconfig}", "--no-hooks"]
    release = "csi-secrets-store"
    path = f"/apis/apps/v1/namespaces/kube-system/daemonsets/{release}-secrets-store-csi-driver"
    old = str(trio.write(tmp_path / "trio"))

    def containers() -> list[str]:
        spec = cluster.api.get(path)["spec"]["template"]["spec"]
        return [item["name"] for item in spec["containers"]]

    installed = chart.run("install", release, old, *common, "--set=syncSecret.enabled=true")
    assert installed.returncode == 0, installed.stderr
    try:
        uid, before = cluster.api.get(path)["metadata"]["uid"], containers()
        upgraded = chart.run("upgrade", release, str(chart.CHART), *common, *how)
        if not works:
            assert upgraded.returncode != 0 and "linux.image.repository=" in upgraded.stderr
            assert containers() == before
            return
        assert upgraded.returncode == 0, upgraded.stderr
        assert containers() == ["secrets-store"] and cluster.api.get(path)["metadata"]["uid"] == uid
        assert cluster.api.find("/apis/rbac.authorization.k8s.io/v1/clusterroles/secretprovidersyncing-role")
        # The Go driver's pods keep their rights until the last of them is replaced, and the notes say what then.
        assert trio.go_rights() <= granted(cluster)
        assert "upgrade\nonce more with the same values" in upgraded.stdout
        again = chart.run("upgrade", release, str(chart.CHART), *common, *how)
        assert again.returncode == 0 and "once more" not in again.stdout, again.stderr
        assert ("", "secrets", "list") not in granted(cluster) and ("", "pods", "list") not in granted(cluster)
        back = chart.run("rollback", release, "1", *common)
        assert back.returncode == 0, back.stderr
        assert containers() == before and cluster.api.get(path)["metadata"]["uid"] == uid
    finally:
        chart.run("uninstall", release, *common)


def test_hook_installs_upgrades_and_keeps_the_crds(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The hooks' program runs with the hooks' rights over CRDs of an older release → the CRDs are upgraded, its short
    names are gone, and they are marked to be kept."""
    name = f"{CRDS}/secretproviderclasses.secrets-store.csi.x-k8s.io"
    cluster.api.patch(name, {"spec": {"names": {"shortNames": ["spc"], "categories": None}}})
    objects = chart.render("--show-only=templates/crds-hooks.yaml")
    for mode, hook in (("apply", "upgrade-crds"), ("keep", "keep-crds")):
        account = f"{HOOK}-{hook}"
        cluster.service_account(namespace, account)
        for item in objects:
            if item["metadata"]["name"] == account and item["kind"] in ("ClusterRole", "ClusterRoleBinding"):
                if item["kind"] == "ClusterRoleBinding":
                    item["subjects"][0]["namespace"] = namespace
                cluster.api.apply(item)
        kubeconfig = cluster.token_kubeconfig(tmp_path / mode, namespace, account)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "driver.cluster.crds",
                f"--mode={mode}",
                f"--crds={chart.CHART}/crds",
                f"--kubeconfig={kubeconfig or tmp_path / mode}",
                "--timeout=60s",
            ],
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
    crd = cluster.api.get(f"{CRDS}/secretproviderclasses.secrets-store.csi.x-k8s.io")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert crd["spec"]["names"]["categories"] == ["secrets-store"] and "shortNames" not in crd["spec"]["names"]
