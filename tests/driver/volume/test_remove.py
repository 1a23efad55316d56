"""Removing a volume: everything in it, and nothing else."""

import errno
import os
import threading
from pathlib import Path

import pytest

from driver.volume import entries, mounts, remove, syscalls
from driver.volume.target import Target
from runtime.errors import Internal
from tests.driver.volume.support import SIZE, commit, files, seen
from tests.support.mounts import bind, forget_record, make_read_only, mount_plain_tmpfs


def take_down(target: Path) -> None:
    remove.clear_and_unmount(Target.from_text(str(target), ""))


def test_volume_is_removed(volume: Path) -> None:
    """A volume with entries of all kinds is emptied, unmounted and removed; doing it again is fine."""
    commit(volume, files(a=b"1", d__e=b"2"))
    (volume / "..hidden").mkdir()
    (volume / ".dot").write_text("")
    os.mkfifo(volume / "fifo")
    held = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    take_later = os.dup(held)
    os.close(held)
    with pytest.raises(Internal, match="^failed to clean and unmount target path"):
        take_down(volume)
    assert os.listdir(f"/proc/self/fd/{take_later}") == []  # content went although the mount is busy
    os.close(take_later)
    take_down(volume)
    assert not volume.exists() and volume.parent.exists()
    take_down(volume)


def test_links_are_not_followed(volume: Path) -> None:
    """Symlinks to a directory outside are removed; the directory and its files stay."""
    outside = volume.parent / "outside"
    outside.mkdir()
    (outside / "keep").write_text("kept")
    (volume / "link").symlink_to(outside)
    (volume / "dir").mkdir()
    (volume / "dir" / "link").symlink_to(outside)
    take_down(volume)
    assert (outside / "keep").read_text() == "kept"


def test_target_swapped_for_a_link(target: Path) -> None:
    """The target became a symlink after it was checked: Internal, and what it points to stays."""
    outside = target.parent / "outside"
    outside.mkdir()
    (outside / "keep").write_text("kept")
    target.symlink_to(outside)
    with pytest.raises(Internal, match="^failed to clean and unmount target path"):
        take_down(target)
    assert (outside / "keep").exists() and target.is_symlink()


def test_files_without_a_mount(target: Path) -> None:
    """A directory with files that was never mounted is removed."""
    (target / "d" / "e").mkdir(parents=True)
    (target / "..data").symlink_to("d")
    take_down(target)
    assert not target.exists()


def test_other_mount_below_is_not_entered(target: Path, pods: Path) -> None:
    """A bind mount inside an unmounted target: Internal, and the files that are mounted there stay."""
    precious = pods / "precious"
    precious.mkdir()
    (precious / "keep").write_text("kept")
    for place in (target / "bound", target / "deeper" / "bound"):
        place.mkdir(parents=True)
        bind(precious, place)
        with pytest.raises(Internal, match="^failed to clean and unmount target path"):
            take_down(target)
        assert (precious / "keep").exists()
        for left in target.rglob("keep"):
            mounts.unmount(str(left.parent))
    take_down(target)
    assert not target.exists()


def test_foreign_mount_is_unmounted_and_not_emptied(target: Path, pods: Path) -> None:
    """Another file system at the target is unmounted, and keeps its files."""
    disk = pods / "disk"
    disk.mkdir()
    (disk / "keep").write_text("kept")
    target.mkdir()
    bind(disk, target)
    take_down(target)
    assert not target.exists() and (disk / "keep").exists()


@pytest.mark.parametrize("place", ["over", "instead"])
def test_foreign_tmpfs_is_unmounted_and_not_emptied(volume: Path, pods: Path, place: str) -> None:
    """A tmpfs that is in use elsewhere, a Secret volume of kubelet's say, with the same layout as ours, is mounted over
    a volume, or in the place of one: it is unmounted and keeps its files; the volume's own content goes."""
    commit(volume, files(a=b"1"))
    elsewhere = pods / "elsewhere"
    elsewhere.mkdir()
    mount_plain_tmpfs(elsewhere)
    commit(elsewhere, files(keep=b"kept"))
    forget_record(elsewhere)
    (elsewhere / "plain").write_text("kept")
    held = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    if place == "instead":
        os.close(held)
        mounts.unmount(str(volume))
    bind(elsewhere, volume)
    if place == "over":
        with pytest.raises(Internal):
            take_down(volume)
        assert os.listdir(f"/proc/self/fd/{held}") == []
        os.close(held)
    take_down(volume)
    assert not volume.exists()
    assert seen(elsewhere) == {"keep": b"kept", "plain": b"kept"}


def test_volume_that_was_taken_over(volume: Path) -> None:
    """A volume that this driver did not mount but wrote to: its content is removed, what others wrote beside it is
    not."""
    forget_record(volume)
    (volume / "theirs").write_text("kept")
    commit(volume, files(a=b"1"))
    held = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(Internal):
        take_down(volume)
    assert os.listdir(f"/proc/self/fd/{held}") == ["theirs"]
    os.close(held)
    take_down(volume)
    assert not volume.exists()


def test_stacked_volumes(volume: Path) -> None:
    """Two volumes stacked on a directory with a file: all of it is removed."""
    commit(volume, files(a=b"1"))
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    commit(volume, files(b=b"1"))
    take_down(volume)
    assert not volume.exists()


def test_read_only_volume(volume: Path) -> None:
    """A read-only tmpfs cannot be emptied; it is unmounted."""
    commit(volume, files(a=b"1"))
    make_read_only(volume)
    take_down(volume)
    assert not volume.exists()


def test_two_at_once(target: Path) -> None:
    """Two threads remove one volume, many times: both succeed, and nothing is left."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            take_down(target)
        except BaseException as error:
            failures.append(error)

    for _ in range(50):
        target.mkdir()
        mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
        commit(target, files(a=b"1", d__e=b"2"))
        both = [threading.Thread(target=guarded) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert not target.exists()
    assert not failures


def test_deep_tree(volume: Path) -> None:
    """Three thousand nested directories are removed without running out of stack or descriptors."""
    fd = os.open(volume, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    take_down(volume)
    assert not volume.exists()


def test_ensure_unmounted(volume: Path) -> None:
    """Every mount is unmounted; a directory that is not empty then stays."""
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    remove.ensure_unmounted(str(volume))
    assert not volume.exists()
    volume.mkdir()
    (volume / "own").write_text("")
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    remove.ensure_unmounted(str(volume))
    assert os.listdir(volume) == ["own"]


def test_remove_nothing(volume: Path) -> None:
    """Removing a missing entry is fine."""
    fd = os.open(volume, os.O_RDONLY)
    entries.remove(fd, "nothing")
    os.close(fd)


def test_volume_is_unmounted_before_it_is_emptied(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume is no longer at its path when its content is removed, and the content is removed nevertheless: a
    process that has the file system in a mount namespace of its own finds nothing."""
    commit(volume, files(a=b"1", d__e=b"2"))
    seen_mounted = []
    real = entries.remove

    def watching(directory: int, name: str) -> None:
        seen_mounted.append(mounts.is_mounted(str(volume)))
        real(directory, name)

    monkeypatch.setattr(entries, "remove", watching)
    handle = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    copy = syscalls.clone_mount(handle)
    os.close(handle)
    try:
        take_down(volume)
        assert seen_mounted and not any(seen_mounted)
        inside = os.open(".", os.O_RDONLY, dir_fd=copy)
        assert os.listdir(inside) == []
        os.close(inside)
    finally:
        os.close(copy)


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENOMEM])
def test_without_a_detached_clone(volume: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """open_tree(2) is missing, forbidden or fails → the content is removed first, then the volume is unmounted."""

    def refuse(_: int) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(syscalls, "clone_mount", refuse)
    commit(volume, files(a=b"1", d__e=b"2"))
    handle = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(Internal, match="still uses it"):
        take_down(volume)
    assert os.listdir(f"/proc/self/fd/{handle}") == []
    os.close(handle)
    take_down(volume)
    assert not volume.exists()


@pytest.mark.parametrize(("inodes", "count", "large"), [(5000, 1500, True), (5000, 10, False), (0, 1, True)])
def test_large_volumes(target: Path, inodes: int, count: int, large: bool) -> None:
    """More than a thousand inodes in use, or no limit of them → large; a plain directory or no directory → not."""
    assert not remove.is_large(str(target))
    target.mkdir()
    assert not remove.is_large(str(target))
    mounts.mount_tmpfs(str(target), size=SIZE, noswap=False, inodes=inodes)
    for number in range(count):
        (target / str(number)).touch()
    assert remove.is_large(str(target)) == large
