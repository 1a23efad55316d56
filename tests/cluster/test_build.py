"""The builder of the pinned Go programs, without building anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster import build, releases


@pytest.mark.parametrize(
    ("release", "group", "home"),
    [
        ("1.34", "sanity", "csi-test-v5.4.0"),
        ("1.34", "helm", "helm-v3.19.2"),
        ("1.30", "apiserver", "kubernetes-v1.30.14"),
        ("1.34", "apiserver", "kubernetes-v1.34.2"),
        ("1.34", "node", "kubernetes-v1.34.2"),
        ("1.37", "node", "kubernetes-v1.37.2"),
    ],
)
def test_versions_come_from_go_mod(release: str, group: str, home: str) -> None:
    """The name of a group's cache directory has the version that its go.mod requires."""
    assert build.groups(release)[group].home.name == home


@pytest.mark.parametrize("release", releases.RELEASES)
def test_staging_modules_are_of_the_same_release(release: str) -> None:
    """go.mod requires Kubernetes v1.X.Y → it is the release that it is called, and every ``replace`` line points to
    v0.X.Y."""
    version = build.groups(release)["apiserver"].version
    assert version.startswith(f"v{release}.")
    lines = (releases.TESTS / releases.directory(release) / "go.mod").read_text().splitlines()
    replaced = {line.split()[-1] for line in lines if " => " in line}
    assert replaced == {version.replace("v1.", "v0.", 1)}


def test_the_chart_allows_every_release() -> None:
    """The chart's kubeVersion → its lower bound is the first release here."""
    chart = yaml.safe_load((releases.TESTS.parent / "helm" / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={next(iter(releases.RELEASES))}.0-0"


@pytest.mark.parametrize("release", ["1.29", "1.99", "v1.34", "newest"])
def test_unknown_release(release: str) -> None:
    """KUBERNETES names a release that is not pinned → exit code 2 and a line with the pinned ones."""
    done = _run({**os.environ, "KUBERNETES": release}, "apiserver")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"KUBERNETES={release}" in done.stderr and "1.30, 1.34, 1.37" in done.stderr


def test_unknown_program() -> None:
    """The path of an unknown program → an error that names it."""
    with pytest.raises(LookupError, match="kube-proxy"):
        build.path("kube-proxy")


def test_without_go(tmp_path: Path) -> None:
    """An empty cache and no Go on the PATH → exit code 3 and one line that says what to do."""
    done = _run({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}, "sanity")
    assert (done.returncode, done.stdout) == (build.NO_GO, "")
    assert done.stderr.count("\n") == 1 and "install Go" in done.stderr


def test_program_in_the_cache(tmp_path: Path) -> None:
    """A program is in the cache, and there is no Go → its path is printed and nothing else happens."""
    program = tmp_path / "secrets-store-csi" / "bin" / "helm-v3.19.2" / "helm"
    program.parent.mkdir(parents=True)
    program.touch()
    done = _run({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}, "helm")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program}\n", "")


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    """The build fails → exit code 1, and the program still counts as missing."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\nexit 9\n")
    go.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "XDG_CACHE_HOME": str(tmp_path)}
    for _ in range(2):
        done = _run(environment, "helm")
        assert done.returncode == build.FAILED and "go ended with 9" in done.stderr
    assert not list(tmp_path.rglob("helm"))


def test_an_unknown_group_is_refused() -> None:
    """A group that does not exist → exit code 2 and an error that names it and the existing ones."""
    done = _run(dict(os.environ), "docker")
    assert done.returncode == 2
    assert "'docker'" in done.stderr and "apiserver" in done.stderr


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster.build", *arguments],
        cwd=releases.TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
