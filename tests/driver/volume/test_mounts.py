"""Mounting, measuring and unmounting a tmpfs; foreign and dead mounts."""

import os
import threading
from pathlib import Path

import pytest

from driver.volume import mountinfo, mounts, operations
from driver.volume.mounts import Mounted
from runtime.errors import Internal, InvalidRequest
from tests.driver.volume.support import SIZE
from tests.support.mounts import bind, mount_dead


def options_of(path: Path) -> tuple[str, ...]:
    """The options of a mount and of its file system."""
    entry = next(entry for entry in mountinfo.read() if entry.path == str(path))
    return entry.options + entry.fs_options


def test_mount_options(volume: Path) -> None:
    """A volume is mounted nosuid, nodev, noexec, with its size, and mode 0755 whatever the umask."""
    options = options_of(volume)
    for option in ("nosuid", "nodev", "noexec", f"size={SIZE // 1024}k", "mode=755"):
        assert option in options
    assert volume.stat().st_mode & 0o7777 == 0o755


def test_default_size(target: Path) -> None:
    """Without a size the option is omitted, because ``size=0`` would mean unlimited."""
    target.mkdir()
    mounts.mount_tmpfs(str(target), size=None, noswap=False)
    assert not any(option.startswith("size=") for option in options_of(target))
    usage = mounts.usage(str(target))
    assert usage is not None and usage.bytes_total > 0
    with pytest.raises(ValueError):
        mounts.mount_tmpfs(str(target), size=0, noswap=False)


def test_noswap(target: Path) -> None:
    """The option is set if the probe finds it supported; the probe leaves nothing mounted."""
    before = len(mountinfo.read())
    possible = mounts.probe_noswap()
    assert len(mountinfo.read()) == before
    if not possible:
        pytest.skip("this kernel has no noswap")
    target.mkdir()
    mounts.mount_tmpfs(str(target), size=SIZE, noswap=True)
    assert "noswap" in options_of(target)


def test_mounted_at(volume: Path, pods: Path) -> None:
    """A tmpfs is distinguished from a directory beside it, one inside it, a missing path and a bind mount of a disk."""
    (volume / "inside").mkdir()
    assert mounts.mounted_at(str(volume)) == Mounted(tmpfs=True)
    assert mounts.mounted_at(str(volume.parent)) is None
    assert mounts.mounted_at(str(volume / "inside")) is None
    assert mounts.mounted_at(str(pods / "missing" / "path")) is None
    other = pods / "other"
    other.mkdir()
    bind(Path("/proc"), other)
    assert mounts.mounted_at(str(other)) == Mounted(tmpfs=False)
    assert mounts.is_mounted(str(other)) and not mounts.is_tmpfs(str(other))


def test_bind_mount_of_the_same_file_system(pods: Path) -> None:
    """A bind mount has its parent's device number, and is a mount nevertheless."""
    source, place = pods / "source", pods / "place"
    source.mkdir()
    place.mkdir()
    bind(source, place)
    assert source.stat().st_dev == place.stat().st_dev
    assert mounts.is_mounted(str(place))


def test_dead_mount(target: Path) -> None:
    """A file system whose server is gone is mounted and dead, never a tmpfs; it can be unmounted."""
    target.mkdir()
    mount_dead(target)
    with pytest.raises(OSError):
        os.listdir(target)
    assert mounts.mounted_at(str(target)) == Mounted(tmpfs=False, dead=True)
    assert operations.inspect(str(target)).foreign_mount
    assert mounts.usage(str(target)) is None
    assert mounts.unmount(str(target))
    assert not mounts.is_mounted(str(target))


def test_stacked_mounts(volume: Path) -> None:
    """Two tmpfs on one target are both unmounted."""
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    assert mounts.unmount(str(volume))
    assert mounts.is_mounted(str(volume))
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    mounts.unmount_all(str(volume))
    assert not mounts.is_mounted(str(volume))


def test_unmount_where_nothing_is_mounted(target: Path) -> None:
    """For a plain directory, and for a missing one, there is nothing to unmount and no error."""
    target.mkdir()
    assert not mounts.unmount(str(target))
    target.rmdir()
    assert not mounts.unmount(str(target))


def test_unmount_follows_no_symlink(volume: Path, pods: Path) -> None:
    """Unmounting a symlink to a volume is rejected, and the volume stays mounted."""
    link = pods / "link"
    link.symlink_to(volume)
    with pytest.raises(InvalidRequest):
        mounts.unmount(str(link))
    assert mounts.is_mounted(str(volume))


def test_busy_mount(volume: Path) -> None:
    """A process works in the volume: Internal, with the reason; unmounted when it has left."""
    held = os.open(volume, os.O_RDONLY)
    try:
        with pytest.raises(Internal, match="still uses it"):
            mounts.unmount(str(volume))
    finally:
        os.close(held)
    assert mounts.unmount(str(volume))


def test_unmount_during_statistics(target: Path) -> None:
    """Statistics are requested all the time while a volume is mounted and unmounted: neither ever fails."""
    target.mkdir()
    done = threading.Event()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            while not done.wait(0.0005):
                mounts.usage(str(target))
        except BaseException as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
            assert mounts.unmount(str(target))
    finally:
        done.set()
        asking.join()
    assert not failures


def test_mount_where_there_is_no_directory(target: Path) -> None:
    """A missing target is an error; a symlink is rejected, and nothing is mounted where it points."""
    with pytest.raises(Internal, match="failed to mount tmpfs"):
        mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
    elsewhere = target.parent / "elsewhere"
    elsewhere.mkdir()
    target.symlink_to(elsewhere)
    with pytest.raises(InvalidRequest):
        mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
    assert not mounts.is_mounted(str(elsewhere))


def test_usage(volume: Path) -> None:
    """Bytes and inodes grow with what is written; a plain directory has no usage."""
    before = mounts.usage(str(volume))
    (volume / "file").write_bytes(b"x" * 8192)
    after = mounts.usage(str(volume))
    assert before is not None and after is not None
    assert (after.bytes_total, after.bytes_used) == (SIZE, before.bytes_used + 8192)
    assert after.bytes_available == SIZE - after.bytes_used
    assert after.inodes_used == before.inodes_used + 1
    assert after.inodes_total == after.inodes_used + after.inodes_available
    assert mounts.usage(str(volume.parent)) is None
