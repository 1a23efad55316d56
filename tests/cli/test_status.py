"""``secrets-store status``: a summary, then nodes, then what fails."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import status as module
from cli.main import main
from tests.cli.test_explain import FAILED, READY, TIME
from tests.support.fake_api import FakeApi

NODE_LABEL = "internal.secrets-store.csi.k8s.io/node-name"


def driver(node: str, status: Any = READY, name: str = "") -> dict[str, Any]:
    """A pod of the driver."""
    metadata = {
        "name": name or f"driver-{node}",
        "namespace": "kube-system",
        "labels": {"app": "secrets-store-csi-driver"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": node},
        "status": copy.deepcopy(status),
    }


def volume(node: str, name: str, **status: Any) -> dict[str, Any]:
    """A pod status."""
    kind = {"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClassPodStatus"}
    metadata = {"name": name, "namespace": "web", "labels": {NODE_LABEL: node}}
    return {**kind, "metadata": metadata, "status": {"podName": name, "secretProviderClassName": "app", **status}}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Two nodes with three volumes, all well."""
    with FakeApi() as server:
        for item in (driver("n1"), driver("n2"), volume("n1", "a"), volume("n1", "b"), volume("n2", "c")):
            server.create(item)
        yield server


def status(api: FakeApi, tmp_path: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["status", "--kubeconfig", api.kubeconfig(tmp_path / "kubeconfig"), *options])


def test_all_is_well(api: FakeApi, tmp_path: Path) -> None:
    """The summary is the first line, and exit code 0."""
    result = status(api, tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "2 nodes, 2 of 2 drivers ready, 3 volumes, 0 failing",
        "  n1: ready, 2 volumes",
        "  n2: ready, 1 volume",
    ]


def test_a_failing_volume(api: FakeApi, tmp_path: Path) -> None:
    """A refresh fails → exit code 1, with pod, node, class, the age of the content and the reason."""
    api.create(volume("n2", "d", lastRefresh=TIME, **FAILED))
    result = status(api, tmp_path)
    assert result.exit_code == 1 and "4 volumes, 1 failing" in result.stdout.splitlines()[0]
    assert f"web/d on n2, class app: content of {TIME}: permission denied" in result.stdout
    found = json.loads(status(api, tmp_path, "-o", "json").stdout)
    assert found["problem"] and found["nodes"]["n2"] == {"driver": "ready", "volumes": 2}
    assert [item["pod"] for item in found["failing"]] == ["web/d"]


def test_one_node(api: FakeApi, tmp_path: Path) -> None:
    """--node shows that node only."""
    api.create(volume("n2", "d", **FAILED))
    result = status(api, tmp_path, "--node", "n1")
    assert result.exit_code == 0 and "1 node, 1 of 1 drivers ready, 2 volumes, 0 failing" in result.stdout


@pytest.mark.parametrize(
    "state", [{"phase": "Pending"}, {"containerStatuses": [{"state": {"waiting": {"reason": "X"}}}]}]
)
def test_a_driver_that_is_not_ready(state: Any, api: FakeApi, tmp_path: Path) -> None:
    """A driver is not ready → exit code 1, and its state; with a second, ready one on the node all is well."""
    api.create(driver("n3", state, "driver-b"))
    result = status(api, tmp_path)
    assert result.exit_code == 1 and "2 of 3 drivers ready" in result.stdout
    api.create(driver("n3", name="driver-a"))
    assert status(api, tmp_path).exit_code == 0


def test_volumes_without_a_driver(api: FakeApi, tmp_path: Path) -> None:
    """A node has volumes and no driver → exit code 1."""
    api.create(volume("n9", "d"))
    result = status(api, tmp_path)
    assert result.exit_code == 1 and "n9: there is no driver, 1 volume" in result.stdout


def test_watch(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--watch writes it again, until Ctrl-C."""
    rounds = []

    def wait(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("cli.status.time.sleep", wait)
    result = status(api, tmp_path, "--watch")
    assert result.stdout.count("2 nodes, ") == 3 and rounds == [module.WATCH_SECONDS] * 3
