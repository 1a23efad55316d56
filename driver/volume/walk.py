"""Opens the directories of a path one by one, without following symlinks.

The path down to kubelet's pods directory is the node administrator's, and may contain symlinks. Below it each component
is opened relative to its parent with O_NOFOLLOW, so that replacing a component at any moment cannot redirect us.
In a path that is not a kubelet target path (a private directory of our own) only the last component is protected so.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from driver.volume import syscalls
from runtime.errors import InvalidRequest

PODS, VOLUMES, PLUGIN, MOUNT = "pods", "volumes", "kubernetes.io~csi", "mount"
# The components of pods/<uid>/volumes/kubernetes.io~csi/<name>/mount
_TARGET_LENGTH = 6

# Flags for open(2): HANDLE needs no read permission and works on a dead file system; READ allows listing.
HANDLE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking, because a FIFO may be in place of the file.
READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Opened(NamedTuple):
    """File descriptors of a directory and of its parent."""

    parent: int
    fd: int

    @property
    def is_mount_point(self) -> bool:
        """Whether something is mounted on exactly this directory."""
        return syscalls.mount_id(self.fd) != syscalls.mount_id(self.parent)


def is_target_path(path: str) -> bool:
    """Whether the path ends as all of kubelet's CSI target paths do."""
    pods, uid, volumes, plugin, name, mount = ([""] * _TARGET_LENGTH + path.split("/"))[-_TARGET_LENGTH:]
    return (pods, volumes, plugin, mount) == (PODS, VOLUMES, PLUGIN, MOUNT) and bool(uid and name)


def split(path: str) -> tuple[str, list[str]]:
    """Split an absolute path into the part that may contain symlinks and the components that may not be symlinks."""
    parts = path.split("/")
    protected = _TARGET_LENGTH - 1 if is_target_path(path) else 1
    return "/".join(parts[:-protected]) or "/", parts[-protected:]


@contextmanager
def parent_of(path: str) -> Iterator[tuple[int, str]]:
    """A file descriptor of the parent directory, and the name of the last component. Raises FileNotFoundError."""
    root, names = split(path)
    fd = descend(root, names[:-1], path)
    try:
        yield fd, names[-1]
    finally:
        os.close(fd)


@contextmanager
def directory(path: str, flags: int = HANDLE) -> Iterator[Opened]:
    """Open the directory ``path`` and its parent. Raises FileNotFoundError, or InvalidRequest if it is something
    other than a directory."""
    with parent_of(path) as (parent, name):
        fd = enter(parent, name, path, flags)
        try:
            yield Opened(parent, fd)
        finally:
            os.close(fd)


def make_directories(path: str, mode: int) -> None:
    """Create the directory and its missing parents, without following a symlink."""
    root, names = split(path)
    fd = _open_root(root, path)
    try:
        for name in names:
            with suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=fd)
            fd = _step(fd, name, path)
    finally:
        os.close(fd)


def descend(root: str, names: Sequence[str], path: str) -> int:
    """Open ``root``, then each of ``names`` below it; the caller closes the descriptor that is returned."""
    fd = _open_root(root, path)
    try:
        for name in names:
            fd = _step(fd, name, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def enter(parent: int, name: str, path: str, flags: int = HANDLE) -> int:
    """Open the subdirectory ``name`` of an open directory; ``path`` is the whole path, for error messages."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        what = "a symlink, which is never followed" if is_link else "not a directory"
        raise InvalidRequest(f"target path {path}: {name} is {what}; remove it on the node") from None


def _open_root(root: str, path: str) -> int:
    try:
        return os.open(root, _ROOT)
    except NotADirectoryError:
        raise InvalidRequest(f"target path {path}: {root} is not a directory") from None


def _step(fd: int, name: str, path: str) -> int:
    """Replace an open directory by its subdirectory; on failure the first one stays open."""
    below = enter(fd, name, path)
    os.close(fd)
    return below
