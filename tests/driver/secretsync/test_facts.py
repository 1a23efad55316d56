"""The table of facts about the official controller (tests/cluster/secret_sync/README.md) is complete, and the tests
that it names exist; and those facts that need no program."""

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from driver.publish import request
from driver.secretsync import conditions, fetching
from driver.secretsync.config import LEASE, SyncConfig

ROOT = Path(__file__).resolve().parents[3]
HERE = ROOT / "tests" / "cluster" / "secret_sync"
TABLE = (HERE / "README.md").read_text()
BETTER = (ROOT / "docs" / "secrets-without-a-pod.md").read_text().partition("## Where it does more")[2]
CRD = yaml.safe_load((ROOT / "helm" / "files" / "secretsyncs.yaml").read_text())
(VERSION,) = CRD["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
KEY = r"^[A-Za-z0-9.]([-A-Za-z0-9]+([-._a-zA-Z0-9]?[A-Za-z0-9])*)?(\/([0-9]+))*$"
FORCE = r"^[A-Za-z0-9]([-A-Za-z0-9]+([-._a-zA-Z0-9]?[A-Za-z0-9])*)?$"
OURS = {"kubeconfig", "controller_name", "log_format_json", "v"}
FLAGS = {
    "metrics_bind_address": ":8085",
    "health_probe_bind_address": ":8081",
    "leader_elect": False,
    "leader_election_namespace": "",
    "token_request_audience": (),
    "provider_volume": "/provider",
    "rotation_poll_interval": 12 * 3600,
    "max_call_recv_msg_size": 4194304,
    "version": False,
}


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    cells = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip() for cell in row] for row in cells if not row[0].strip().startswith(("fact", "---", "the off"))
    ]


@cache
def functions_of(path: Path) -> set[str]:
    """The functions of a module."""
    return {item.name for item in ast.parse(path.read_text()).body if isinstance(item, ast.FunctionDef)}


def named(cell: str) -> list[tuple[Path, str]]:
    """The module and the name of each test in a cell."""
    found = []
    for item in cell.replace("`", "").split(","):
        path, _, name = item.strip().partition("::")
        folder = ROOT if path.startswith("tests/") else HERE
        if path.startswith("unit/"):
            folder, path = Path(__file__).parent, path.removeprefix("unit/")
        found.append((folder / path, name))
    return found


def test_the_tests_exist() -> None:
    """Each row of both tables names tests, and all of them exist."""
    facts, better = rows(TABLE), rows(BETTER)
    assert len(facts) >= 30 and len(better) >= 7
    for cell in [row[1] for row in facts] + [row[2] for row in better]:
        for path, name in named(cell):
            assert path.is_file() and name in functions_of(path), cell


def crd_fields(schema: dict[str, Any], path: str) -> list[str]:
    """The paths of the fields, lists and maps of other things being one field."""
    if "properties" not in schema:
        return [path]
    return [found for name, item in schema["properties"].items() for found in crd_fields(item, f"{path}.{name}")]


def test_the_table_is_complete() -> None:
    """Each field of the CRD, each reason of a condition, each attribute, flag and policy is in it."""
    wanted = [name for part in ("spec", "status") for name in crd_fields(SCHEMA["properties"][part], part)]
    wanted += [
        value for name, value in vars(conditions).items() if name.endswith(("_ERROR", "_FAILED", "MISCONFIGURED"))
    ]
    wanted += [conditions.CREATED, conditions.UPDATED, conditions.CREATE_SUCCESSFUL[0], conditions.UP_TO_DATE[0]]
    wanted += [reason for reason, _ in conditions.STARTING.values()]
    wanted += [f"--{name.replace('_', '-')}" for name in FLAGS]
    wanted += [request.POD_NAME, request.POD_UID, request.POD_NAMESPACE, request.SERVICE_ACCOUNT_TOKENS]
    wanted += [fetching.SERVICE_ACCOUNT_NAME]
    template = (ROOT / "helm" / "templates" / "_secret-sync-policies.tpl").read_text()
    wanted += (policies := re.findall(r'"name" "([a-z-]+-policy)"', template))
    assert len(policies) == 9
    assert [name for name in wanted if f"`{name}`" not in TABLE] == []


def test_the_flags() -> None:
    """The program has the official flags with their defaults, others than those are ours, and the official Lease."""
    assert {item.name: item.default for item in fields(SyncConfig) if item.name not in OURS} == FLAGS
    assert LEASE == "29f1d54e.secret-sync.x-k8s.io"


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("", {"required": ["spec"]}),
        ("spec", {"required": ["secretObject", "secretProviderClassName", "serviceAccountName"]}),
        ("spec.secretProviderClassName", {"minLength": 1, "maxLength": 253, "pattern": NAME}),
        ("spec.serviceAccountName", {"minLength": 1, "maxLength": 253, "pattern": NAME}),
        ("spec.secretSyncControllerName", {"default": ""}),
        ("spec.forceSynchronization", {"maxLength": 253, "pattern": FORCE}),
        ("spec.secretObject", {"required": ["type"]}),
        ("spec.secretObject.type", {"default": "Opaque", "minLength": 1, "maxLength": 253}),
        (
            "spec.secretObject.data",
            {
                "minItems": 1,
                "maxItems": 1024,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["targetKey"],
            },
        ),
        ("spec.secretObject.data[]", {"required": ["sourcePath", "targetKey"]}),
        ("spec.secretObject.data[].sourcePath", {"minLength": 1, "maxLength": 253, "pattern": KEY}),
        ("spec.secretObject.data[].targetKey", {"minLength": 1, "maxLength": 253, "pattern": KEY}),
        (
            "status.conditions",
            {"maxItems": 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ],
)
def test_the_crd(path: str, rules: dict[str, Any]) -> None:
    """Group, version and kind are the official ones, and each field has exactly the official rules."""
    names = CRD["spec"]["names"]
    assert (CRD["spec"]["group"], VERSION["name"], names["kind"]) == ("secret-sync.x-k8s.io", "v1alpha1", "SecretSync")
    assert (names["plural"], CRD["spec"]["scope"]) == ("secretsyncs", "Namespaced")
    assert VERSION["subresources"] == {"status": {}} and "additionalPrinterColumns" not in VERSION
    found = SCHEMA
    for name in filter(None, path.replace("[]", ".[]").split(".")):
        found = found["items"] if name == "[]" else found["properties"][name]
    other = ("type", "description", "properties", "items", "x-kubernetes-validations")
    assert {key: value for key, value in found.items() if key not in other} == rules


def test_the_messages_of_labels() -> None:
    """The rule about the length of labels has the message that the official tests compare."""
    secret = SCHEMA["properties"]["spec"]["properties"]["secretObject"]["properties"]
    messages = [rule["message"] for rule in secret["labels"]["x-kubernetes-validations"]]
    assert messages[0] == (
        "Label keys must not exceed 317 characters (254 for prefix+separator, 63 for name), label values must not "
        "exceed 63 characters."
    )
