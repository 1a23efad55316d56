"""A release of the Go trio's chart, upgraded: with the user's own file, with --reuse-values, with
--reset-then-reuse-values, as Helm merges values for each."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm import chart, trio

OURS = ["--set=linux.image.repository=mirror.example/secrets-store-csi,linux.image.tag=0.1.0"]
NEW = ["startupTaint", "podMonitor", "prometheusRule", "networkPolicy"]


def objects(done: str) -> list[dict[str, Any]]:
    """The rendered objects."""
    return [item for item in yaml.safe_load_all(done) if item]


@pytest.fixture
def reused(tmp_path: Path) -> Path:
    """Our chart with the old release's values in place of its own: that is what --reuse-values does."""
    return trio.reused(tmp_path / "chart")


def test_reused_values_name_the_trios_image(reused: Path) -> None:
    """The old release's values hold the trio's image: the render fails and names the key."""
    done = chart.template(path=reused)
    assert done.returncode != 0
    assert "linux.image.repository=registry.k8s.io/csi-secrets-store/driver" in done.stderr


def test_reused_values_with_our_image(reused: Path) -> None:
    """With the image given everything renders although no new key has a value, and just as our own defaults do."""
    done = chart.template(*OURS, path=reused)
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout) == chart.render(*OURS)


def test_new_keys_have_their_defaults_in_the_templates(reused: Path) -> None:
    """A new feature turned on over reused values has the same defaults as in values.yaml."""
    enabled = [*OURS, *(f"--set={key}.enabled=true" for key in NEW)]
    done = chart.template(*enabled, path=reused)
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout) == chart.render(*enabled)


def test_a_reused_null_is_no_value() -> None:
    """A new key's group emptied by the user counts as absent, not as an error."""
    done = chart.template("--set=startupTaint.key=null,startupTaint.enabled=true")
    assert "--startup-taint=secrets-store.csi.k8s.io/agent-not-ready" in done.stdout, done.stderr


def test_reset_then_reused_values(tmp_path: Path) -> None:
    """--reset-then-reuse-values lays what the user had set over our defaults: settings stay, and an image set for the
    trio is refused by its key."""
    user = tmp_path / "user.yaml"
    user.write_text(yaml.safe_dump({"syncSecret": {"enabled": True}, "linux": {"kubeletRootDir": "/data/kubelet"}}))
    (daemon_set,) = (item for item in chart.render(f"--values={user}") if item["kind"] == "DaemonSet")
    assert "--kubelet-pods-dir=/data/kubelet/pods" in daemon_set["spec"]["template"]["spec"]["containers"][0]["args"]
    user.write_text(yaml.safe_dump({"linux": {"image": {"repository": "mirror.example/csi-secrets-store/driver"}}}))
    assert "linux.image.repository=mirror.example" in chart.template(f"--values={user}").stderr


def test_a_digest_left_alone() -> None:
    """The trio's values pin a digest without a repository: it would be looked for in our repository, so the render
    fails and names the key; with a repository of the user's own it is theirs."""
    digest = f"sha256:{'0' * 64}"
    done = chart.template(f"--set=linux.image.digest={digest}")
    assert done.returncode != 0 and f"linux.image.digest={digest}" in done.stderr
    done = chart.template(f"--set=linux.image.digest={digest},linux.image.repository=mirror.example/sscd")
    assert f"mirror.example/sscd@{digest}" in done.stdout


def test_a_key_that_newer_trio_charts_dropped() -> None:
    """filteredWatchSecret stands in many old files; it is accepted."""
    assert chart.template("--set=filteredWatchSecret=true").returncode == 0
