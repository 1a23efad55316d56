"""Removes a volume from its target path, on unpublish or after a failed publish."""

import errno
import os
from contextlib import suppress

from driver.volume import entries, layout, mounts, record, walk
from driver.volume.failures import failure_of, os_errors_as
from driver.volume.target import Target
from runtime.errors import Failure, Internal

_MESSAGE = "failed to clean and unmount target path"


def clear_and_unmount(target: Target) -> None:
    """Remove the content, unmount all mounts, remove the directory. Idempotent.

    The content is removed first, so that a process that still has the mount open finds no secrets in it. Which of it
    is ours, the volume's record (``record``) says:

    - a tmpfs that this driver mounted is emptied;
    - in one that it took over, from the Go driver say, only the content of the atomic writer is removed, not what
      others wrote beside it;
    - any other mount, a tmpfs without a record included, is unmounted with its files intact: somebody mounted it over
      the target path, and it may be visible elsewhere too.

    Raises Internal.
    """
    path = target.path
    try:
        while _clear_top(path):
            mounts.unmount(path)
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


def _clear_top(path: str) -> bool:
    """Empty the directory as it is visible now; returns whether it is a mount point."""
    try:
        with walk.directory(path) as opened:
            mounted = mounts.mount_on(opened)
            if mounted is None:
                _clear(opened.fd)
            elif mounted.tmpfs:
                # A read-only tmpfs cannot be emptied; unmounting discards the content anyway.
                with suppress(OSError):
                    _clear_volume(opened.fd)
            return mounted is not None
    except FileNotFoundError:
        return False


def _clear_volume(handle: int) -> None:
    directory = os.open(".", walk.READ, dir_fd=handle)
    try:
        found = record.read(directory)
        if found is not None:
            for name in os.listdir(directory):
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
