"""Mounting, measuring and unmounting a tmpfs; foreign and dead mounts."""

import os
import subprocess
from pathlib import Path

import pytest

from driver.volume import mountinfo, mounts, operations, usage
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
    found = usage.measure(str(target))
    assert found is not None and found.bytes_total > 0
    with pytest.raises(ValueError):
        mounts.mount_tmpfs(str(target), size=0, noswap=False)


@pytest.mark.parametrize("noexec", [True, False])
def test_noexec(target: Path, noexec: bool) -> None:
    """With the option a program in the volume cannot be run, without it it can; the other options stay."""
    target.mkdir()
    mounts.mount_tmpfs(str(target), size=SIZE, noswap=False, noexec=noexec)
    program = target / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    if noexec:
        with pytest.raises(PermissionError):
            subprocess.run([program], check=True)
    else:
        subprocess.run([program], check=True)
    assert {"nosuid", "nodev"} <= set(options_of(target))


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
    assert usage.measure(str(target)) is None
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


@pytest.mark.parametrize(
    ("swaps", "expected"),
    [
        ("Filename\t\tType\tSize\tUsed\tPriority\n", False),
        ("Filename\t\tType\tSize\tUsed\tPriority\n/dev/dm-1   partition\t8388604\t0\t-2\n", True),
        (None, True),
    ],
)
def test_swap(tmp_path: Path, swaps: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's table of swaps is empty or not → whether there is swap; it cannot be read → there may be."""
    monkeypatch.setattr(mounts, "SWAPS", tmp_path / "swaps")
    if swaps is not None:
        (tmp_path / "swaps").write_text(swaps)
    assert mounts.swap_is_on() is expected
