"""What the publish path asks and does."""

import os
from pathlib import Path

import pytest

from driver.volume import mounts, operations
from driver.volume.operations import Found
from runtime.errors import Internal, InvalidRequest, ResourceExhausted
from tests.driver.volume.support import SIZE, bind, commit, file, files, inspect, mode_of, seen


def test_life_of_a_volume(target: Path) -> None:
    """Nothing, mounted, committed: each is told from the others."""
    assert inspect(target) == Found()
    operations.prepare(str(target), SIZE, False)
    assert inspect(target) == Found(mounted=True)
    commit(target, files(a=b"1"))
    found = inspect(target)
    assert found.mounted and found.committed and not found.foreign_entries


def test_directory_is_no_volume(target: Path) -> None:
    """A directory that holds a whole payload but is not mounted: not committed (the Go driver said OK to it)."""
    stamp = target / "..2001_01_01_00_00_00.1"
    stamp.mkdir(parents=True)
    (target / "..data").symlink_to(stamp.name)
    assert inspect(target) == Found()


def test_prepare_makes_directories(pods: Path) -> None:
    """Nothing exists below the pods directory: the directories are made with 0750, the volume's root has 0755."""
    target = pods / "uid" / "volumes" / "kubernetes.io~csi" / "name" / "mount"
    operations.prepare(str(target), SIZE, False)
    assert mode_of(target.parent) == 0o750 and mode_of(pods / "uid") == 0o750
    assert mode_of(target) == 0o755


def test_prepare_follows_no_link(pods: Path, tmp_path: Path) -> None:
    """A component is a link: refused, and nothing is made where it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (pods / "uid").symlink_to(elsewhere)
    with pytest.raises(InvalidRequest, match="symlink"):
        operations.prepare(f"{pods}/uid/volumes/kubernetes.io~csi/name/mount", SIZE, False)
    assert os.listdir(elsewhere) == []


def test_prepare_without_a_pods_directory(tmp_path: Path) -> None:
    """The pods directory itself is missing: Internal, it is not ours to make."""
    with pytest.raises(Internal, match="failed to create target path"):
        operations.prepare(f"{tmp_path}/pods/uid/volumes/kubernetes.io~csi/name/mount", SIZE, False)


def test_failed_first_publish_leaves_nothing(target: Path) -> None:
    """Mounted, then the payload does not fit: nothing is mounted after the clean-up, and the directory is gone."""
    operations.prepare(str(target), SIZE, False)
    with pytest.raises(ResourceExhausted):
        commit(target, [file("a", b"x" * 2 * SIZE)])
    assert operations.clear_uncommitted(str(target)) == ""
    assert not target.exists()


def test_clean_up_of_a_dead_writer(volume: Path) -> None:
    """A writer died before its commit: its left-overs keep nothing mounted."""
    (volume / "..2001_01_01_00_00_00.1").mkdir()
    (volume / "a").symlink_to("..data/a")
    assert operations.clear_uncommitted(str(volume)) == ""
    assert not mounts.is_mounted(str(volume))


def test_committed_volume_is_kept(volume: Path) -> None:
    """A publish fails after its commit: the content stays, and that is told."""
    commit(volume, files(a=b"1"))
    assert "keeps its content" in operations.clear_uncommitted(str(volume))
    assert seen(volume) == {"a": b"1"}


def test_own_files_of_a_provider_are_kept(volume: Path) -> None:
    """Mounted by the Go driver for a provider that writes itself: kept, with the reason; a success commits it."""
    (volume / "own").write_bytes(b"1")
    assert inspect(volume) == Found(mounted=True, foreign_entries=True)
    assert "wrote itself" in operations.clear_uncommitted(str(volume))
    assert seen(volume) == {"own": b"1"}
    assert commit(volume, [])
    assert inspect(volume).committed


def test_foreign_mount_is_kept(target: Path, pods: Path) -> None:
    """A disk is mounted at the target: told as foreign, and left."""
    disk = pods / "disk"
    disk.mkdir()
    target.mkdir()
    bind(disk, target)
    assert inspect(target) == Found(foreign_mount=True)
    assert "not a tmpfs" in operations.clear_uncommitted(str(target))
    assert mounts.is_mounted(str(target))


def test_busy_mount_is_told(volume: Path) -> None:
    """A failed publish whose mount is busy: the reason is returned, so that kubelet is told to keep the volume."""
    held = os.open(volume, os.O_RDONLY)
    try:
        assert "still uses it" in operations.clear_uncommitted(str(volume))
    finally:
        os.close(held)
    assert operations.clear_uncommitted(str(volume)) == ""


def test_nothing_to_clear(target: Path) -> None:
    """No target at all: nothing to say."""
    assert operations.clear_uncommitted(str(target)) == ""


def test_no_descriptor_is_left(target: Path) -> None:
    """A whole life, failures included, leaves no open descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    for payload in (files(a=b"1"), [file("a", b"x" * 2 * SIZE)], [file("..")]):
        operations.prepare(str(target), SIZE, False)
        try:  # noqa: SIM105
            commit(target, payload)
        except (InvalidRequest, ResourceExhausted):
            pass
        mounts.unmount_all(str(target))
        operations.clear_uncommitted(str(target))
    assert len(os.listdir("/proc/self/fd")) == before
