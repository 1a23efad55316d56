"""deploy/: static manifests written from the chart."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from container.main import configure, flags
from tests.helm import chart, manifests


def objects(directory: Path = manifests.DEPLOY) -> dict[tuple[str, str], dict[str, Any]]:
    """All objects of the manifests by kind and name."""
    found = (item for path in directory.glob("*.yaml") for item in yaml.safe_load_all(path.read_text()) if item)
    return {(item["kind"], item["metadata"]["name"]): item for item in found}


def test_deploy_is_written_from_the_chart() -> None:
    """deploy/ has what ``make manifests`` writes, and nothing else."""
    assert {path.name: path.read_text() for path in manifests.DEPLOY.iterdir()} == dict(manifests.files())


def test_the_objects_are_the_charts() -> None:
    """Every object that the chart creates, its hooks aside, is there, and the CRDs; nothing names Helm."""
    settings = ",".join((*manifests.SETTINGS, "syncSecret.enabled=true", "secretSync.enabled=true"))
    hooks = re.compile("(upgrade|keep)-crds$")
    expected = {key for key in chart.names(f"--set={settings}") if not hooks.search(key[1])}
    found = objects()
    assert found.keys() - expected == {
        ("CustomResourceDefinition", f"{kind}.secrets-store.csi.x-k8s.io") for kind in manifests.CRDS.values()
    }
    assert expected <= found.keys()
    for item in found.values():
        assert not {*manifests.OF_HELM} & item["metadata"].get("labels", {}).keys()


def test_names_of_the_trios_static_manifests() -> None:
    """DaemonSet, selector, namespace and account are those of the trio's static manifests, as ``kubectl apply`` over
    them needs; kubelet republishes always, as there."""
    found = objects()
    daemon_set = found["DaemonSet", "csi-secrets-store"]
    assert daemon_set["metadata"]["namespace"] == "kube-system"
    assert daemon_set["spec"]["selector"] == {"matchLabels": {"app": "csi-secrets-store"}}
    assert daemon_set["spec"]["template"]["metadata"]["labels"]["app"] == "csi-secrets-store"
    assert found["ServiceAccount", "secrets-store-csi-driver"]["metadata"]["namespace"] == "kube-system"
    assert found["CSIDriver", "secrets-store.csi.k8s.io"]["spec"]["requiresRepublish"] is True
    (only,) = daemon_set["spec"]["template"]["spec"]["containers"]
    given = [item.replace("$(CSI_ENDPOINT)", "unix:///a") for item in only["args"]]
    configure(flags().parse([*given, "--enable-secret-rotation=true", "--rotation-poll-interval=30s"]).values)


def test_values_of_ones_own(tmp_path: Path) -> None:
    """A values file and a directory → manifests with these values there."""
    values = tmp_path / "values.yaml"
    values.write_text("linux: {image: {repository: mirror.example/sscd, tag: '1'}, metricsAddr: ''}\n")
    assert manifests.main([f"--values={values}", f"--out={tmp_path}/out"]) == 0
    (only,) = objects(tmp_path / "out")["DaemonSet", "csi-secrets-store"]["spec"]["template"]["spec"]["containers"]
    assert only["image"] == "mirror.example/sscd:1" and "--metrics-addr=" in only["args"]


def test_files_of_former_values_are_removed(tmp_path: Path) -> None:
    """With other values a file is not needed any more → it goes, and nothing that somebody else has written."""
    values, out = tmp_path / "values.yaml", tmp_path / "out"
    values.write_text("{}")
    assert manifests.main([f"--values={values}", f"--out={out}"]) == 0
    (out / "kustomization.yaml").write_text("resources: []\n")
    (out / "monitoring.yaml").write_text("# our own\n")
    values.write_text("validatingAdmissionPolicies: {applyPolicies: false}")
    assert manifests.main([f"--values={values}", f"--out={out}"]) == 0
    names = {path.name for path in out.iterdir()}
    assert "admission-policies.yaml" not in names and "csidriver.yaml" in names
    assert {"kustomization.yaml", "monitoring.yaml"} <= names


@pytest.mark.parametrize(
    ("text", "more", "fewer"),
    [
        ("{}", set(), set()),
        ("windows: {enabled: true}", {"secrets-store-csi-driver-windows.yaml"}, set()),
        ("networkPolicy: {enabled: true}", {"monitoring.yaml"}, set()),
        ("validatingAdmissionPolicies: {applyPolicies: false}", set(), {"admission-policies.yaml"}),
        ("rbac: {install: false}", set(), {"rbac-secretproviderclass.yaml"}),
    ],
)
def test_files_depend_on_values(tmp_path: Path, text: str, more: set[str], fewer: set[str]) -> None:
    """What values turn on or off → a file more or fewer than in deploy/."""
    values = tmp_path / "values.yaml"
    values.write_text(text)
    assert {name for name, _ in manifests.files(str(values))} == (
        {path.name for path in manifests.DEPLOY.iterdir()} | more
    ) - fewer


def test_wrong_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong values → exit code 1, the chart's error, and nothing is written."""
    values = tmp_path / "values.yaml"
    values.write_text("linxu: {}\n")
    assert manifests.main([f"--values={values}", f"--out={tmp_path}/out"]) == 1
    assert "'linxu' not allowed" in capsys.readouterr().err and not (tmp_path / "out").exists()
