"""The commands with which the README installs the driver, and the example that it applies, with a real API server."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.servers import ControlPlane
from tests.helm import chart
from tests.helm.conftest import helm as helm

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "examples" / "try-it.yaml"
INSTALL = re.findall(r"^helm install \S+ helm/ (.*)$", README, re.MULTILINE)


@pytest.fixture
def applied(cluster: ControlPlane) -> Iterator[str]:
    """What kubectl says of the example; its objects are removed afterwards."""
    yield cluster.kubectl("apply", "--validate=strict", "--filename", str(EXAMPLE))
    cluster.kubectl("delete", "--wait=false", "--filename", str(EXAMPLE))


def test_the_example(cluster: ControlPlane, applied: str) -> None:
    """``kubectl apply`` of the example → each object is created, and no field is unknown."""
    kinds = [document["kind"] for document in yaml.safe_load_all(EXAMPLE.read_text())]
    assert kinds == ["Secret", "DaemonSet", "SecretProviderClass", "Pod"]
    assert [line.rpartition(" ")[2] for line in applied.splitlines()] == ["created"] * len(kinds)


@pytest.mark.parametrize("arguments", INSTALL)
def test_the_installations(cluster: ControlPlane, helm: None, arguments: str, tmp_path: Path) -> None:
    """Each ``helm install`` of the README → the API server accepts every object; the image is the one of the README."""
    assert len(INSTALL) == 2
    values = shlex.split(arguments.replace("$REGISTRY", "registry.example.com/team"))
    rendered = chart.template(*values).stdout
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered)
    cluster.kubectl("apply", "--dry-run=server", "--filename", str(path))
    assert re.search(r"image: \"?(registry\.example\.com/team/)?secrets-store-csi:0\.1\.0\"?\n", rendered)
