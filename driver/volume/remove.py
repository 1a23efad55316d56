"""Taking a volume away, at unpublish or after a publish that failed."""

import errno
import os
from contextlib import suppress

from driver.volume import entries, mounts, walk
from driver.volume.failures import told_as, translated
from driver.volume.target import Target
from runtime.errors import Failure, Internal

_DOING = "failed to clean and unmount target path"


def clear_and_unmount(target: Target) -> None:
    """Remove the content, unmount every layer, remove the directory. Idempotent; nothing there is fine.

    The content goes first, so that whoever still holds the mount holds no secrets. A layer that is no tmpfs is not
    ours: it is unmounted, and nothing in it is removed. Raises Internal.
    """
    path = target.path
    try:
        while _clear_top(path):
            mounts.unmount(path)
        _remove_directory(path)
    except OSError as error:
        raise Internal(str(translated(f"{_DOING} {path}", error))) from error
    except Failure as failure:
        raise Internal(f"{_DOING} {path}: {failure}") from failure


def ensure_unmounted(path: str) -> None:
    """Unmount every layer and make sure of it; the directory goes too if it is empty then, and can go. Raises
    Internal."""
    mounts.unmount_all(path)
    with told_as(f"failed to remove target path {path}"):
        _remove_directory(path, may_stay=(errno.ENOTEMPTY, errno.EROFS))


def _remove_directory(path: str, *, may_stay: tuple[int, ...] = ()) -> None:
    try:
        with walk.parent_of(path) as (parent, name):
            os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in may_stay:
            raise


def _clear_top(path: str) -> bool:
    """Remove what is in the directory as it is seen now; tells whether it is a mount."""
    try:
        with walk.directory(path) as opened:
            mounted = mounts.look(opened)
            if mounted is None:
                _clear(opened.fd)
            elif mounted.tmpfs:
                # A read-only one cannot be emptied; to unmount it ends its content all the same.
                with suppress(OSError):
                    _clear(opened.fd)
            return mounted is not None
    except FileNotFoundError:
        return False


def _clear(handle: int) -> None:
    # The handle cannot be listed. "." opened below it is the same directory of the same mount.
    directory = os.open(".", walk.READ, dir_fd=handle)
    try:
        entries.remove_all(directory)
    finally:
        os.close(directory)
