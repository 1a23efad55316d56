"""System calls that are missing from Python's ``os``. All raise OSError."""

import ctypes
import errno
import os
import re
import sys

MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
UMOUNT_NOFOLLOW = 0x8
TMPFS_MAGIC = 0x01021994
_RENAME_EXCHANGE = 0x2
# The number is the same on all architectures but Alpha.
_OPEN_TREE = 428
_OPEN_TREE_CLONE, _AT_EMPTY_PATH = 0x1, 0x1000
_MOUNT_ID = re.compile(rb"^mnt_id:\s*(\d+)", re.MULTILINE)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.fstatfs.argtypes = (ctypes.c_int, ctypes.c_char_p)
_libc.syscall.restype = ctypes.c_long
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def mount(source: str, directory: int, fs_type: str, flags: int, options: str) -> None:
    """Mount on the open directory itself, even if its path leads elsewhere by now."""
    mount_point = f"/proc/self/fd/{directory}".encode()
    _check(_libc.mount(source.encode(), mount_point, fs_type.encode(), flags, options.encode()))


def unmount(parent: int, name: str) -> None:
    """Unmount the topmost mount at ``name`` in the open directory ``parent``; a symlink is not followed.

    The mounted directory itself must not be open, or the mount is busy.
    """
    _check(_libc.umount2(os.fsencode(f"/proc/self/fd/{parent}/{name}"), UMOUNT_NOFOLLOW))


def clone_mount(directory: int) -> int:
    """A descriptor of a mount of its own of the file system that is mounted on an open directory (open_tree(2), since
    Linux 5.2). It lies at no path, keeps no other mount busy, and is gone when the descriptor is closed."""
    flags = _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC
    fd = _libc.syscall(ctypes.c_long(_OPEN_TREE), ctypes.c_int(directory), b"", ctypes.c_uint(flags))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(fd)


def exchange(directory: int, first: str, second: str) -> None:
    """Swap two entries of one directory atomically."""
    _check(_libc.renameat2(directory, os.fsencode(first), directory, os.fsencode(second), _RENAME_EXCHANGE))


def is_tmpfs(fd: int) -> bool:
    """Whether an open file lies on a tmpfs. Raises OSError for a file system whose server is gone."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(fd, buffer))
    # The first field is f_type: a long, of which this is the lower half on little-endian machines; on s390x an int.
    return int.from_bytes(buffer.raw[:4], sys.byteorder) == TMPFS_MAGIC


def mount_id(fd: int) -> int:
    """The id of the mount that an open file belongs to. Works on a dead file system too: only the kernel is asked."""
    info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        match = _MOUNT_ID.search(os.read(info, 4096))
    finally:
        os.close(info)
    if match is None:
        raise OSError(errno.ENOSYS, f"no mount id in /proc/self/fdinfo/{fd}")
    return int(match[1])


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
