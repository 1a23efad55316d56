"""The chart's hook creates and upgrades CRDs and marks them to be kept; failures are one sentence and an exit code."""

from pathlib import Path

import pytest
import yaml

from driver.cluster import crds
from tests.support.fake_api import Answer, FakeApi, Object, Page
from tests.support.waiting import wait_until

CHART = Path(__file__).resolve().parents[3] / "helm" / "crds"
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def kubeconfig(server: FakeApi, tmp_path: Path) -> str:
    """For the fake server."""
    return server.kubeconfig(tmp_path / "kubeconfig")


def hook(kubeconfig: str, *flags: str, directory: Path = CHART) -> int:
    """Run the command in this process; returns its exit code."""
    return crds.main([f"--kubeconfig={kubeconfig}", f"--crds={directory}", *flags])


def test_apply(server: FakeApi, kubeconfig: str) -> None:
    """Apply to an empty cluster → the chart's CRDs. Apply over an older schema → the chart's schema; metadata of others
    is kept."""
    expected: dict[str, Object] = {}
    for file in CHART.glob("*.yaml"):
        document = yaml.safe_load(file.read_text())
        expected[document["metadata"]["name"]] = document["spec"]
    assert hook(kubeconfig) == 0
    assert {item["metadata"]["name"]: item["spec"] for item in server.get(PATH)["items"]} == expected
    name = min(expected)
    server.patch(f"{PATH}/{name}", {"metadata": {"annotations": {"team": "a"}}, "spec": {"scope": "Cluster"}})
    assert hook(kubeconfig) == 0
    found = server.get(f"{PATH}/{name}")
    assert found["spec"] == expected[name] and found["metadata"]["annotations"]["team"] == "a"


def test_keep(server: FakeApi, kubeconfig: str) -> None:
    """``--mode=keep`` → Helm's keep annotation on each CRD, and no other change."""
    assert hook(kubeconfig) == 0
    before = server.get(PATH)["items"]
    assert hook(kubeconfig, "--mode=keep") == 0
    for old, new in zip(before, server.get(PATH)["items"], strict=True):
        assert new["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" and new["spec"] == old["spec"]


def test_keep_without_crds(kubeconfig: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--mode=keep`` after the CRDs were deleted → exit code 1 and the 404."""
    assert hook(kubeconfig, "--mode=keep") == 1
    assert "404" in capsys.readouterr().err


@pytest.mark.parametrize("status", [400, 403, 422])
def test_permanent_failure(server: FakeApi, kubeconfig: str, capsys: pytest.CaptureFixture[str], status: int) -> None:
    """The server rejects the first write → exit code 1 with the status, and no retry."""
    rule = server.on("POST", "", Answer(status))
    assert hook(kubeconfig) == 1
    assert rule.hits == 1 and f"{status}" in capsys.readouterr().err


def test_server_recovers(server: FakeApi, kubeconfig: str) -> None:
    """The server fails for a while → the hook retries and succeeds."""
    server.on("POST", "", Answer(503), times=2)
    server.on("POST", "", Page(), times=1)
    assert hook(kubeconfig) == 0 and len(server.get(PATH)["items"]) == 2


def test_timeout(server: FakeApi, kubeconfig: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The server keeps failing → after ``--timeout`` exit code 1, with the timeout and the last problem."""
    server.on("POST", "", Answer(503))
    assert hook(kubeconfig, "--timeout=1s") == 1
    said = capsys.readouterr().err
    assert "within 1 s" in said and "status 503" in said


@pytest.mark.parametrize(
    ("flags", "named"), [(["--mode=delete"], "apply or keep"), (["--crds=/nowhere"], "/nowhere"), (["--x"], "-x")]
)
def test_invalid_flags(kubeconfig: str, capsys: pytest.CaptureFixture[str], flags: list[str], named: str) -> None:
    """An invalid flag → one sentence that names it, and no call."""
    assert hook(kubeconfig, *flags) in (1, 2)
    assert named in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` → the version as JSON; neither server nor directory is needed."""
    assert crds.main(["--version"]) == 0 and "BuildVersion" in capsys.readouterr().out


def test_connections_are_closed(server: FakeApi, kubeconfig: str) -> None:
    """Run the hook → all connections are closed."""
    assert hook(kubeconfig) == 0 and server.calls.calls()
    wait_until(lambda: server.connections == 0, "the connections to be closed")
