"""tmpfs at a target: mount, look, measure, unmount. By system call, never by a mount(8) process: fifteen times
faster, and a forked child's copy of an open directory cannot keep a mount busy.

There is no lazy unmount (MNT_DETACH): it would answer "unmounted" while somebody still reads secrets. A busy mount
is a failure that names itself; kubelet tries again.
"""

import errno
import os
import tempfile
import time
from dataclasses import dataclass

from driver.volume import syscalls, walk
from driver.volume.failures import told_as
from runtime.errors import Internal

_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
# Statistics or a sync that are under way keep a mount busy for a moment: worth a few short waits.
_BUSY_WAITS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_MOST_LAYERS = 64


@dataclass(frozen=True)
class Mounted:
    """What is mounted on top at a path. A ``dead`` file system (its server is gone) is mounted but cannot be read."""

    tmpfs: bool
    dead: bool = False


@dataclass(frozen=True)
class Usage:
    """How full a volume is."""

    bytes_total: int
    bytes_used: int
    bytes_available: int
    inodes_total: int
    inodes_used: int
    inodes_available: int


def mount_tmpfs(path: str, *, size: int | None, noswap: bool) -> None:
    """Mount an empty tmpfs on an existing directory. ``size`` in bytes; None is the kernel's (half of the memory)."""
    if size is not None and size <= 0:
        raise ValueError("the kernel takes size=0 for no limit at all; say None for its default")
    options = ["mode=0755"]
    if size is not None:
        options.append(f"size={size}")
    if noswap:
        options.append("noswap")
    with told_as(f"failed to mount tmpfs on target path {path}"), walk.directory(path) as opened:
        syscalls.mount("tmpfs", opened.fd, "tmpfs", _FLAGS, ",".join(options))


def probe_noswap() -> bool:
    """Whether tmpfs takes ``noswap`` here (Linux 6.3, outside user namespaces): tried once, as kubelet does."""
    try:
        with tempfile.TemporaryDirectory(prefix="noswap-") as directory, walk.directory(directory) as opened:
            syscalls.mount("tmpfs", opened.fd, "tmpfs", _FLAGS, "size=4096,noswap")
            syscalls.unmount(opened.parent, os.path.basename(directory))
    except OSError:
        return False  # an unknown option, or no right to mount at all, which the first publish will tell
    return True


def mounted_at(path: str) -> Mounted | None:
    """What is mounted exactly at ``path``; None if nothing is, or if the path does not exist."""
    with told_as(f"failed to check if target path {path} is a mount point"):
        try:
            with walk.directory(path) as opened:
                return look(opened)
        except FileNotFoundError:
            return None


def look(opened: walk.Opened) -> Mounted | None:
    """``mounted_at`` for a directory that is open."""
    if not opened.is_mount:
        return None
    try:
        return Mounted(tmpfs=syscalls.is_tmpfs(opened.fd))
    except OSError:
        return Mounted(tmpfs=False, dead=True)


def is_mounted(path: str) -> bool:
    """Whether anything is mounted exactly at ``path``."""
    return mounted_at(path) is not None


def is_tmpfs(path: str) -> bool:
    """Whether a tmpfs is mounted exactly at ``path``."""
    mounted = mounted_at(path)
    return mounted is not None and mounted.tmpfs


def unmount(path: str) -> bool:
    """Unmount the topmost mount at ``path``; False if there was none. Raises Internal, also for one that stays busy."""
    doing = f"failed to unmount target path {path}"
    for wait in (*_BUSY_WAITS, None):
        with told_as(doing):
            try:
                with walk.parent_of(path) as (parent, name):
                    syscalls.unmount(parent, name)
                return True
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINVAL):
                    break  # nothing is mounted, or not for us to unmount
                if error.errno != errno.EBUSY or wait is None:
                    raise
                time.sleep(wait)
    if is_mounted(path):
        raise Internal(f"{doing}: the mount belongs to another mount namespace; unmount it on the node")
    return False


def unmount_all(path: str) -> None:
    """Unmount every layer at ``path``."""
    for _ in range(_MOST_LAYERS):
        if not unmount(path):
            return
    if is_mounted(path):
        raise Internal(f"failed to unmount target path {path}: still mounted after {_MOST_LAYERS} unmounts")


def usage(path: str) -> Usage | None:
    """Bytes and inodes of the tmpfs at ``path``; None if none is mounted there."""
    with told_as(f"failed to measure target path {path}"):
        try:
            with walk.directory(path) as opened:
                mounted = look(opened)
                if mounted is None or not mounted.tmpfs:
                    return None
                info = os.statvfs(opened.fd)
        except FileNotFoundError:
            return None
    block = info.f_frsize
    return Usage(
        bytes_total=info.f_blocks * block,
        bytes_used=(info.f_blocks - info.f_bfree) * block,
        bytes_available=info.f_bavail * block,
        inodes_total=info.f_files,
        inodes_used=info.f_files - info.f_ffree,
        inodes_available=info.f_favail,
    )
