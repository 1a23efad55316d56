"""A container that lacks something it needs says so in one sentence and does not start."""

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from driver import preflight
from driver.config import DriverConfig
from driver.volume import mountinfo
from runtime.errors import ConfigurationError
from tests.support.mounts import bind, make_read_only, share


def config(directory: Path) -> DriverConfig:
    """A driver whose directories all exist."""
    for name in ("csi", "pods", "registration"):
        (directory / name).mkdir(exist_ok=True)
    return DriverConfig(
        endpoint=f"unix://{directory}/csi/csi.sock", kubelet_pods_dir=f"{directory}/pods", nodeid="node-1"
    )


def check(directory: Path) -> None:
    """Run the checks for this directory."""
    preflight.check(config(directory), f"{directory}/registration")


def test_nothing_is_missing(tmp_path: Path) -> None:
    """Directories outside a container, and those of a container with a shared mount: nothing is reported, and nothing
    stays mounted."""
    check(tmp_path)
    pods = tmp_path / "pods"
    bind(pods, pods)
    share(pods)
    check(tmp_path)
    assert not any("preflight-" in entry.path for entry in mountinfo.read())


@pytest.mark.parametrize("node", ["", "a node", "n" * 64])
def test_invalid_node_name(tmp_path: Path, node: str) -> None:
    """An invalid node name is rejected before anything starts, where it would fail again and again; with manifests no
    name is needed."""
    for changed, refused in (
        (replace(config(tmp_path), nodeid=node), True),
        (replace(config(tmp_path), nodeid=node, manifests=str(tmp_path)), False),
    ):
        with pytest.raises(ConfigurationError, match="--nodeid") if refused else nullcontext():
            preflight.check(changed, f"{tmp_path}/registration")


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("csi", "mount kubelet's plugins/csi-secrets-store there"),
        ("registration", "mount kubelet's plugins_registry there"),
        ("pods", "mount kubelet's pods directory there"),
    ],
)
def test_missing_directories(tmp_path: Path, name: str, sentence: str) -> None:
    """Each missing hostPath volume is named."""
    made = config(tmp_path)
    (tmp_path / name).rmdir()
    with pytest.raises(ConfigurationError, match=sentence):
        preflight.check(made, f"{tmp_path}/registration")


def test_no_propagation(tmp_path: Path) -> None:
    """A hostPath volume without Bidirectional: no pod would ever see its secrets."""
    config(tmp_path)
    bind(tmp_path / "pods", tmp_path / "pods")
    with pytest.raises(ConfigurationError, match="mountPropagation: Bidirectional"):
        check(tmp_path)


def test_read_only(tmp_path: Path) -> None:
    """A read-only pods directory."""
    config(tmp_path)
    pods = tmp_path / "pods"
    bind(pods, pods)
    make_read_only(pods)
    with pytest.raises(ConfigurationError, match="read-only"):
        check(tmp_path)


def test_no_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only root file system without an emptyDir volume at /tmp."""
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}/missing")
    with pytest.raises(ConfigurationError, match="mount an emptyDir volume with medium Memory at /tmp"):
        check(tmp_path)


def test_no_permission_to_mount(tmp_path: Path) -> None:
    """Without the capability to mount: the message names privileged, the exit code is 1, and no supervisor starts."""
    made = config(tmp_path)
    # The propagation is missing too, because kubelet gives none without privileges, which must be added first.
    bind(tmp_path / "pods", tmp_path / "pods")
    drop = (
        "import ctypes, sys; libc = ctypes.CDLL(None); [libc.prctl(24, n) for n in range(41)];"
        "import os; os.execv(sys.executable, [sys.executable, '-m', 'container.start', *sys.argv[1:]])"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            drop,
            f"--endpoint={made.endpoint}",
            f"--kubelet-pods-dir={made.kubelet_pods_dir}",
            "--nodeid=node-1",
            f"--kubelet-registration-path={tmp_path}/csi/csi.sock",
            f"--plugin-registration-path={tmp_path}/registration",
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "securityContext.privileged: true" in done.stderr
    assert len(done.stderr.splitlines()) == 1
