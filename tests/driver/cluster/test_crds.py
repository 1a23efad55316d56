"""The chart's hook creates and upgrades CRDs and marks them to be kept; failures are one sentence and an exit code."""

from pathlib import Path

import pytest
import yaml

from driver.cluster import crds
from tests.support.fake_api import Answer, FakeApi, Object, Page, Silence
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
    older = {"scope": "Cluster", "names": {"shortNames": ["spc"]}}
    server.patch(f"{PATH}/{name}", {"metadata": {"annotations": {"team": "a"}}, "spec": older})
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


def test_silent_server(server: FakeApi, kubeconfig: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The server says nothing → after ``--timeout`` exit code 1 and a whole sentence."""
    server.on("POST", "", Silence())
    assert hook(kubeconfig, "--timeout=500ms") == 1
    assert "did not answer within 0.5 s: not even with an error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"), [(["--mode=delete"], "apply or keep"), (["--crds=/nowhere"], "/nowhere"), (["--x"], "-x")]
)
def test_invalid_flags(kubeconfig: str, capsys: pytest.CaptureFixture[str], flags: list[str], named: str) -> None:
    """An invalid flag → one sentence that names it, and no call."""
    assert hook(kubeconfig, *flags) in (1, 2)
    assert named in capsys.readouterr().err


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "a.b.c"},
    "spec": {"names": {}},
}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kind: [", "is not one valid YAML document"),
        ("a: 1\n---\nb: 2\n", "is not one valid YAML document"),
        ("kind: !!python/object:os.system x", "is not one valid YAML document"),
        ("[" * 1000, "is not one valid YAML document"),
        ("", "apiVersion None and kind None"),
        ("- a", "must be a CustomResourceDefinition of apiextensions.k8s.io/v1"),
        (yaml.safe_dump({**CRD, "apiVersion": "apiextensions.k8s.io/v1beta1"}), "apiextensions.k8s.io/v1beta1"),
        (yaml.safe_dump({**CRD, "kind": "Secret"}), "kind 'Secret'"),
        (yaml.safe_dump({**CRD, "metadata": {}}), "has no metadata.name"),
        (yaml.safe_dump({**CRD, "metadata": "x"}), "has no metadata.name"),
        (yaml.safe_dump({**CRD, "spec": None}), "has no spec.names"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
@pytest.mark.parametrize("mode", ["apply", "keep"])
def test_invalid_files(
    server: FakeApi,
    kubeconfig: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    text: str | bytes,
    named: str,
) -> None:
    """A file that is not one CRD, beside a valid one → exit code 1, one line that names the file and what is wrong, no
    traceback, and nothing is written."""
    directory = tmp_path / "crds"
    directory.mkdir()
    (directory / "a.yaml").write_text(yaml.safe_dump(CRD))
    (directory / "b.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    assert hook(kubeconfig, f"--mode={mode}", directory=directory) == 1
    said = capsys.readouterr().err
    assert named in said and "b.yaml" in said and "Traceback" not in said and len(said.splitlines()) == 1
    assert not server.calls.calls()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` → the version as JSON; neither server nor directory is needed."""
    assert crds.main(["--version"]) == 0 and "BuildVersion" in capsys.readouterr().out


def test_connections_are_closed(server: FakeApi, kubeconfig: str) -> None:
    """Run the hook → all connections are closed."""
    assert hook(kubeconfig) == 0 and server.calls.calls()
    wait_until(lambda: server.connections == 0, "the connections to be closed")
