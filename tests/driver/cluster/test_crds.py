"""The chart's hook: the CRDs are created, upgraded and marked to be kept; whatever goes wrong is one sentence and an
exit code."""

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
    """Run the command in this process; its exit code."""
    return crds.main([f"--kubeconfig={kubeconfig}", f"--crds={directory}", *flags])


def test_created_then_upgraded(server: FakeApi, kubeconfig: str) -> None:
    """A first run creates what the chart has; a second one, over an older schema, brings it back to that and keeps what
    others have put into the metadata."""
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


def test_marked_to_be_kept(server: FakeApi, kubeconfig: str) -> None:
    """Before the release goes: Helm's annotation on each, nothing else."""
    assert hook(kubeconfig) == 0
    before = server.get(PATH)["items"]
    assert hook(kubeconfig, "--mode=keep") == 0
    for old, new in zip(before, server.get(PATH)["items"], strict=True):
        assert new["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" and new["spec"] == old["spec"]


def test_there_is_nothing_to_keep(kubeconfig: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The CRDs were deleted before: exit code 1, and the line names the first of them."""
    assert hook(kubeconfig, "--mode=keep") == 1
    assert "404" in capsys.readouterr().err


@pytest.mark.parametrize("status", [400, 403, 422])
def test_refused(server: FakeApi, kubeconfig: str, capsys: pytest.CaptureFixture[str], status: int) -> None:
    """At once: exit code 1 and the reason; nothing is tried again."""
    rule = server.on("POST", "", Answer(status))
    assert hook(kubeconfig) == 1
    assert rule.hits == 1 and f"{status}" in capsys.readouterr().err


def test_a_server_that_recovers(server: FakeApi, kubeconfig: str) -> None:
    """An installation in a cluster that comes up: it waits, and succeeds."""
    server.on("POST", "", Answer(503), times=2)
    server.on("POST", "", Page(), times=1)
    assert hook(kubeconfig) == 0 and len(server.get(PATH)["items"]) == 2


def test_a_server_that_stays_away(server: FakeApi, kubeconfig: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After --timeout: exit code 1, how long it waited, and what was wrong last."""
    server.on("POST", "", Answer(503))
    assert hook(kubeconfig, "--timeout=1s") == 1
    said = capsys.readouterr().err
    assert "within 1 s" in said and "status 503" in said


@pytest.mark.parametrize(
    ("flags", "named"), [(["--mode=delete"], "apply or keep"), (["--crds=/nowhere"], "/nowhere"), (["--x"], "-x")]
)
def test_wrong_flags(kubeconfig: str, capsys: pytest.CaptureFixture[str], flags: list[str], named: str) -> None:
    """One sentence that names the flag, and no call."""
    assert hook(kubeconfig, *flags) in (1, 2)
    assert named in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version needs neither server nor directory."""
    assert crds.main(["--version"]) == 0 and "BuildVersion" in capsys.readouterr().out


def test_it_leaves_no_connection_open(server: FakeApi, kubeconfig: str) -> None:
    """Its client is closed at the end."""
    assert hook(kubeconfig) == 0 and server.calls.calls()
    wait_until(lambda: server.connections == 0, "the connections to be closed")
