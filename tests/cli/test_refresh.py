"""``secrets-store refresh class``: the annotation is set, and what happens then is said."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from driver.ports import REFRESH_ANNOTATION
from tests.cli.test_explain import DRIVER, provider_class
from tests.support.fake_api import Answer, FakeApi

CLASS = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/default/secretproviderclasses/app"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A server with a class, a volume of it and one of another, and rotation."""
    with FakeApi() as server:
        server.create(provider_class())
        for name, class_name in (("a", "app"), ("b", "other")):
            kind = {"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClassPodStatus"}
            metadata = {"name": name, "namespace": "default"}
            server.create({**kind, "metadata": metadata, "status": {"secretProviderClassName": class_name}})
        rotation(server, True)
        yield server


def rotation(api: FakeApi, on: bool) -> None:
    """Turn rotation on or off."""
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver"}
    api.apply({**kind, "metadata": {"name": DRIVER}, "spec": {"requiresRepublish": on}})


def refresh(api: FakeApi, tmp_path: Path, name: str = "app", *options: str) -> Result:
    """Run the command."""
    kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
    return CliRunner().invoke(main, ["refresh", "class", name, "--kubeconfig", kubeconfig, *options])


def test_a_class(api: FakeApi, tmp_path: Path) -> None:
    """Twice → two different values of the annotation; the number of its volumes is said."""
    values = set()
    for _ in range(2):
        result = refresh(api, tmp_path)
        assert (result.exit_code, "1 volume is due now" in result.stdout) == (0, True), result.output
        values.add(api.get(CLASS)["metadata"]["annotations"][REFRESH_ANNOTATION])
    assert len(values) == 2
    found = json.loads(refresh(api, tmp_path, "app", "-o", "json").stdout)
    assert found == {"class": "default/app", "volumes": 1, "rotation": True}


def test_rotation_is_off(api: FakeApi, tmp_path: Path) -> None:
    """Without rotation the annotation has no effect → a sentence that says so, exit code 1."""
    rotation(api, False)
    result = refresh(api, tmp_path)
    assert result.exit_code == 1 and "rotation is off" in result.stdout


def test_a_misspelt_class(api: FakeApi, tmp_path: Path) -> None:
    """A class that does not exist → did you mean."""
    result = refresh(api, tmp_path, "apps")
    assert result.exit_code == 1 and "no class apps in namespace default: did you mean app?" in result.stderr


@pytest.mark.parametrize("path", ["podstatuses", "/csidrivers/"])
def test_little_may_be_read(path: str, api: FakeApi, tmp_path: Path) -> None:
    """The user may annotate, but not read the rest → the class is annotated, and exit code 0."""
    api.on("GET", path, Answer(403))
    assert refresh(api, tmp_path).exit_code == 0
    assert api.get(CLASS)["metadata"]["annotations"][REFRESH_ANNOTATION]


def test_the_class_may_not_be_changed(api: FakeApi, tmp_path: Path) -> None:
    """No right to annotate → a sentence, exit code 1."""
    api.on("PATCH", "/app", Answer(403))
    result = refresh(api, tmp_path)
    assert result.exit_code == 1 and "403" in result.stderr and not result.stdout
