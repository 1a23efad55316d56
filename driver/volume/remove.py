"""Removes a volume from its target path, on unpublish or after a failed publish."""

import errno
import os
from contextlib import suppress

from driver import limits
from driver.volume import entries, layout, mounts, record, syscalls, usage, walk
from driver.volume.failures import failure_of, os_errors_as
from driver.volume.target import Target
from runtime.errors import Failure, Internal

_MESSAGE = "failed to clean and unmount target path"


def clear_and_unmount(target: Target) -> None:
    """Unmount all mounts, remove their content and the directory. Idempotent.

    The content is removed too, so that a process that still has the mount open, or has it in a mount namespace of its
    own, finds no secrets in it. It is removed from a volume that is unmounted already, through a detached clone of the
    mount: a large one is not emptied under the eyes of others, and a driver that is killed meanwhile has nothing left
    to do. If the mount is busy, the content goes all the same; without open_tree(2) it goes first. Which of it is ours,
    the volume's record (``record``) says:

    - a tmpfs that this driver mounted is emptied;
    - in one that it took over, from the Go driver say, only the content of the atomic writer is removed, not what
      others wrote beside it;
    - any other mount, a tmpfs without a record included, is unmounted with its files intact: somebody mounted it over
      the target path, and it may be visible elsewhere too.

    Raises Internal.
    """
    path = target.path
    try:
        while _remove_top(path):
            pass
        _remove_directory(path)
    except OSError as error:
        raise Internal(str(failure_of(f"{_MESSAGE} {path}", error))) from error
    except Failure as failure:
        raise Internal(f"{_MESSAGE} {path}: {failure}") from failure


def ensure_unmounted(path: str) -> None:
    """Unmount all mounts, then remove the directory if it is empty and not on a read-only file system. Raises
    Internal."""
    mounts.unmount_all(path)
    with os_errors_as(f"failed to remove target path {path}"):
        _remove_directory(path, ignored=(errno.ENOTEMPTY, errno.EROFS))


def _remove_directory(path: str, *, ignored: tuple[int, ...] = ()) -> None:
    try:
        with walk.parent_of(path) as (parent, name):
            os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in ignored:
            raise


def is_large(path: str) -> bool:
    """Whether emptying the volume may take so long that others must not wait for it."""
    try:
        found = usage.measure(path)
    except Failure:
        return False  # removing it reports what is wrong
    # A tmpfs without a limit of inodes reports 0 of them.
    return found is not None and (found.inodes_total == 0 or found.inodes_used > limits.LARGE_VOLUME_INODES)


def _remove_top(path: str) -> bool:
    """Unmount and empty what is mounted topmost, or empty the directory; returns whether it was a mount."""
    try:
        with walk.directory(path) as opened:
            mounted = mounts.mount_on(opened)
            if mounted is None:
                _clear(opened.fd)
                return False
            detached = _detached(opened.fd) if mounted.tmpfs else None
    except FileNotFoundError:
        return False
    try:
        mounts.unmount(path)
    finally:
        if detached is not None:
            try:
                _clear_tmpfs(detached)
            finally:
                os.close(detached)
    return True


def _detached(handle: int) -> int | None:
    """A clone of the mount, to be emptied once the mount is gone; None if the kernel has none: then it is emptied."""
    try:
        return syscalls.clone_mount(handle)
    except OSError:
        _clear_tmpfs(handle)
        return None


def _clear_tmpfs(handle: int) -> None:
    # A read-only tmpfs cannot be emptied; unmounting discards the content anyway.
    with suppress(OSError):
        _clear_volume(handle)


def _clear_volume(handle: int) -> None:
    directory = os.open(".", walk.READ, dir_fd=handle)
    try:
        found = record.read(directory)
        if found is not None:
            # The record, if it is a file, last: a driver that is killed meanwhile still knows whose the rest is.
            for name in sorted(os.listdir(directory), key=layout.RECORD.__eq__):
                if found.mounted or layout.is_own(directory, name):
                    entries.remove(directory, name)
    finally:
        os.close(directory)


def _clear(handle: int) -> None:
    # An O_PATH descriptor cannot be listed; "." relative to it is the same directory of the same mount.
    directory = os.open(".", walk.READ, dir_fd=handle)
    try:
        entries.remove_all(directory)
    finally:
        os.close(directory)
