"""Unpublish: everything goes, nothing else does."""

import os
import threading
from pathlib import Path

import pytest

from driver.volume import entries, mounts, remove
from driver.volume.target import Target
from runtime.errors import Internal
from tests.driver.volume.support import SIZE, bind, commit, files
from tests.driver.volume.test_writer import make_read_only


def take_away(target: Path) -> None:
    remove.clear_and_unmount(Target.from_text(str(target), ""))


def test_volume_goes(volume: Path) -> None:
    """A committed volume with entries of all kinds: emptied, unmounted, directory removed; a second time is fine."""
    commit(volume, files(a=b"1", d__e=b"2"))
    (volume / "..hidden").mkdir()
    (volume / ".dot").write_text("")
    os.mkfifo(volume / "fifo")
    held = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    take_later = os.dup(held)
    os.close(held)
    with pytest.raises(Internal, match="^failed to clean and unmount target path"):
        take_away(volume)
    assert os.listdir(f"/proc/self/fd/{take_later}") == []  # content went although the mount is busy
    os.close(take_later)
    take_away(volume)
    assert not volume.exists() and volume.parent.exists()
    take_away(volume)


def test_links_are_not_followed(volume: Path) -> None:
    """Links in the volume lead to a directory outside: the links go, the directory and its files stay."""
    outside = volume.parent / "outside"
    outside.mkdir()
    (outside / "keep").write_text("kept")
    (volume / "link").symlink_to(outside)
    (volume / "dir").mkdir()
    (volume / "dir" / "link").symlink_to(outside)
    take_away(volume)
    assert (outside / "keep").read_text() == "kept"


def test_target_swapped_for_a_link(target: Path) -> None:
    """The target became a link after it was checked: Internal, what it leads to stays."""
    outside = target.parent / "outside"
    outside.mkdir()
    (outside / "keep").write_text("kept")
    target.symlink_to(outside)
    with pytest.raises(Internal, match="^failed to clean and unmount target path"):
        take_away(target)
    assert (outside / "keep").exists() and target.is_symlink()


def test_files_without_a_mount(target: Path) -> None:
    """A directory that was never mounted holds files: removed with it."""
    (target / "d" / "e").mkdir(parents=True)
    (target / "..data").symlink_to("d")
    take_away(target)
    assert not target.exists()


def test_other_mount_below_is_not_entered(target: Path, pods: Path) -> None:
    """A bind mount inside an unmounted target: Internal, and what is mounted there keeps its files."""
    precious = pods / "precious"
    precious.mkdir()
    (precious / "keep").write_text("kept")
    for place in (target / "bound", target / "deeper" / "bound"):
        place.mkdir(parents=True)
        bind(precious, place)
        with pytest.raises(Internal, match="^failed to clean and unmount target path"):
            take_away(target)
        assert (precious / "keep").exists()
        for left in target.rglob("keep"):
            mounts.unmount(str(left.parent))
    take_away(target)
    assert not target.exists()


def test_foreign_mount_is_unmounted_and_not_emptied(target: Path, pods: Path) -> None:
    """A disk is mounted at the target: unmounted, its files stay."""
    disk = pods / "disk"
    disk.mkdir()
    (disk / "keep").write_text("kept")
    target.mkdir()
    bind(disk, target)
    take_away(target)
    assert not target.exists() and (disk / "keep").exists()


def test_all_layers_go(volume: Path) -> None:
    """Two stacked volumes over a directory with a file: all of it goes."""
    commit(volume, files(a=b"1"))
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    commit(volume, files(b=b"1"))
    take_away(volume)
    assert not volume.exists()


def test_read_only_volume_goes(volume: Path) -> None:
    """A read-only tmpfs cannot be emptied; it is unmounted."""
    commit(volume, files(a=b"1"))
    make_read_only(volume)
    take_away(volume)
    assert not volume.exists()


def test_two_at_once(target: Path) -> None:
    """Two threads take one volume away, many times over: both come to their end, nothing is left."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            take_away(target)
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
    """A provider made three thousand nested directories: removed without running out of stack or descriptors."""
    fd = os.open(volume, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    take_away(volume)
    assert not volume.exists()


def test_ensure_unmounted(volume: Path) -> None:
    """Every layer goes; a directory with files of its own below stays."""
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    remove.ensure_unmounted(str(volume))
    assert not volume.exists()
    volume.mkdir()
    (volume / "own").write_text("")
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    remove.ensure_unmounted(str(volume))
    assert os.listdir(volume) == ["own"]


def test_remove_nothing(volume: Path) -> None:
    """An entry that is gone already is fine."""
    fd = os.open(volume, os.O_RDONLY)
    entries.remove(fd, "nothing")
    os.close(fd)
