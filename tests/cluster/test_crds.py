"""The chart's CRDs: all fields of the Go driver's CRDs, what kubectl shows, and clients that know only the Go driver's
fields."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Object
from tests.cluster.crds import GROUP, write_trio_crds
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.support.namespace_rig import CLASS_GROUP

CHART = Path(__file__).resolve().parent.parent.parent / "helm" / "crds"
FAILURE = {"reason": "GRPCProviderError", "message": "no", "count": 2, "time": "2026-01-01T00:00:00Z"}
# Keywords that make a field stricter.
STRICTER = {"required", "enum", "default", "pattern", "maxLength", "minLength", "maxItems", "minItems", "format"}


def ours() -> dict[str, Object]:
    """The chart's CRDs by name."""
    found = [yaml.safe_load(path.read_text()) for path in sorted(CHART.glob("*.yaml"))]
    return {item["metadata"]["name"]: item for item in found}


def schema(crd: Object, version: str) -> Object:
    """The schema of a served version."""
    (found,) = (item for item in crd["spec"]["versions"] if item["name"] == version and item["served"])
    result: Object = found["schema"]["openAPIV3Schema"]
    return result


def differences(trio: Any, chart: Any, path: str = "") -> list[str]:
    """Where the chart's schema lacks or restricts something of the Go driver's; additional fields are no difference."""
    found = [f"{path}: {key}" for key in STRICTER & chart.keys()]
    if trio.get("type") != chart.get("type"):
        found.append(f"{path}: type")
    for name, field in trio.get("properties", {}).items():
        if name not in chart.get("properties", {}):
            found.append(f"{path}.{name}: missing")
        else:
            found += differences(field, chart["properties"][name], f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in trio:
            found += differences(trio[key], chart.get(key, {}), f"{path}.{key}")
    return found


def test_every_field_of_a_secret_sync_is_described() -> None:
    """Each field of the SecretSync's CRD, its conditions' included, has a description."""
    crd = yaml.safe_load((CHART.parent / "files" / "secretsyncs.yaml").read_text())
    assert undescribed(schema(crd, "v1alpha1")) == []


def undescribed(field: Object, path: str = "") -> list[str]:
    """Fields without a description, except those that every object has."""
    found = [path] if path and "description" not in field else []
    for name, below in field.get("properties", {}).items():
        if path or name in ("spec", "status"):
            found += undescribed(below, f"{path}.{name}")
    return found + (undescribed(field["items"], f"{path}[]") if "items" in field else [])


def test_fields_of_the_go_driver(tmp_path: Path) -> None:
    """Both versions of both kinds have every field of the Go driver's CRDs with its type, none stricter, and its names;
    v1 is stored; every field has a description."""
    for path in write_trio_crds(tmp_path):
        trio = json.loads(path.read_text())
        crd = ours()[trio["metadata"]["name"]]
        assert crd["spec"]["group"] == GROUP and crd["spec"]["scope"] == "Namespaced"
        assert crd["spec"]["names"].items() >= trio["spec"]["names"].items()
        assert [(item["name"], item["storage"]) for item in crd["spec"]["versions"]] == [
            ("v1", True),
            ("v1alpha1", False),
        ]
        for version in ("v1", "v1alpha1"):
            assert differences(schema(trio, version), schema(crd, version)) == []
            assert undescribed(schema(crd, version)) == []


@pytest.fixture
def cluster_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> ClusterRig:
    """A namespace with a class and a pod's status."""
    made = ClusterRig(cluster, namespace, tmp_path)
    made.make_class("db", version="v1alpha1")
    made.api.create(
        {
            "apiVersion": f"{CLASS_GROUP}/v1",
            "kind": "SecretProviderClassPodStatus",
            "metadata": {"namespace": namespace, "name": "web-db"},
            "status": {
                "podName": "web",
                "secretProviderClassName": "db",
                "mounted": True,
                "targetPath": "/t",
                "objects": [{"id": "a", "version": "1"}],
                "lastRefresh": "2026-01-01T00:00:00Z",
                "lastFailure": FAILURE,
                "conditions": [{"type": "Refreshed", "status": "False"}],
            },
        }
    )
    return made


def table(cluster_rig: ClusterRig, *arguments: str) -> tuple[list[str], list[str]]:
    """The table of ``kubectl get``: its header and its one row."""
    lines = cluster_rig.cluster.kubectl("get", *arguments, "-n", cluster_rig.namespace).splitlines()
    head, row = (line.split() for line in lines)
    return head, row


@pytest.mark.parametrize("name", ["secretproviderclass", "secretproviderclasses.v1alpha1.secrets-store.csi.x-k8s.io"])
def test_kubectl_get_of_classes(cluster_rig: ClusterRig, name: str) -> None:
    """``kubectl get`` by kind or version → our columns."""
    head, row = table(cluster_rig, name)
    assert head == ["NAME", "PROVIDER", "AGE"] and row[:2] == ["db", "stub"]


@pytest.mark.parametrize(
    "name", ["secretproviderclasspodstatus", "secretproviderclasspodstatuses.v1alpha1.secrets-store.csi.x-k8s.io"]
)
def test_kubectl_get_of_statuses(cluster_rig: ClusterRig, name: str) -> None:
    """``kubectl get`` by kind or version → our columns, with the last refresh as an age."""
    head, row = table(cluster_rig, name)
    assert head == ["NAME", "POD", "CLASS", "MOUNTED", "LAST-REFRESH", "AGE"]
    assert row[:4] == ["web-db", "web", "db", "true"] and row[4][-1] in "dhy"


@pytest.mark.parametrize(
    "version, kinds",
    [
        ("secret-sync.x-k8s.io/v1alpha1", ["SecretSync"]),
        (f"{GROUP}/v1", ["SecretProviderClass", "SecretProviderClassPodStatus"]),
        (f"{GROUP}/v1alpha1", ["SecretProviderClass", "SecretProviderClassPodStatus"]),
    ],
)
def test_what_kubectl_explain_reads(cluster: ControlPlane, version: str, kinds: list[str]) -> None:
    """The API server's own description of each version → of every field it has a text."""
    schemas = cluster.api.get(f"/openapi/v3/apis/{version}")["components"]["schemas"]
    found = {name.rpartition(".")[2]: item for name, item in schemas.items()}
    for kind in kinds:
        assert found[kind]["description"] and undescribed(found[kind]) == []


@pytest.mark.parametrize(
    "field, example",
    [
        ("secretproviderclass.spec.parameters", "secretPath"),
        ("secretproviderclass.spec.secretObjects", "db-credentials"),
        ("secretproviderclass", "rotation-poll-interval"),
        ("secretproviderclasspodstatus.status.lastFailure.reason", "GRPCProviderError"),
        ("secretproviderclass.spec.files.template", "postgres://${user|url}"),
        ("secretproviderclass.spec.secretObjects.dataFrom.format", "every entry of it becomes a key"),
        ("secretproviderclass.spec.secretObjects.deletionPolicy", "WithClass"),
        ("secretsync.spec.secretObject.dataFrom.prefix", "DB_"),
        ("secretsync.spec.forceSynchronization", "syncs the Secret at once"),
        ("secretsync.status.conditions.reason", "RemoteSecretStoreFetchFailed"),
    ],
)
def test_kubectl_explain(cluster_rig: ClusterRig, field: str, example: str) -> None:
    """``kubectl explain`` shows an example for a field."""
    assert example in cluster_rig.cluster.kubectl("explain", field)


def test_api_resources(cluster_rig: ClusterRig) -> None:
    """Scripts, the Go driver's end-to-end tests among them, read ``kubectl api-resources`` by column → the second one
    is the version, as with the Go driver's CRDs, which have no short names; the category lists both kinds."""
    printed = cluster_rig.cluster.kubectl("api-resources", "--no-headers", f"--api-group={GROUP}")
    assert [line.split() for line in printed.splitlines()] == [
        ["secretproviderclasses", f"{GROUP}/v1", "true", "SecretProviderClass"],
        ["secretproviderclasspodstatuses", f"{GROUP}/v1", "true", "SecretProviderClassPodStatus"],
    ]
    listed = cluster_rig.cluster.kubectl("get", "secrets-store", "--output=name", "-n", cluster_rig.namespace)
    assert sorted(listed.split()) == [f"secretproviderclass.{GROUP}/db", f"secretproviderclasspodstatus.{GROUP}/web-db"]


def test_an_old_client(cluster_rig: ClusterRig) -> None:
    """A client that knows only the Go driver's fields reads either version and writes the object back without ours →
    accepted, and our fields are gone."""
    path = cluster_rig.path("secretproviderclasspodstatuses", "web-db")
    for version in ("v1", "v1alpha1"):
        found = cluster_rig.api.get(path.replace("/v1/", f"/{version}/"))
        known = {
            key: found["status"][key]
            for key in ("podName", "secretProviderClassName", "mounted", "targetPath", "objects")
        }
        known["objects"] = [{"id": "a", "version": "2"}]
        written = cluster_rig.api.request("PUT", path.replace("/v1/", f"/{version}/"), {**found, "status": known})
        assert written["status"] == known
