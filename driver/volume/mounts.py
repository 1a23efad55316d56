"""Mounts, measures and unmounts the tmpfs at a target path.

By system call and not by running mount(8), which takes fifteen times as long and lets a forked child inherit open
directories that keep a mount busy.

Never by a lazy unmount (MNT_DETACH), which reports success while processes still read the secrets. A busy mount is an
error that says so; kubelet tries again.
"""

import errno
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from driver.volume import syscalls, walk
from driver.volume.failures import os_errors_as
from runtime.errors import Internal

_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV
# A volume that is being measured or read for a Secret is busy for a moment: worth a few short waits, in seconds.
_BUSY_WAITS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_MAX_LAYERS = 64
SWAPS = Path("/proc/swaps")


class Mounted(NamedTuple):
    """The topmost mount at a path. A ``dead`` file system is one whose server is gone: mounted, but unreadable."""

    tmpfs: bool
    dead: bool = False


def mount_tmpfs(path: str, *, size: int | None, noswap: bool, inodes: int | None = None, noexec: bool = True) -> None:
    """Mount an empty tmpfs of ``size`` bytes and ``inodes`` files and directories on an existing directory; None means
    the kernel's default, half of the memory and an inode for every second page of it. ``noexec`` keeps its files from
    being run as programs. Raises Internal."""
    if size is not None and size <= 0:
        raise ValueError("the kernel takes size=0 as unlimited; pass None for its default")
    options = ["mode=0755"]
    if size is not None:
        options.append(f"size={size}")
    if inodes is not None:
        options.append(f"nr_inodes={inodes}")
    if noswap:
        options.append("noswap")
    with os_errors_as(f"failed to mount tmpfs on target path {path}"), walk.directory(path) as opened:
        flags = _FLAGS | (syscalls.MS_NOEXEC if noexec else 0)
        syscalls.mount("tmpfs", opened.fd, "tmpfs", flags, ",".join(options))


def probe_noswap() -> bool:
    """Whether tmpfs supports the option ``noswap`` (Linux 6.3, outside user namespaces), found out by trying it, as
    kubelet does."""
    try:
        with tempfile.TemporaryDirectory(prefix="noswap-") as directory, walk.directory(directory) as opened:
            syscalls.mount("tmpfs", opened.fd, "tmpfs", _FLAGS, "size=4096,noswap")
            syscalls.unmount(opened.parent, os.path.basename(directory))
    except OSError:
        return False  # the option is unknown, or mounting is not permitted at all, which the first publish reports
    return True


def swap_is_on() -> bool:
    """Whether the node has swap; assumed if that cannot be found out."""
    try:
        return len(SWAPS.read_text().splitlines()) > 1
    except OSError:
        return True


def mounted_at(path: str) -> Mounted | None:
    """The mount at exactly ``path``; None if there is none or the path does not exist."""
    with os_errors_as(f"failed to check if target path {path} is a mount point"):
        try:
            with walk.directory(path) as opened:
                return mount_on(opened)
        except FileNotFoundError:
            return None


def mount_on(opened: walk.Opened) -> Mounted | None:
    """The mount on exactly this open directory; None if there is none."""
    if not opened.is_mount_point:
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
    """Unmount the topmost mount at ``path``; returns False if there is none. Raises Internal, also if it stays busy."""
    message = f"failed to unmount target path {path}"
    for wait in (*_BUSY_WAITS, None):
        with os_errors_as(message):
            try:
                with walk.parent_of(path) as (parent, name):
                    syscalls.unmount(parent, name)
                return True
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINVAL):
                    break  # nothing is mounted, or another mount namespace owns the mount
                if error.errno != errno.EBUSY or wait is None:
                    raise
                time.sleep(wait)
    if is_mounted(path):
        raise Internal(f"{message}: the mount belongs to another mount namespace; unmount it on the node")
    return False


def unmount_all(path: str) -> None:
    """Unmount all mounts that are stacked at ``path``. Raises Internal."""
    for _ in range(_MAX_LAYERS):
        if not unmount(path):
            return
    if is_mounted(path):
        raise Internal(f"failed to unmount target path {path}: still mounted after {_MAX_LAYERS} unmounts")
