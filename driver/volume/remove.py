"""Taking a volume away, at unpublish or after a publish that failed."""

import errno
import os

from driver.volume import entries, mounts, walk
from driver.volume.failures import translated
from driver.volume.target import Target
from runtime.errors import Failure, Internal

_DOING = "failed to clean and unmount target path"


def clear_and_unmount(target: Target) -> None:
    """Remove the content, unmount every layer, remove the directory. Idempotent; nothing there is fine.

    The content goes first, so that whoever still holds the mount holds no secrets. Of a layer that is no tmpfs nothing is removed:
    it is not ours, and it is only unmounted. Raises Internal.
    """
    path = target.path
    try:
        while _clear_top(path):
            mounts.unmount(path)
        remove_directory(path)
    except OSError as error:
        raise Internal(str(translated(f"{_DOING} {path}", error))) from error
    except Failure as failure:
        raise Internal(f"{_DOING} {path}: {failure}") from failure


def ensure_unmounted(path: str) -> None:
    """Unmount every layer and make sure that nothing is left; the directory goes too if it is empty. Raises Internal."""
    mounts.unmount_all(path)
    remove_directory(path, even_if_full=False)


def remove_directory(path: str, *, even_if_full: bool = True) -> None:
    """Remove the directory; one with entries makes it fail, or stay."""
    try:
        with walk.parent_of(path) as (parent, name):
            os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if even_if_full or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _clear_top(path: str) -> bool:
    """Remove what is in the directory as it is seen now; tells whether it is a mount."""
    try:
        with walk.directory(path) as opened:
            mounted = mounts.look(opened)
            if mounted is None or mounted.tmpfs:
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
