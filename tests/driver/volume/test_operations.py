"""What a publish does to a target path."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from driver.volume import mounts, operations
from driver.volume.operations import Found
from runtime.errors import Internal, InvalidRequest, ResourceExhausted
from tests.driver.volume.support import SIZE, commit, file, files, inspect, mode_of, seen
from tests.support.mounts import bind, mount_plain_tmpfs


def test_life_of_a_volume(target: Path) -> None:
    """Nothing, mounted and committed are distinguished."""
    assert inspect(target) == Found()
    operations.prepare(str(target), SIZE, False, {})
    assert inspect(target) == Found(mounted=True)
    commit(target, files(a=b"1"))
    found = inspect(target)
    assert found.mounted and found.committed and not found.foreign_entries


def test_directory_is_not_a_volume(target: Path) -> None:
    """A directory that holds a complete payload but is not a mount point is not committed."""
    stamp = target / "..2001_01_01_00_00_00.1"
    stamp.mkdir(parents=True)
    (target / "..data").symlink_to(stamp.name)
    assert inspect(target) == Found()


def test_prepare_creates_directories(pods: Path) -> None:
    """Nothing exists below the pods directory: the directories are created with mode 0750, the volume's root with
    0755."""
    target = pods / "uid" / "volumes" / "kubernetes.io~csi" / "name" / "mount"
    operations.prepare(str(target), SIZE, False, {})
    assert mode_of(target.parent) == 0o750 and mode_of(pods / "uid") == 0o750
    assert mode_of(target) == 0o755


def test_prepare_follows_no_symlink(pods: Path, tmp_path: Path) -> None:
    """A component is a symlink: rejected, and nothing is created where it points."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (pods / "uid").symlink_to(elsewhere)
    with pytest.raises(InvalidRequest, match="symlink"):
        operations.prepare(f"{pods}/uid/volumes/kubernetes.io~csi/name/mount", SIZE, False, {})
    assert os.listdir(elsewhere) == []


def test_prepare_without_a_pods_directory(tmp_path: Path) -> None:
    """The pods directory itself is missing: Internal, it is not ours to create."""
    with pytest.raises(Internal, match="failed to create target path"):
        operations.prepare(f"{tmp_path}/pods/uid/volumes/kubernetes.io~csi/name/mount", SIZE, False, {})


def test_failed_first_publish_leaves_nothing(target: Path) -> None:
    """The payload does not fit: after the clean-up nothing is mounted, and the directory is gone."""
    operations.prepare(str(target), SIZE, False, {})
    with pytest.raises(ResourceExhausted):
        commit(target, [file("a", b"x" * 2 * SIZE)])
    assert operations.clear_uncommitted(str(target)) == ""
    assert not target.exists()


def test_clean_up_of_a_dead_writer(volume: Path) -> None:
    """A writer died before its commit: the volume is unmounted in spite of its leftovers."""
    (volume / "..2001_01_01_00_00_00.1").mkdir()
    (volume / "a").symlink_to("..data/a")
    assert operations.clear_uncommitted(str(volume)) == ""
    assert not mounts.is_mounted(str(volume))


def test_committed_volume_is_kept(volume: Path) -> None:
    """A publish fails after its commit: the content stays, with the reason."""
    commit(volume, files(a=b"1"))
    assert "keeps its content" in operations.clear_uncommitted(str(volume))
    assert seen(volume) == {"a": b"1"}


def test_own_files_of_a_provider_are_kept(volume: Path) -> None:
    """A provider's own files are kept, with the reason; a successful publish commits them."""
    (volume / "own").write_bytes(b"1")
    assert inspect(volume) == Found(mounted=True, foreign_entries=True)
    assert "wrote itself" in operations.clear_uncommitted(str(volume))
    assert seen(volume) == {"own": b"1"}
    assert commit(volume, [])
    assert inspect(volume).committed


def test_foreign_mount_is_kept(target: Path, pods: Path) -> None:
    """Another file system is mounted at the target: found as foreign, and kept."""
    disk = pods / "disk"
    disk.mkdir()
    target.mkdir()
    bind(disk, target)
    assert inspect(target) == Found(foreign_mount=True)
    assert "not a tmpfs" in operations.clear_uncommitted(str(target))
    assert mounts.is_mounted(str(target))


def test_busy_mount(volume: Path) -> None:
    """The mount is busy: the reason is returned, so that the code is not final."""
    held = os.open(volume, os.O_RDONLY)
    try:
        assert "still uses it" in operations.clear_uncommitted(str(volume))
    finally:
        os.close(held)
    assert operations.clear_uncommitted(str(volume)) == ""


def test_nothing_to_clear(target: Path) -> None:
    """There is no target: nothing stays mounted."""
    assert operations.clear_uncommitted(str(target)) == ""


def test_no_descriptor_leaks(target: Path) -> None:
    """A complete life cycle, failures included, leaves no open descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    for payload in (files(a=b"1"), [file("a", b"x" * 2 * SIZE)], [file("..")]):
        operations.prepare(str(target), SIZE, False, {})
        with suppress(InvalidRequest, ResourceExhausted):
            commit(target, payload)
        mounts.unmount_all(str(target))
        operations.clear_uncommitted(str(target))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("below", ["content", "own-files"])
def test_what_lies_below_an_empty_mount_is_kept(volume: Path, below: str) -> None:
    """An empty tmpfs is mounted over a volume, and a publish fails: it is unmounted, the volume below stays."""
    if below == "content":
        commit(volume, files(a=b"1"))
    else:
        (volume / "a").write_bytes(b"1")
    mount_plain_tmpfs(volume)
    assert operations.clear_uncommitted(str(volume)) != ""
    assert seen(volume) == {"a": b"1"}
