"""The tests of this folder run with exactly the rights that the chart grants."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster import build, releases
from tests.cluster.api import Object
from tests.cluster.rig import BASE_RULES, RESTART_RULES, SYNC_RULES, TAINT_RULES

CHART = Path(__file__).resolve().parent.parent.parent / "helm"


def rules(role: str, *values: str) -> list[Object]:
    """The rules of a role in the rendered chart, in canonical order; empty without the role."""
    command = [str(build.path("helm")), "template", "release", str(CHART), "--kube-version", releases.version()]
    done = subprocess.run(
        [*command, *(word for value in values for word in ("--set", value))], check=True, capture_output=True, text=True
    )
    for document in yaml.safe_load_all(done.stdout):
        if document and document["kind"] in ("ClusterRole", "Role") and document["metadata"]["name"] == role:
            return canonical(document["rules"])
    return []


def canonical(found: list[Object]) -> list[Object]:
    """Rules in canonical order."""
    return sorted(({**rule, "verbs": sorted(rule["verbs"])} for rule in found), key=str)


@pytest.fixture(autouse=True)
def chart() -> None:
    """Skip without the chart or Helm."""
    if not (CHART / "Chart.yaml").exists() or build.GROUPS["helm"].missing:
        pytest.skip("no chart, or no helm: make test-cluster builds it")


def test_the_drivers_rights() -> None:
    """By default → classes, pod statuses and events; nothing for Secrets, pods or nodes."""
    assert rules("secretproviderclasses-role") == canonical(BASE_RULES)
    assert rules("secretprovidersyncing-role") == []


def test_the_rights_to_sync() -> None:
    """With syncSecret.enabled → Secrets by name only: no list, watch or delete, and get only without the policies; the
    same in a namespace's Role."""
    for values in (["syncSecret.enabled=true"], ["syncSecret.enabled=true", "syncSecret.namespaces={a}"]):
        assert rules("secretprovidersyncing-role", *values) == canonical(SYNC_RULES)
        without = rules("secretprovidersyncing-role", "validatingAdmissionPolicies.applyPolicies=false", *values)
        assert without == canonical([{**SYNC_RULES[0], "verbs": ["create", "get", "patch"]}, *SYNC_RULES[1:]])


def test_the_rights_to_remove_the_taint() -> None:
    """With startupTaint.enabled → the node and its CSINode, too."""
    assert rules("secretproviderclasses-role", "startupTaint.enabled=true") == canonical([*BASE_RULES, *TAINT_RULES])


def test_the_rights_to_restart_workloads() -> None:
    """With restartOnRotation.enabled → workloads by name, and no list, watch, update or delete."""
    assert rules("secretproviderclasses-role", "restartOnRotation.enabled=true") == canonical(
        [*BASE_RULES, *RESTART_RULES]
    )
