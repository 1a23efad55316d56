"""The system calls that Python's ``os`` lacks. All raise OSError; none starts a process."""

import ctypes
import errno
import os
import re
import sys

MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
UMOUNT_NOFOLLOW = 0x8
TMPFS_MAGIC = 0x01021994
_RENAME_EXCHANGE = 0x2
_MOUNT_ID = re.compile(rb"^mnt_id:\s*(\d+)", re.MULTILINE)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.fstatfs.argtypes = (ctypes.c_int, ctypes.c_char_p)
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def mount(source: str, directory: int, fs_type: str, flags: int, options: str) -> None:
    """Mount on the very directory that is open as ``directory``, whatever its path has become since."""
    place = f"/proc/self/fd/{directory}".encode()
    _check(_libc.mount(source.encode(), place, fs_type.encode(), flags, options.encode()))


def unmount(parent: int, name: str) -> None:
    """Unmount the topmost mount at ``name`` in the open directory ``parent``; a symlink there is not followed.

    The directory itself must not be open: that would keep the mount busy.
    """
    _check(_libc.umount2(os.fsencode(f"/proc/self/fd/{parent}/{name}"), UMOUNT_NOFOLLOW))


def exchange(directory: int, first: str, second: str) -> None:
    """Let two names of one directory change places, in one step."""
    _check(_libc.renameat2(directory, os.fsencode(first), directory, os.fsencode(second), _RENAME_EXCHANGE))


def is_tmpfs(fd: int) -> bool:
    """Whether the open file lies on a tmpfs. A dead file system raises."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(fd, buffer))
    # f_type comes first: a long (its low half on little-endian machines), on s390x an unsigned int.
    return int.from_bytes(buffer.raw[:4], sys.byteorder) == TMPFS_MAGIC


def mount_id(fd: int) -> int:
    """Which mount the open file was reached through; asks the kernel only, so that a dead file system answers too."""
    info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = _MOUNT_ID.search(os.read(info, 4096))
    finally:
        os.close(info)
    if found is None:
        raise OSError(errno.ENOSYS, f"no mount id in /proc/self/fdinfo/{fd}")
    return int(found[1])


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
