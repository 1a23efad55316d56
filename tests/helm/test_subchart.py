"""Our chart inside another one, as providers' charts have the Go driver's: condition, tags, alias, global values."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm import chart
from tests.helm.parent import NAME, write_parent


def render(parent: Path, *arguments: str) -> list[dict[str, Any]]:
    """The objects of our chart in the parent's rendering."""
    done = chart.template(*arguments, path=parent)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] != "ConfigMap"]


@pytest.mark.parametrize("key", ["install", "enabled", "create", "deploy"])
def test_condition(tmp_path: Path, key: str) -> None:
    """The parent's condition is a key among our values → true renders everything, false and ``--set`` nothing."""
    parent = write_parent(tmp_path / "p", {NAME: {key: True}}, condition=f"{NAME}.{key}")
    assert len(render(parent)) == len(chart.render())
    assert render(parent, f"--set={NAME}.{key}=false") == []


def test_tags(tmp_path: Path) -> None:
    """The parent's tag turns our chart off; tags among our values are accepted."""
    parent = write_parent(tmp_path / "p", {NAME: {"tags": {"storage": True}}}, tags=["storage"])
    assert render(parent) and render(parent, "--set=tags.storage=false") == []


def test_values_and_global_values(tmp_path: Path) -> None:
    """The parent's values for our chart apply; its global values, whatever they are, are accepted."""
    values = {
        "global": {"imageRegistry": "mirror.example", "image": {"pullSecrets": ["a"]}},
        NAME: {"install": True, "linux": {"metricsAddr": ":8080"}, "syncSecret": {"enabled": True}},
    }
    found = render(write_parent(tmp_path / "p", values, condition=f"{NAME}.install"))
    (daemon_set,) = (item for item in found if item["kind"] == "DaemonSet")
    assert "--metrics-addr=:8080" in daemon_set["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "secretprovidersyncing-role" in [item["metadata"]["name"] for item in found]
    assert daemon_set["metadata"]["name"] == f"{chart.RELEASE}-{NAME}"


def test_alias(tmp_path: Path) -> None:
    """Under an alias Helm takes that for the chart's name, as it does with the Go chart: labels, the DaemonSet's name
    and what selects its pods agree; names that are fixed stay."""
    values = {"csi": {"podMonitor": {"enabled": True}, "networkPolicy": {"enabled": True}}}
    found = render(write_parent(tmp_path / "p", values, alias="csi"), "--set=nothing=of-ours")
    by_kind = {item["kind"]: item for item in found}
    labels = by_kind["DaemonSet"]["spec"]["template"]["metadata"]["labels"]
    assert labels["app"] == "csi" and by_kind["CSIDriver"]["metadata"]["name"] == "secrets-store.csi.k8s.io"
    assert by_kind["DaemonSet"]["spec"]["selector"]["matchLabels"] == {"app": "csi"}
    assert by_kind["PodMonitor"]["spec"]["selector"]["matchLabels"] == {"app": "csi"}
    assert by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == {"app": "csi"}


@pytest.mark.parametrize("key", ["instal", "syncSecrets", "linux.imgae", "enabledd"])
@pytest.mark.parametrize("alias", ["", "csi"])
def test_wrong_keys_are_still_named(tmp_path: Path, key: str, alias: str) -> None:
    """A key that does not exist → the render fails, with the key and with our chart's name there."""
    dependency: dict[str, Any] = {"alias": alias} if alias else {}
    parent = write_parent(tmp_path / "p", {}, **dependency)
    done = chart.template(f"--set={alias or NAME}.{key}=true", path=parent)
    assert done.returncode != 0
    assert f"additional properties '{key.rpartition('.')[2]}' not allowed" in done.stderr
    assert f"{alias or NAME}:" in done.stderr


@pytest.mark.parametrize("setting", ["install=false", "enabled=false", "enabled=true", "create=true", "tags.a=true"])
def test_a_parents_keys_without_a_parent(setting: str) -> None:
    """A parent's key for the chart itself, where it would have no effect → refused with the key; null is no value."""
    key = setting.partition("=")[0].partition(".")[0]
    done = chart.template(f"--set={setting}")
    assert done.returncode != 0 and f"{key} is a key of a chart that has this one as a subchart" in done.stderr
    assert chart.template(f"--set={key}=null").returncode == 0


def test_a_condition_must_be_a_boolean() -> None:
    """What a parent's condition cannot be → refused with the key."""
    done = chart.template("--set=install=maybe")
    assert done.returncode != 0 and "/install" in done.stderr
