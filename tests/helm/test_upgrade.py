"""Upgrades of a release of the Go chart with the user's values file, --reuse-values or --reset-then-reuse-values, with
values merged as Helm does."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm import chart, trio

OURS = ["--set=linux.image.repository=mirror.example/secrets-store-csi,linux.image.tag=0.1.0"]
NEW = ["startupTaint", "restartOnRotation", "podMonitor", "prometheusRule", "dashboard", "networkPolicy"]


def objects(done: str) -> list[dict[str, Any]]:
    """The rendered objects."""
    return [item for item in yaml.safe_load_all(done) if item]


@pytest.fixture
def reused(tmp_path: Path) -> Path:
    """Our chart with the old release's values instead of its own, which is what --reuse-values does."""
    return trio.reused(tmp_path / "chart")


def test_reused_values(reused: Path) -> None:
    """The old release's values have the Go driver's image → the render fails and names the key."""
    done = chart.template(path=reused)
    assert done.returncode != 0
    assert "linux.image.repository=registry.k8s.io/csi-secrets-store/driver" in done.stderr


def test_reused_values_with_our_image(reused: Path) -> None:
    """Reused values with our image → everything renders as with our own defaults, although no new key has a value."""
    done = chart.template(*OURS, path=reused)
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout) == chart.render(*OURS)


def test_new_keys_have_their_defaults_in_the_templates(reused: Path) -> None:
    """A new feature is turned on over reused values → its other values are the defaults of values.yaml."""
    enabled = [*OURS, *(f"--set={key}.enabled=true" for key in NEW)]
    done = chart.template(*enabled, path=reused)
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout) == chart.render(*enabled)


def test_a_reused_null_is_no_value() -> None:
    """A new key is set to null → it counts as absent."""
    done = chart.template("--set=startupTaint.key=null,startupTaint.enabled=true")
    assert "--startup-taint=secrets-store.csi.k8s.io/agent-not-ready" in done.stdout, done.stderr


def test_reset_then_reused_values(tmp_path: Path) -> None:
    """--reset-then-reuse-values puts the user's values over our defaults → settings stay, and an image of the Go driver
    is refused by its key."""
    user = tmp_path / "user.yaml"
    user.write_text(yaml.safe_dump({"syncSecret": {"enabled": True}, "linux": {"kubeletRootDir": "/data/kubelet"}}))
    (daemon_set,) = (item for item in chart.render(f"--values={user}") if item["kind"] == "DaemonSet")
    assert "--kubelet-pods-dir=/data/kubelet/pods" in daemon_set["spec"]["template"]["spec"]["containers"][0]["args"]
    user.write_text(yaml.safe_dump({"linux": {"image": {"repository": "mirror.example/csi-secrets-store/driver"}}}))
    assert "linux.image.repository=mirror.example" in chart.template(f"--values={user}").stderr


def test_digest_without_repository() -> None:
    """A digest without a repository, as in values of the Go chart, would be pulled from our repository → the render
    fails and names the key; with a repository it is used."""
    digest = f"sha256:{'0' * 64}"
    done = chart.template(f"--set=linux.image.digest={digest}")
    assert done.returncode != 0 and f"linux.image.digest={digest}" in done.stderr
    done = chart.template(f"--set=linux.image.digest={digest},linux.image.repository=mirror.example/sscd")
    assert f"mirror.example/sscd@{digest}" in done.stdout


def test_dropped_key() -> None:
    """filteredWatchSecret, which newer Go charts have dropped and many values files still have → accepted."""
    assert chart.template("--set=filteredWatchSecret=true").returncode == 0
