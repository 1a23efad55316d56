"""``secrets-store doctor``: a line for each check, ok or what to do."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cli.doctor import local
from cli.doctor.checks import State
from cli.main import main
from driver.volume import mounts
from tests.cli.test_explain import DRIVER
from tests.cli.test_status import driver
from tests.support.fake_api import Answer, FakeApi

ROOT = Path(__file__).resolve().parents[2]
CRDS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "helm" / "crds").glob("*.yaml"))]
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
STORAGE = {"apiVersion": "storage.k8s.io/v1"}


def csi_node(node: str, *drivers: str) -> dict[str, Any]:
    """A CSINode."""
    return {
        **STORAGE,
        "kind": "CSINode",
        "metadata": {"name": node},
        "spec": {"drivers": [{"name": name} for name in drivers]},
    }


def csi_driver(**spec: Any) -> dict[str, Any]:
    """The CSIDriver."""
    return {**STORAGE, "kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": spec}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A cluster in which all is well."""
    with FakeApi() as server:
        for item in (*CRDS, csi_driver(podInfoOnMount=True), driver("n1"), csi_node("n1", DRIVER)):
            server.create(item)
        server.resources.reviewers["subjectaccessreviews"] = lambda _: {"allowed": True}
        yield server


def examine(api: FakeApi, tmp_path: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and state and sentence of each check."""
    kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
    result = CliRunner().invoke(main, ["doctor", "--kubeconfig", kubeconfig, "-o", "json"])
    return result.exit_code, {item["what"]: (item["state"], item["sentence"]) for item in json.loads(result.stdout)}


def test_all_is_well(api: FakeApi, tmp_path: Path) -> None:
    """Each check is ok, in text too, and exit code 0."""
    code, found = examine(api, tmp_path)
    assert code == 0 and {state for state, _ in found.values()} == {"ok"}, found
    assert len(found) == 8
    kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
    lines = CliRunner().invoke(main, ["doctor", "--kubeconfig", kubeconfig]).stdout.splitlines()
    assert len(lines) == 8 and all(line.startswith("ok      ") for line in lines)


def without_new_fields(api: FakeApi) -> None:
    """The Go driver's CRD."""
    crd = json.loads(json.dumps(CRDS[0]))
    del crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["files"]
    api.apply(crd)


PROBLEMS: dict[str, tuple[Callable[[FakeApi], Any], str, str]] = {
    "no CRD": (
        lambda api: api.delete(f"{CRD_PATH}/secretproviderclasses.secrets-store.csi.x-k8s.io"),
        "CRD secretproviderclasses",
        "it is not installed: kubectl apply",
    ),
    "old CRD": (without_new_fields, "CRD secretproviderclasses", "it has no spec.files"),
    "no CSIDriver": (
        lambda api: api.delete(f"/apis/storage.k8s.io/v1/csidrivers/{DRIVER}"), "CSIDriver", "install the chart",
    ),
    "CSIDriver": (lambda api: api.apply(csi_driver(podInfoOnMount=False)), "CSIDriver", "podInfoOnMount is not true"),
    "no driver": (lambda api: api.delete("/api/v1/namespaces/kube-system/pods/driver-n1"), "driver", "no pod of it"),
    "driver not ready": (lambda api: api.create(driver("n2", {"phase": "Pending"})), "driver", "driver-n2: not ready"),
    "not registered": (lambda api: api.apply(csi_node("n1")), "registration", "has not registered the driver on n1"),
    "rights": (
        lambda api: api.resources.reviewers.update(subjectaccessreviews=lambda _: {"allowed": False}),
        "rights",
        "may not get secretproviderclasses",
    ),
    "API": (lambda api: api.on("GET", "/version", Answer(403)), "API server", "403"),
}  # fmt: skip  # a line or two for each


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems(name: str, api: FakeApi, tmp_path: Path) -> None:
    """One thing is wrong → its line says what to do, and exit code 1."""
    spoil, what, sentence = PROBLEMS[name]
    spoil(api)
    code, found = examine(api, tmp_path)
    assert code == 1 and found[what][0] == "problem" and sentence in found[what][1], found


def test_little_may_be_read(api: FakeApi, tmp_path: Path) -> None:
    """The user may read nothing but the version → unknown, which is no problem."""
    api.on("*", "/apis/|/api/v1", Answer(403))
    code, found = examine(api, tmp_path)
    assert code == 0 and {state for state, _ in found.values()} == {"ok", "unknown"}


def here(kubelet: Path, providers: Path) -> dict[str, tuple[State, str]]:
    """The checks of this node."""
    return {item.what: (item.state, item.sentence) for item in local.examine(str(kubelet), [str(providers)])}


def test_a_node(tmp_path: Path) -> None:
    """An empty directory → problems that name what is missing; with directories and sockets all is well."""
    providers = tmp_path / "providers"
    found = here(tmp_path, providers)
    for what in ("directory pods", "directory plugins_registry", "driver's socket", "providers"):
        assert found[what][0] is State.PROBLEM, what
    for path in ("pods", "plugins_registry", "plugins/csi-secrets-store", "providers"):
        (tmp_path / path).mkdir(parents=True)
    with (
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as two,
        socket.socket(socket.AF_UNIX) as dead,
    ):
        one.bind(str(tmp_path / local.PLUGIN_SOCKET))
        two.bind(str(providers / "vault.sock"))
        dead.bind(str(providers / "aws.sock"))
        one.listen()
        two.listen()
        found = here(tmp_path, providers)
    for what in (
        "directory pods",
        "directory plugins_registry",
        "driver's socket",
        "provider vault",
        "mount propagation",
    ):
        assert found[what][0] is State.OK, found[what]
    assert found["provider aws"][0] is State.PROBLEM and "aws.sock" in found["provider aws"][1]


def test_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No swap is ok; swap without noswap is a problem, and with it is ok."""
    swaps = tmp_path / "swaps"
    monkeypatch.setattr(mounts, "SWAPS", swaps)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for lines, noswap, state in ((1, False, State.OK), (2, False, State.PROBLEM), (2, True, State.OK)):
        swaps.write_text("line\n" * lines)
        monkeypatch.setattr(mounts, "probe_noswap", lambda noswap=noswap: noswap)
        assert here(tmp_path, tmp_path)["swap"][0] is state
    swaps.unlink()
    assert here(tmp_path, tmp_path)["swap"][0] is State.UNKNOWN


def test_the_option_here(tmp_path: Path) -> None:
    """--here --no-api → only this node, without a kubeconfig."""
    arguments = ["doctor", "--here", "--no-api", "--kubelet-dir", str(tmp_path), "--provider-dir", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "problem directory pods: " in result.stdout and "API server" not in result.stdout
