"""A container that was not given what it needs says so in one sentence and does not start."""

import ctypes
import os
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

_MS_BIND, _MS_SHARED, _MS_REMOUNT, _MS_RDONLY = 4096, 1 << 20, 32, 1
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: Path | None, target: Path, flags: int) -> None:
    """mount(2)."""
    result = _libc.mount(os.fsencode(source) if source else None, os.fsencode(target), None, flags, None)
    assert result == 0, os.strerror(ctypes.get_errno())


def config(directory: Path) -> DriverConfig:
    """A driver whose directories are all there."""
    for name in ("csi", "pods", "registration"):
        (directory / name).mkdir(exist_ok=True)
    return DriverConfig(
        endpoint=f"unix://{directory}/csi/csi.sock", kubelet_pods_dir=f"{directory}/pods", nodeid="node-1"
    )


def check(directory: Path) -> None:
    """The check with the directory's registration path."""
    preflight.check(config(directory), f"{directory}/registration")


def test_all_is_well(tmp_path: Path) -> None:
    """A laptop's directories, and a container's with a shared mount: nothing is said, and nothing stays mounted."""
    check(tmp_path)
    pods = tmp_path / "pods"
    mount(pods, pods, _MS_BIND)
    mount(None, pods, _MS_SHARED)
    check(tmp_path)
    assert not any("preflight-" in entry.path for entry in mountinfo.read())


@pytest.mark.parametrize("node", ["", "a node", "n" * 64])
def test_a_node_that_no_label_can_hold(tmp_path: Path, node: str) -> None:
    """Refused before anything is started, not by a driver that is started again and again; files need no name."""
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
    """Each hostPath that is missing is named."""
    made = config(tmp_path)
    (tmp_path / name).rmdir()
    with pytest.raises(ConfigurationError, match=sentence):
        preflight.check(made, f"{tmp_path}/registration")


def test_no_propagation(tmp_path: Path) -> None:
    """A hostPath without Bidirectional: no pod would ever see a volume."""
    config(tmp_path)
    mount(tmp_path / "pods", tmp_path / "pods", _MS_BIND)
    with pytest.raises(ConfigurationError, match="mountPropagation: Bidirectional"):
        check(tmp_path)


def test_read_only(tmp_path: Path) -> None:
    """A pods directory that is read-only."""
    config(tmp_path)
    pods = tmp_path / "pods"
    mount(pods, pods, _MS_BIND)
    mount(None, pods, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)
    with pytest.raises(ConfigurationError, match="read-only"):
        check(tmp_path)


def test_no_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only root without an emptyDir at /tmp."""
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}/missing")
    with pytest.raises(ConfigurationError, match="mount an emptyDir volume with medium Memory at /tmp"):
        check(tmp_path)


def test_no_right_to_mount(tmp_path: Path) -> None:
    """Without the capability to mount: the sentence names privileged; exit code 1; no supervisor is started."""
    made = config(tmp_path)
    # kubelet gives no propagation either; the privileges are what is to be mended first
    mount(tmp_path / "pods", tmp_path / "pods", _MS_BIND)
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
