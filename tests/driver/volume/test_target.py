"""Target paths: their text and what is on disk."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from driver.volume.target import Target
from runtime.errors import InvalidRequest

SHAPE = "/var/lib/kubelet/pods/uid/volumes/kubernetes.io~csi/name/mount"


def snapshot(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


def test_parts_of_a_target() -> None:
    """UID, volume name and pods directory are parsed from kubelet's path."""
    target = Target.from_text(SHAPE, "")
    assert target == Target(SHAPE, "/var/lib/kubelet/pods", "uid", "name")


@pytest.mark.parametrize("pods_dir", ["/var/lib/kubelet/pods", "/var/lib/kubelet/pods/", "/var/lib/kubelet", "/"])
def test_target_below_the_configured_directory(pods_dir: str) -> None:
    """The configured pods directory may end with a slash, or be a parent of the real one."""
    assert Target.from_text(SHAPE, pods_dir).pod_uid == "uid"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "relative" + SHAPE,
        SHAPE + "/",
        SHAPE + "/..",
        SHAPE + "\0",
        SHAPE + "\n",
        SHAPE.replace("/uid/", "/../"),
        SHAPE.replace("/uid/", "/./"),
        SHAPE.replace("/uid/", "//"),
        SHAPE.replace("pods", "pod"),
        SHAPE.replace("~csi", "~nfs"),
        SHAPE.replace("/mount", "/data"),
        SHAPE + "/deeper",
        "/",
        "/etc",
        "/tmp/csi-mount/target",
        "/uid/volumes/kubernetes.io~csi/name/mount",
        SHAPE.replace("uid", "\ud800"),
        SHAPE.replace("name", "n" * 256),
        "/x" * 2100 + SHAPE,
    ],
)
def test_invalid_paths(path: str) -> None:
    """A path that is not one of kubelet's, or not in its shortest form: InvalidRequest, in one printable line."""
    with pytest.raises(InvalidRequest) as refusal:
        Target.parse(path, "")
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("pods_dir", ["/var/lib/kubelet/pods2", "/var/lib/kubelet/pod", "/other"])
def test_target_outside_the_configured_directory(pods_dir: str) -> None:
    """A target elsewhere, or in a directory whose name only begins the same: rejected, naming the flag."""
    with pytest.raises(InvalidRequest, match="--kubelet-pods-dir"):
        Target.parse(SHAPE, pods_dir)


def test_missing_components(pods: Path) -> None:
    """A path of which nothing exists is valid, and nothing is created."""
    target = Target.parse(f"{pods}/uid/volumes/kubernetes.io~csi/name/mount", str(pods))
    assert target.volume_name == "name"
    assert snapshot(pods) == []


@pytest.mark.parametrize("linked", range(5))
def test_symlink_is_rejected(pods: Path, tmp_path: Path, linked: int) -> None:
    """A component below the pods directory is a symlink to a directory: rejected, nothing touched."""
    names = ["uid", "volumes", "kubernetes.io~csi", "name", "mount"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.joinpath(*names[linked + 1 :]).mkdir(parents=True)
    parent = pods.joinpath(*names[:linked])
    parent.mkdir(parents=True, exist_ok=True)
    (parent / names[linked]).symlink_to(elsewhere)
    before = snapshot(tmp_path)
    with pytest.raises(InvalidRequest, match="symlink"):
        Target.parse(str(pods.joinpath(*names)), str(pods))
    assert snapshot(tmp_path) == before


def test_dangling_symlink_is_rejected(target: Path, pods: Path) -> None:
    """The target is a dangling symlink: rejected."""
    target.symlink_to("/nonexistent")
    with pytest.raises(InvalidRequest, match="symlink"):
        Target.parse(str(target), str(pods))


def test_file_is_rejected(target: Path, pods: Path) -> None:
    """The target is a file: rejected, and the file stays."""
    target.write_text("data")
    with pytest.raises(InvalidRequest, match="not a directory"):
        Target.parse(str(target), str(pods))
    assert target.read_text() == "data"


def test_file_above_the_pods_directory_is_rejected(tmp_path: Path) -> None:
    """The parent of the pods directory is a file: an invalid request, not an internal error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="not a directory"):
        Target.parse(f"{tmp_path}/file/pods/uid/volumes/kubernetes.io~csi/name/mount", "")


def test_symlink_above_the_pods_directory_is_followed(tmp_path: Path, target: Path) -> None:
    """Kubelet's root directory is a symlink, as on nodes with a data disk: accepted."""
    target.mkdir()
    (tmp_path / "kubelet").symlink_to(tmp_path)
    path = str(target).replace(str(tmp_path), f"{tmp_path}/kubelet")
    assert Target.parse(path, f"{tmp_path}/kubelet/pods").path == path


def test_no_descriptor_leaks(target: Path, pods: Path) -> None:
    """Valid and invalid targets leave no open descriptor."""
    target.symlink_to("/")
    before = len(os.listdir("/proc/self/fd"))
    for path in (str(target), f"{pods}/other/volumes/kubernetes.io~csi/name/mount"):
        with suppress(InvalidRequest):
            Target.parse(path, str(pods))
    assert len(os.listdir("/proc/self/fd")) == before
