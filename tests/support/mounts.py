"""Mounts for tests: made by system call, seen in the mount table, and none left behind."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from driver.volume import layout, mountinfo, mounts, record, syscalls, walk

_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_PRIVATE, _MS_SHARED = 1, 32, 4096, 1 << 18, 1 << 20


def bind(source: Path, target: Path) -> None:
    """Make a bind mount."""
    _mount(str(source), target, "", _MS_BIND)


def share(target: Path) -> None:
    """Let mounts below a mount point propagate."""
    _mount("", target, "", _MS_SHARED)


def unshare(target: Path) -> None:
    """Let mounts below a mount point no longer propagate."""
    _mount("", target, "", _MS_PRIVATE)


def make_read_only(target: Path) -> None:
    """Remount the topmost mount read-only."""
    _mount("", target, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)


def mount_plain_tmpfs(target: Path) -> None:
    """Mount a tmpfs without options: its root has mode 1777, its size is the kernel's default."""
    _mount("tmpfs", target, "tmpfs", 0)


def mount_small_tmpfs(target: Path, size: int) -> None:
    """Mount a tmpfs of so many bytes, such as one that is to become full."""
    _mount("tmpfs", target, "tmpfs", 0, f"size={size}")


def mount_proc(target: Path) -> None:
    """Mount the process table of this process's PID namespace."""
    _mount("proc", target, "proc", 0)


def mount_dead(target: Path) -> None:
    """Mount a file system whose server is gone; skips the test if there is no FUSE."""
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no /dev/fuse here")
    try:
        _mount("dead", target, "fuse", 0, f"fd={server},rootmode=40000,user_id=0,group_id=0")
    finally:
        os.close(server)


def forget_record(volume: Path) -> None:
    """Remove the record of a volume: the Go driver's volumes have none."""
    with suppress(OSError):
        os.removexattr(volume, record.ATTRIBUTE)
    (volume / layout.RECORD).unlink(missing_ok=True)


def mount_points(directory: Path) -> list[str]:
    """Every mount point at or below a directory, oldest mount first; one with stacked mounts is listed repeatedly."""
    paths = [entry.path for entry in mountinfo.read()]
    return [path for path in paths if Path(path).is_relative_to(directory)]


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below a directory, the youngest mount first."""
    for path in reversed(mount_points(directory)):
        mounts.unmount(path)


def _mount(source: str, target: Path, fs_type: str, flags: int, options: str = "") -> None:
    with walk.directory(str(target)) as opened:
        syscalls.mount(source, opened.fd, fs_type, flags, options)
